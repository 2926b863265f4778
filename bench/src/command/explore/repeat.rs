//! Shrinking by repetition: on the real clock a run that fails may pass the next time.
//!
//! A part of a run (a fault, a kind of operation, latency, nodes) goes if the run without it still
//! fails for the same reason in some of a few tries. So a result is a run that failed, and what is
//! left in it may be more than is needed: a part whose tries all passed stays.

use crate::config::{Fault, RunArgs};
use crate::explore::Trial;

/// How often a smaller run is tried, and how often it must fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repetition {
    pub(super) tries: u64,
    pub(super) fails: u64,
    /// How many runs may be made in all.
    pub(super) runs: usize,
}

/// A part that was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fault(Fault),
    Operation(String),
    Latency,
    Nodes(usize),
}

impl Part {
    /// The run without it; none if it is not there.
    fn leave_out(&self, run: &RunArgs) -> Option<RunArgs> {
        let mut smaller = run.clone();
        match self {
            Part::Fault(fault) => smaller.nemesis.retain(|known| known != fault),
            Part::Operation(f) => smaller.omit.push(f.clone()),
            Part::Latency => (smaller.latency, smaller.latency_spread) = (0.0, 1.0),
            Part::Nodes(nodes) => {
                smaller.node_count = run.node_count.map(|count| count.min(*nodes));
            }
        }
        let is_smaller = smaller.nemesis != run.nemesis
            || smaller.omit != run.omit
            || smaller.latency < run.latency
            || smaller.node_count != run.node_count;
        is_smaller.then_some(smaller)
    }
}

/// The smallest run that was found to fail as `failed` did, and how many runs it took. `fs` are the
/// kinds of operations in its history.
pub(super) fn shrink<E>(
    run: RunArgs,
    failed: &Trial,
    fs: &[String],
    repetition: Repetition,
    attempt: &mut dyn FnMut(&RunArgs) -> Result<Trial, E>,
) -> Result<(RunArgs, usize), E> {
    let mut parts: Vec<Part> = vec![Part::Nodes(1), Part::Nodes(3), Part::Latency];
    parts.extend(run.nemesis.iter().map(|fault| Part::Fault(*fault)));
    // A run needs an operation.
    let kinds = fs.len();
    parts.extend(fs.iter().map(|f| Part::Operation(f.clone())));
    let (mut best, mut runs) = (run, 0);
    for part in parts {
        let is_last = matches!(part, Part::Operation(_)) && best.omit.len() + 1 >= kinds;
        let Some(smaller) = part.leave_out(&best).filter(|_| !is_last) else { continue };
        let mut fails = 0;
        for tried in 0..repetition.tries {
            // The tries that are left could not make it any more.
            if runs == repetition.runs || fails + repetition.tries - tried < repetition.fails {
                break;
            }
            runs += 1;
            let trial = attempt(&smaller)?;
            let same =
                failed.symptom.as_ref().is_some_and(|s| s.is_shown_by(trial.symptom.as_ref()));
            fails += u64::from(same);
            if fails >= repetition.fails {
                best = smaller;
                break;
            }
        }
    }
    Ok((best, runs))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::check::{Class, Symptom, Verdict};

    fn trial(fails: bool) -> Trial {
        let symptom = Symptom { class: Class::Safety, kinds: BTreeSet::from(["lost".to_owned()]) };
        Trial {
            verdict: if fails { Verdict::Invalid } else { Verdict::Valid },
            why: String::new(),
            story: None,
            symptom: fails.then_some(symptom),
            simulated_seconds: 1.0,
            operations: 1,
            succeeded: 1,
            acts: 1,
            marks: Default::default(),
        }
    }

    fn run() -> RunArgs {
        let flags = "-w lin-kv --node-count 5 --latency 9 --nemesis partition,kill,pause";
        RunArgs::from_flags(flags.split(' ')).unwrap()
    }

    #[test]
    fn parts_go_that_do_not_matter_though_a_run_fails_only_sometimes() {
        let fs = ["read", "write", "cas"].map(str::to_owned);
        let mut count = 0;
        // Fails in every second try, with a kill and without regard to all else but writes.
        let mut attempt = |run: &RunArgs| {
            count += 1;
            let fails = run.nemesis.contains(&Fault::Kill) && !run.omit.contains(&fs[1]);
            Ok::<_, ()>(trial(fails && count % 2 == 0))
        };
        let repetition = Repetition { tries: 3, fails: 1, runs: 100 };
        let (best, runs) = shrink(run(), &trial(true), &fs, repetition, &mut attempt).unwrap();
        assert_eq!(best.nemesis, [Fault::Kill]);
        assert_eq!((best.node_count, best.latency), (Some(1), 0.0));
        assert_eq!(best.omit, ["read", "cas"]);
        assert_eq!(runs, count);
    }

    #[test]
    fn the_number_of_runs_is_bounded_and_a_hopeless_part_is_given_up_early() {
        let mut attempt = |_: &RunArgs| Ok::<_, ()>(trial(false));
        let repetition = Repetition { tries: 3, fails: 3, runs: 100 };
        let (best, runs) = shrink(run(), &trial(true), &[], repetition, &mut attempt).unwrap();
        // Nodes twice, latency, three faults: the first try that passes decides.
        assert_eq!((best.node_count, runs), (Some(5), 6));
        let few = Repetition { runs: 2, ..repetition };
        assert_eq!(shrink(run(), &trial(true), &[], few, &mut attempt).unwrap().1, 2);
    }
}
