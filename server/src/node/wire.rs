//! What servers say to each other: parcels, one for each addressee and turn.

use seaworthy::raft::{Command, LogId, Message, MessageKind, RaftId};
use serde::{Deserialize, Serialize};

use super::Node;
use super::envelope::Envelope;

/// Which of the two connections to a server a parcel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Votes, heartbeats, answers, short appends: nothing large may be in their way.
    Control,
    /// Pieces of snapshots and long appends.
    Bulk,
}

/// Everything for one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Parcel {
    /// The core's messages.
    pub(super) raft: Vec<Message>,
    /// Commands for the log, if the addressee leads.
    pub(super) commands: Vec<Command>,
    /// The newest entry of the addressee's own that is committed.
    pub(super) committed: Option<LogId>,
}

/// Parcels of at least this many bytes take the bulk connection.
const BULK_BYTES: usize = 64 << 10;

impl Parcel {
    pub(super) fn is_empty(&self) -> bool {
        self.raft.is_empty() && self.commands.is_empty() && self.committed.is_none()
    }

    pub(super) fn encode(&self) -> (Class, Vec<u8>) {
        let bytes = postcard::to_allocvec(self).expect("plain data");
        let piece = |m: &Message| matches!(m.kind, MessageKind::Snapshot { .. });
        let is_bulk = bytes.len() >= BULK_BYTES || self.raft.iter().any(piece);
        (if is_bulk { Class::Bulk } else { Class::Control }, bytes)
    }
}

impl Node {
    /// Takes what another server sent. Bytes that do not parse count as lost.
    pub(super) fn take_parcel(&mut self, from: RaftId, bytes: &[u8]) {
        let Ok(parcel) = postcard::from_bytes::<Parcel>(bytes) else { return };
        for message in parcel.raft {
            if message.from == from {
                self.raft.step(message);
            }
        }
        // Guard: a command that this version does not understand must not enter the log.
        let known = |c: &Command| Envelope::decode(c.as_bytes()).is_some();
        self.inbox.extend(parcel.commands.into_iter().filter(known));
        self.heard = self.heard.max(parcel.committed);
    }
}
