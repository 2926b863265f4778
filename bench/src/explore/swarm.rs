//! A swarm of runs, until one fails, and the counts on the way.

use std::panic::{self, AssertUnwindSafe};

use seaworthy::coverage::{Mark, Marks};

use super::Space;
use super::ordered::Ordered;
use super::trial::Trial;
use crate::backend::guard::text_of;
use crate::check::Verdict;
use crate::seed::Seed;

/// The seeds to explore, and how.
pub struct Swarm<'a> {
    /// The choices that are fixed.
    pub space: &'a Space<'a>,
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many runs at a time.
    pub jobs: usize,
    /// Whether to stop early; asked before each run, on every thread.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Told about everything so far after each run.
    pub watch: &'a (dyn Fn(&Sums) + Sync),
}

/// The counts over some runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Runs.
    pub runs: u64,
    /// Operations of clients.
    pub operations: usize,
    /// Those that succeeded.
    pub succeeded: usize,
    /// Acts of the nemesis.
    pub acts: u64,
    /// Time on the worlds' clocks.
    pub simulated_seconds: f64,
    /// In how many runs each of [`Mark::ALL`] was hit.
    pub hits: [u64; Mark::ALL.len()],
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.runs += other.runs;
        self.operations += other.operations;
        self.succeeded += other.succeeded;
        self.acts += other.acts;
        self.simulated_seconds += other.simulated_seconds;
        self.hits.iter_mut().zip(other.hits).for_each(|(own, more)| *own += more);
    }

    /// How often the marks of the parts that ran were hit: a part of which nothing was
    /// ever hit is taken for one that the workload does not use.
    pub fn coverage(&self) -> Vec<(Mark, u64)> {
        let all: Vec<(Mark, u64)> = Mark::ALL.into_iter().zip(self.hits).collect();
        let ran = |mark: Mark| all.iter().any(|(m, hits)| m.part() == mark.part() && *hits > 0);
        all.iter().copied().filter(|(mark, _)| ran(*mark)).collect()
    }
}

/// How a run ended that ends the exploration.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The run is not valid.
    Run(Trial),
    /// The bench itself panicked, with this message.
    Bench(String),
}

/// The result of an exploration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Over all runs up to the one that failed.
    pub sums: Sums,
    /// The lowest seed that failed, and how.
    pub failed: Option<(u64, Failure)>,
}

impl Swarm<'_> {
    /// Explores.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn run(&self) -> Result<Tally, String> {
        // Mistakes in the arguments show at once, and once.
        let first = self.space.config(Seed(self.from))?;
        self.space.challenge.load(&first)?;
        self.space.run(&first)?.build()?;
        let ordered =
            Ordered { from: self.from, seeds: self.seeds, jobs: self.jobs, stop: self.stop };
        let explore = |seed| {
            let (sums, failure) = self.explore(seed);
            (failure.is_some(), (sums, failure))
        };
        let mut so_far = Sums::default();
        let mut found = ordered.search(explore, |(sums, _)| {
            so_far.add(sums);
            (self.watch)(&so_far);
        });
        let mut sums = Sums::default();
        found.by_seed.values().for_each(|(one, _)| sums.add(one));
        let last = found.last.and_then(|seed| found.by_seed.remove_entry(&seed));
        let failed = last.and_then(|(seed, (_, failure))| Some((seed, failure?)));
        Ok(Tally { sums, failed })
    }

    fn explore(&self, seed: Seed) -> (Sums, Option<Failure>) {
        let run = || {
            let config = self.space.config(seed)?;
            Ok::<_, String>(Trial::of(&self.space.run(&config)?.simulate()?))
        };
        // A panic of a node is caught at its machine; one that gets here is our own.
        match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(trial)) => {
                let sums = Sums {
                    runs: 1,
                    operations: trial.operations,
                    succeeded: trial.succeeded,
                    acts: trial.acts,
                    simulated_seconds: trial.simulated_seconds,
                    hits: hits(trial.marks),
                };
                let failed = trial.verdict != Verdict::Valid;
                (sums, failed.then_some(Failure::Run(trial)))
            }
            Ok(Err(message)) => (Sums::default(), Some(Failure::Bench(message))),
            Err(panic) => (Sums::default(), Some(Failure::Bench(text_of(&*panic).to_owned()))),
        }
    }
}

fn hits(marks: Marks) -> [u64; Mark::ALL.len()] {
    Mark::ALL.map(|mark| u64::from(marks.has(mark)))
}
