//! Many seeds on several threads, with one result.
//!
//! Seeds are taken in order. The result is about the lowest seed that fails and
//! those below it, all of which are run to their end; what other threads did beyond it
//! is left out of every count. So it does not depend on how many threads there are.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use seaworthy::mark::{Mark, Marks};

use super::outcome::{Nodes, Outcome, run_one};
use super::{Space, derive};
use crate::check::Verdict;
use crate::config::RunConfig;
use crate::world::script::Course;
use crate::world::seed::Seed;

/// What to explore, and how.
pub struct Swarm<'a> {
    /// What is fixed.
    pub space: &'a Space,
    /// Makes the nodes.
    pub nodes: &'a Nodes,
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

/// What was counted over some runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Runs.
    pub runs: u64,
    /// Operations of clients.
    pub operations: usize,
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
    Run(Outcome),
    /// The bench itself panicked, with this message.
    Bench(String),
}

/// What an exploration came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Over all runs up to the one that failed.
    pub sums: Sums,
    /// The lowest seed that failed, and how.
    pub failed: Option<(u64, Failure)>,
}

#[derive(Default)]
struct Board {
    so_far: Sums,
    by_seed: BTreeMap<u64, Sums>,
    failed: Option<(u64, Failure)>,
}

impl Board {
    fn is_beaten(&self, seed: u64) -> bool {
        self.failed.as_ref().is_some_and(|(lowest, _)| *lowest < seed)
    }
}

impl Swarm<'_> {
    /// Explores.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn run(&self) -> Result<Tally, String> {
        // Mistakes in the arguments show at once, and once.
        let first = RunConfig::new(derive(self.space, Seed(self.from)), Seed(self.from))?;
        drop((self.nodes)(&first)?);
        crate::workload::build(&first)?;
        let next = AtomicU64::new(0);
        let board = Mutex::new(Board::default());
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| self.work(&next, &board));
            }
        });
        let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        let last = board.failed.as_ref().map_or(u64::MAX, |(seed, _)| *seed);
        let mut sums = Sums::default();
        board.by_seed.range(..=last).for_each(|(_, one)| sums.add(one));
        Ok(Tally { sums, failed: board.failed })
    }

    /// Takes seeds until there are none, or a lower one than the next has failed.
    fn work(&self, next: &AtomicU64, board: &Mutex<Board>) {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let seed = self.from.saturating_add(index);
            if index >= self.seeds || (self.stop)() || lock(board).is_beaten(seed) {
                return;
            }
            let (sums, failure) = self.explore(Seed(seed));
            let mut board = lock(board);
            board.so_far.add(&sums);
            board.by_seed.insert(seed, sums);
            (self.watch)(&board.so_far);
            if let Some(failure) = failure
                && !board.is_beaten(seed)
            {
                board.failed = Some((seed, failure));
            }
        }
    }

    fn explore(&self, seed: Seed) -> (Sums, Option<Failure>) {
        let run = || {
            let config = RunConfig::new(derive(self.space, seed), seed)?;
            run_one(&config, self.nodes, Course::Drawn)
        };
        // A panic of a node is caught at its machine; what gets here is our own.
        match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(outcome)) => {
                let sums = Sums {
                    runs: 1,
                    operations: outcome.operations,
                    acts: outcome.acts,
                    simulated_seconds: outcome.simulated_seconds,
                    hits: hits(outcome.marks),
                };
                let failed = outcome.verdict != Verdict::Valid;
                (sums, failed.then_some(Failure::Run(outcome)))
            }
            Ok(Err(message)) => (Sums::default(), Some(Failure::Bench(message))),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                let text = text.unwrap_or_else(|| "a panic without a message".into());
                (Sums::default(), Some(Failure::Bench(text)))
            }
        }
    }
}

fn hits(marks: Marks) -> [u64; Mark::ALL.len()] {
    Mark::ALL.map(|mark| u64::from(marks.has(mark)))
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
