//! The delta log: recent deltas by author, and how far each author is known.
//!
//! A delta, once numbered, never changes, and every node stores and forwards it as
//! its author made it. The log forgets old deltas when it grows too long; a node
//! that lacks one of those is sent the whole state instead.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::version::{Author, Versions};

/// Consecutive deltas of one author: those after number `after`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run<L>(pub u64, pub Vec<L>);

impl<L> Run<L> {
    /// The number of the last delta.
    pub fn last(&self) -> u64 {
        self.0.saturating_add(self.1.len() as u64)
    }
}

/// Deltas of several authors.
pub type Runs<L> = BTreeMap<Author, Run<L>>;

/// The log of one node.
#[derive(Clone, Debug)]
pub(super) struct DeltaLog<L> {
    /// The deltas that the state contains, including those that are no longer here.
    versions: Versions,
    lanes: BTreeMap<Author, VecDeque<L>>,
    deltas: usize,
    /// How many deltas to keep at most.
    limit: usize,
}

impl<L: Clone> DeltaLog<L> {
    /// An empty log that keeps up to `limit` deltas.
    pub(super) fn new(limit: usize) -> DeltaLog<L> {
        DeltaLog { versions: Versions::default(), lanes: BTreeMap::new(), deltas: 0, limit }
    }

    /// The versions of all deltas in the log, and of those that it no longer keeps.
    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Adds the next delta of `author` and returns its number.
    pub(super) fn push(&mut self, author: Author, delta: L) -> u64 {
        let number = self.versions.get(author).saturating_add(1);
        self.versions.raise(author, number);
        self.lanes.entry(author).or_default().push_back(delta);
        self.deltas += 1;
        if self.deltas > self.limit {
            self.forget_half();
        }
        number
    }

    /// Notes that the state contains everything in `versions` although its deltas
    /// were not seen one by one.
    pub(super) fn jump(&mut self, versions: &Versions) {
        for (author, count) in versions.iter() {
            if count > self.versions.get(author) {
                self.versions.raise(author, count);
                self.deltas -= self.lanes.remove(&author).map_or(0, |lane| lane.len());
            }
        }
    }

    /// Returns the deltas that a node with `known` lacks, or `None` if some are forgotten.
    pub(super) fn since(&self, known: &Versions) -> Option<Runs<L>> {
        let mut runs = Runs::new();
        for (author, count) in self.versions.iter() {
            let from = known.get(author);
            if from >= count {
                continue;
            }
            let lane = self.lanes.get(&author)?;
            let forgotten = count - lane.len() as u64;
            let skip = usize::try_from(from.checked_sub(forgotten)?).ok()?;
            runs.insert(author, Run(from, lane.iter().skip(skip).cloned().collect()));
        }
        Some(runs)
    }

    /// How many deltas a node that knows `known` lacks, forgotten ones included.
    pub(super) fn lag(&self, known: &Versions) -> u64 {
        self.versions.iter().map(|(r, count)| count.saturating_sub(known.get(r))).sum()
    }

    fn forget_half(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.drain(..lane.len().div_ceil(2));
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
        self.deltas = self.lanes.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::version::{Boot, Rank};

    const A: Author = Author { rank: Rank(0), boot: Boot(1) };

    fn known(count: u64) -> Versions {
        let mut versions = Versions::default();
        versions.raise(A, count);
        versions
    }

    #[test]
    fn forgotten_deltas_need_the_state() {
        let mut log = DeltaLog::new(4);
        (1..=4).for_each(|n| assert_eq!(log.push(A, n), n));
        assert_eq!(log.since(&known(1)).unwrap()[&A], Run(1, vec![2, 3, 4]));
        log.push(A, 5);
        assert_eq!(log.since(&known(2)), None);
        assert_eq!(log.since(&known(3)).unwrap()[&A], Run(3, vec![4, 5]));
        assert_eq!(log.since(&known(5)).unwrap().len(), 0);
        assert_eq!(log.lag(&known(2)), 3);
    }

    #[test]
    fn a_jump_leaves_no_gap() {
        let mut log = DeltaLog::new(100);
        log.push(A, 1);
        log.jump(&known(7));
        assert_eq!(log.push(A, 8), 8);
        assert_eq!(log.since(&known(7)).unwrap()[&A], Run(7, vec![8]));
        assert_eq!(log.since(&known(6)), None);
    }
}
