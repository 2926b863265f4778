//! Seeds in order, on several threads, with one result.
//!
//! The result is about the lowest seed that ends the search and those below it, all of
//! which are run to their end; the results of other threads beyond it are left out. So it
//! does not depend on how many threads there are.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::seed::Seed;

/// More threads than this are no use on any machine.
const MOST: u64 = 1024;

/// How many runs at a time this machine has cores for.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Which seeds to run, and how.
pub struct Ordered<'a> {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// How many runs at a time.
    pub jobs: usize,
    /// Whether to stop early; asked before each run, on every thread.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// The results of a search.
pub struct Found<T> {
    /// The result of each seed, up to the one that ended the search.
    pub by_seed: BTreeMap<u64, T>,
    /// The lowest seed that ended it.
    pub last: Option<u64>,
}

impl Ordered<'_> {
    /// Runs the seeds in order, until one ends the search: for which `run` says so, beside its
    /// result. `watch` is told the result of each, in the order in which they are done, and from
    /// one thread at a time.
    pub fn search<T: Send>(
        &self,
        run: impl Fn(Seed) -> (bool, T) + Sync,
        watch: impl FnMut(&T) + Send,
    ) -> Found<T> {
        let next = AtomicU64::new(0);
        // The lowest index that ended the search; no thread needs to look beyond it.
        let last = AtomicU64::new(u64::MAX);
        let board = Mutex::new((BTreeMap::new(), watch));
        let seed = |index: u64| self.from.saturating_add(index);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let is_over = index >= self.seeds || index > last.load(Ordering::Relaxed);
                if is_over || (self.stop)() {
                    return;
                }
                let (ends, came) = run(Seed(seed(index)));
                if ends {
                    last.fetch_min(index, Ordering::Relaxed);
                }
                let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
                let (by_seed, watch) = &mut *board;
                watch(&came);
                by_seed.insert(seed(index), came);
            }
        };
        thread::scope(|scope| {
            let threads = u64::try_from(self.jobs).unwrap_or(u64::MAX).min(self.seeds).min(MOST);
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        let (mut by_seed, _) = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        let last = last.into_inner();
        let last = (last != u64::MAX).then(|| seed(last));
        by_seed.retain(|seed, _| last.is_none_or(|last| *seed <= last));
        Found { by_seed, last }
    }
}
