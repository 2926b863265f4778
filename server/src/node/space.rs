//! A full disk: a server's work on it, and how it makes space by itself.
//!
//! The server's own clients are refused elsewhere (`crate::api`). Here are the commands that other
//! servers forward to their leader, the leadership itself, and the log, which a snapshot may make
//! much smaller.

use std::time::Duration;

use seaworthy::time::Time;

use super::Node;
use super::envelope::Envelope;
use crate::kv::Command;

/// How often a leader with a full disk tries to hand over.
const HAND_OVER: Duration = Duration::from_secs(5);

/// The space on this server's disk, as it was heard last.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// How many bytes are left on a full disk; `None` if it is not full.
    left: Option<u64>,
    /// The bytes applied since the last snapshot that the disk has.
    pub(super) log_bytes: u64,
    /// When the leadership was last to be handed over.
    handed_over: Option<Time>,
}

impl Space {
    /// Whether the disk is full.
    pub(super) fn is_full(&self) -> bool {
        self.left.is_some()
    }
}

impl Node {
    pub(super) fn set_space(&mut self, left: Option<u64>) {
        self.space.left = left;
        let is_recent = self.space.handed_over.is_some_and(|at| self.now - at < HAND_OVER);
        if left.is_none() || !self.raft.is_leader() || is_recent {
            return;
        }
        // A leader that cannot write holds up no other server, but it takes no writes either.
        self.space.handed_over = Some(self.now);
        let heir = self.raft.progress().max_by_key(|(_, p)| p.matched).map(|(id, _)| id);
        let _ = heir.map(|heir| self.raft.transfer_leadership(heir));
    }

    /// Whether a command may be appended: on a full disk only one that takes no space. A node that
    /// forwarded it sends it again, to the next leader.
    pub(super) fn has_space_for(&self, envelope: &Envelope<'_>) -> bool {
        match envelope {
            // Its own were let in before the disk was full.
            Envelope::Write(write) if self.space.left.is_some() && write.origin != self.me => {
                Command::decode(write.command).is_none_or(|command| !command.takes_space())
            }
            _ => true,
        }
    }

    /// Whether an encoded state fits on the disk, as far as is known.
    pub(super) fn has_space_for_state(&self) -> bool {
        self.space.left.is_none_or(|left| self.machine.store.encoded_bytes() < left)
    }

    /// Whether the disk is full, and a snapshot fits and is smaller than the log that it replaces.
    pub(super) fn snapshot_makes_space(&self) -> bool {
        let size = self.machine.store.encoded_bytes();
        self.space.left.is_some_and(|left| size < left && size < self.space.log_bytes)
    }

    /// There was no space for a state. It is tried again when the log has grown again, or more space is
    /// heard of.
    pub(super) fn unwritten(&mut self) {
        self.freezing = false;
        self.space.left = self.space.left.map(|_| 0);
    }

    /// How many entries stay in the log behind a snapshot.
    pub(super) fn kept_entries(&self) -> u64 {
        match self.space.left {
            Some(_) => 0,
            None => self.options.keep_entries,
        }
    }
}
