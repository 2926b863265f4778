//! The commands in a leader's log, so that one that comes again is not appended
//! again.
//!
//! Sessions alone make sure that a command which stands in the log twice happens once.
//! But where answers take longer than a replica waits for them, every command would stand
//! there twice, and be replicated and written twice. A leader's log holds every entry
//! that can still be committed before its own, so a command that is neither here nor in the
//! sessions is in no log.

use std::collections::BTreeSet;

use super::envelope::Key;
use crate::raft::{Entry, Payload, Raft, Term};

/// The commands in this leader's log that are not applied yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The term in which this node leads, and for which the list is complete.
    term: Option<Term>,
    keys: BTreeSet<Key>,
}

impl Waiting {
    /// Makes the list complete for the term in which `raft` leads. A new leader has
    /// inherited entries.
    fn catch_up(&mut self, raft: &Raft) {
        if self.term == Some(raft.term()) {
            return;
        }
        let applied = raft.status().applied;
        let entries = raft.entries().rev().take_while(|entry| entry.id.index > applied);
        self.keys = entries.filter_map(key_of).collect();
        self.term = Some(raft.term());
    }

    /// Whether the command is in the log of `raft`, which leads, and will be applied.
    pub(super) fn contains(&mut self, raft: &Raft, key: Key) -> bool {
        self.catch_up(raft);
        self.keys.contains(&key)
    }

    /// Notes that this leader has appended the command.
    pub(super) fn note_appended(&mut self, key: Key) {
        self.keys.insert(key);
    }

    /// Notes that the command is applied: from now on the sessions know it.
    pub(super) fn note_applied(&mut self, raft: &Raft, key: Key) {
        if raft.is_leader() {
            self.keys.remove(&key);
        } else {
            *self = Waiting::default();
        }
    }
}

fn key_of(entry: &Entry) -> Option<Key> {
    let Payload::Command(command) = &entry.payload else { return None };
    Key::of(command.as_bytes()).map(|(key, _)| key)
}
