//! Every event, in order, once.
//!
//! A watch that asked for revision F and whose last event has revision L saw the changes from F
//! to L. It must have seen each that is known to be there: each write that was acknowledged with
//! a revision, and each event of any other watch. Its revisions must rise, none may lie before F,
//! and an event must be what all others say about its revision. Events behind L are not demanded:
//! a watch takes what comes within a moment.
//!
//! Every write is a revision of its own, so a revision has one event.

use std::collections::BTreeMap;

use crate::check::{Finding, Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType};

/// An event: its revision, and the key and value.
type Event = (i64, Edn);

/// A watch that was answered.
struct Watched {
    index: usize,
    from: i64,
    events: Vec<Event>,
}

/// Judges a history of `write` and `watch`.
pub(super) fn check(history: &[Op]) -> Outcome {
    let mut known: BTreeMap<i64, (Edn, usize)> = BTreeMap::new();
    let (mut watches, mut errors) = (Vec::new(), Vec::new());
    let mut acknowledged = 0_usize;
    let mut learn = |(revision, change): Event, index: usize, errors: &mut Vec<String>| {
        let (other, at) = known.entry(revision).or_insert_with(|| (change.clone(), index));
        if *other != change {
            errors.push(format!(
                "revision {revision} is {other} in operation {at} and {change} in {index}"
            ));
        }
    };
    for op in history.iter().filter(|op| op.is_client() && op.kind == OpType::Ok) {
        match read(op) {
            Some(Ok(write)) => {
                acknowledged += 1;
                learn(write, op.index, &mut errors);
            }
            Some(Err(watched)) => {
                watched.events.iter().for_each(|event| learn(event.clone(), op.index, &mut errors));
                watches.push(watched);
            }
            None => return Outcome::unknown(format!("operation {} is malformed", op.index)),
        }
    }
    watches.iter().for_each(|watched| errors.extend(faults(watched, &known)));
    let seen: usize = watches.iter().map(|watched| watched.events.len()).sum();
    let verdict = match (errors.is_empty(), seen) {
        (false, _) => Verdict::Invalid,
        (true, 0) => Verdict::Unknown,
        (true, _) => Verdict::Valid,
    };
    let findings = errors.first().map(Finding::new);
    let shown = errors.iter().take(8).map(Edn::str);
    let details = [
        ("acknowledged-count", Edn::from(acknowledged)),
        ("watch-count", Edn::from(watches.len())),
        ("event-count", Edn::from(seen)),
        ("error-count", Edn::from(errors.len())),
        ("errors", Edn::vector(shown)),
    ];
    Outcome::new(verdict, details).with(findings)
}

/// The faults of one watch, given every change that is known.
fn faults(watched: &Watched, known: &BTreeMap<i64, (Edn, usize)>) -> Vec<String> {
    let Watched { index, from, events } = watched;
    let mut errors = Vec::new();
    let mut before = from - 1;
    for (revision, _) in events {
        if *revision <= before {
            errors.push(format!("watch {index} from {from} has {revision} after {before}"));
            continue;
        }
        for (missed, (change, at)) in known.range(before + 1..*revision) {
            errors.push(format!(
                "watch {index} from {from} lacks revision {missed}, which is {change} in \
                 operation {at}, and has {revision}"
            ));
        }
        before = *revision;
    }
    errors
}

/// A write with its revision, or a watch; none if the operation has neither shape.
fn read(op: &Op) -> Option<Result<Event, Watched>> {
    if op.f == "write" {
        let revision = op.extra.iter().find(|(name, _)| name == "revision")?.1.as_int()?;
        return Some(Ok((revision, op.value.clone())));
    }
    let [from, events] = op.value.as_seq()? else { return None };
    let event = |event: &Edn| match event.as_seq()? {
        [revision, key, value] => {
            Some((revision.as_int()?, Edn::vector([key.clone(), value.clone()])))
        }
        _ => None,
    };
    let events = events.as_seq()?.iter().map(event).collect::<Option<_>>()?;
    Some(Err(Watched { index: op.index, from: from.as_int()?, events }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    /// Judges one write, revision 5, and watches from 3 with these events.
    fn judged(watches: &[&str]) -> Outcome {
        let mut text = "{:type :invoke :process 0 :f :write :value [1 7]}
            {:type :ok :process 0 :f :write :value [1 7] :revision 5}"
            .to_owned();
        for events in watches {
            text += &format!(
                "{{:type :invoke :process 1 :f :watch :value nil}}
                 {{:type :ok :process 1 :f :watch :value [3 {events}]}}"
            );
        }
        check(&from_text(&text).unwrap())
    }

    #[test]
    fn watches_that_see_all_in_order_are_valid() {
        for good in ["[[5 1 7]]", "[[3 0 1] [4 0 2]]", "[[4 0 2] [5 1 7] [6 0 3]]"] {
            assert_eq!(judged(&[good]).verdict, Verdict::Valid, "{good}");
        }
        assert_eq!(judged(&["[]"]).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_is_lost_doubled_out_of_order_or_changed_is_found() {
        for (bad, why) in [
            (vec!["[[4 0 2] [6 0 3]]"], "lacks revision 5"),
            (vec!["[[4 0 2] [4 0 2] [5 1 7]]"], "has 4 after 4"),
            (vec!["[[5 1 7] [4 0 2]]"], "has 4 after 5"),
            (vec!["[[2 0 1] [5 1 7]]"], "has 2 after 2"),
            (vec!["[[5 1 8]]"], "revision 5 is"),
            // One watcher knows what the other missed.
            (vec!["[[4 0 2] [5 1 7]]", "[[5 1 7]]"], "lacks revision 4"),
        ] {
            let outcome = judged(&bad);
            assert_eq!(outcome.verdict, Verdict::Invalid, "{bad:?}");
            let errors = outcome.get("errors").unwrap().to_string();
            assert!(errors.contains(why), "{bad:?}: {errors}");
        }
    }
}
