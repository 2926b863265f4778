//! What a leader's log holds already, so that a command that comes again is not appended
//! again.
//!
//! Sessions alone make sure that a command which stands in the log twice happens once.
//! But where answers take longer than a replica waits for them, every command would stand
//! there twice, and be replicated and written twice. A leader's log holds every entry
//! that can still be committed before its own, so what is found neither here nor in the
//! sessions is nowhere.

use std::collections::BTreeSet;

use super::Started;
use super::apply::Envelope;
use crate::raft::{Entry, Payload, Raft, RaftId, Term};

/// What tells a command from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Session and number.
    Command(u64, u64),
    /// The nonce and the node of who opens a session.
    Open(u64, RaftId),
}

impl Key {
    /// The key of a command as it stands in the log, and the node that it comes from;
    /// `None` if it is no command.
    pub(super) fn of(bytes: &[u8]) -> Option<(Key, RaftId)> {
        if let Ok((session, number, _, origin, _)) = serde_json::from_slice::<Envelope<'_>>(bytes) {
            return Some((Key::Command(session, number), origin));
        }
        let (nonce, origin) = serde_json::from_slice::<(u64, RaftId)>(bytes).ok()?;
        Some((Key::Open(nonce, origin), origin))
    }
}

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
}

fn key_of(entry: &Entry) -> Option<Key> {
    let Payload::Command(command) = &entry.payload else { return None };
    Key::of(command.as_bytes()).map(|(key, _)| key)
}

impl Started {
    /// Whether the command is in this leader's log and will be applied.
    pub(super) fn is_waiting(&mut self, key: Key) -> bool {
        self.waiting.catch_up(&self.raft);
        self.waiting.keys.contains(&key)
    }

    /// This leader has appended the command.
    pub(super) fn is_appended(&mut self, key: Key) {
        self.waiting.keys.insert(key);
    }

    /// The command is applied: from now on the sessions know it.
    pub(super) fn is_applied(&mut self, key: Key) {
        if self.raft.is_leader() {
            self.waiting.keys.remove(&key);
        } else {
            self.waiting = Waiting::default();
        }
    }
}
