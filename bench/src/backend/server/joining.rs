//! Members that were added and have not served yet.
//!
//! A server that joins asks the members that there are, and some give up and exit when none answers: the
//! operator, who is to start them again, is the bench. It does so a limited number of times, so that
//! a server that can never join still ends the run.

// Real time is the business of this backend.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often a member that joins is started again.
const STARTS: u32 = 20;
/// The wait before the first such start; it doubles each time, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The members that join, by node.
#[derive(Debug, Default)]
pub(super) struct Joining(BTreeMap<usize, Joiner>);

#[derive(Debug)]
struct Joiner {
    /// How often the node had been started when it was added.
    lives: u64,
    exits: u32,
    due: Option<Instant>,
}

impl Joining {
    /// A node was added, after so many lives.
    pub(super) fn begin(&mut self, node: usize, lives: u64) {
        self.0.insert(node, Joiner { lives, exits: 0, due: None });
    }

    /// A node is no member any more, or has no disk: its next exit is another matter.
    pub(super) fn forget(&mut self, node: usize) {
        self.0.remove(&node);
    }

    /// A node served a request in one of its lives: if it was added before, it has joined.
    pub(super) fn served(&mut self, node: usize, life: u64) {
        if self.0.get(&node).is_some_and(|joiner| life > joiner.lives) {
            self.0.remove(&node);
        }
    }

    /// A node has ended by itself; whether it is to be started again, later.
    pub(super) fn gave_up(&mut self, node: usize, now: Instant) -> bool {
        let Some(joiner) = self.0.get_mut(&node) else { return false };
        if joiner.exits == STARTS {
            return false;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << joiner.exits).min(LONGEST_WAIT);
        joiner.exits += 1;
        joiner.due = Some(now + wait);
        true
    }

    /// The nodes that are to be started again by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<usize> {
        let due = self.0.iter_mut().filter(|(_, joiner)| joiner.due.is_some_and(|due| due <= now));
        due.map(|(node, joiner)| {
            joiner.due = None;
            *node
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_gives_up_is_started_twenty_times_and_no_more_once_it_has_served() {
        let mut joining = Joining::default();
        let mut now = Instant::now();
        assert!(!joining.gave_up(1, now), "it was not added");
        joining.begin(1, 4);
        joining.served(1, 4);
        for exit in 0..20 {
            assert!(joining.gave_up(1, now), "exit {exit}");
            assert!(joining.due(now).is_empty(), "at once");
            now += LONGEST_WAIT;
            assert_eq!(joining.due(now), [1]);
            assert!(joining.due(now).is_empty(), "twice");
        }
        assert!(!joining.gave_up(1, now));
        joining.begin(1, 24);
        joining.served(1, 25);
        assert!(!joining.gave_up(1, now), "it has joined");
    }
}
