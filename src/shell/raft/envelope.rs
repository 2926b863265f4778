//! Commands as they stand in the log.

use serde_json::value::RawValue;

use super::array::array_struct;
use crate::raft::{Entry, Payload, RaftId};

array_struct! {
    /// A command of the state machine, as it stands in the log.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Envelope<'a> {
        pub(super) session: u64,
        /// The number of the command in its session, from 1.
        pub(super) number: u64,
        /// Below this number the origin has all its answers.
        pub(super) floor: u64,
        /// The node whose client sent the command.
        pub(super) origin: RaftId,
        #[serde(borrow)]
        pub(super) command: &'a RawValue,
    }
}

array_struct! {
    /// The command that opens a session.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Opening {
        /// Tells the session from others of the same node.
        pub(super) nonce: u64,
        pub(super) origin: RaftId,
    }
}

impl Envelope<'_> {
    /// Reads a command; `None` if it opens a session.
    pub(super) fn read(bytes: &[u8]) -> Option<Envelope<'_>> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn key(&self) -> Key {
        Key::Command(self.session, self.number)
    }
}

impl Opening {
    /// Reads the opening of a session; `None` of any other command.
    pub(super) fn read(bytes: &[u8]) -> Option<Opening> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn key(&self) -> Key {
        Key::Open(self.nonce, self.origin)
    }
}

/// The machine's command in an entry, if there is one.
pub(super) fn command_of(entry: &Entry) -> Option<&RawValue> {
    let Payload::Command(command) = &entry.payload else { return None };
    Some(Envelope::read(command.as_bytes())?.command)
}

/// The session that an entry opens, if it does.
pub(super) fn opening_of(entry: &Entry) -> Option<Opening> {
    let Payload::Command(command) = &entry.payload else { return None };
    Opening::read(command.as_bytes())
}

/// The identity of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Session and number.
    Command(u64, u64),
    /// The nonce and the node of who opens a session.
    Open(u64, RaftId),
}

impl Key {
    /// The key of a command as it stands in the log, and the node that it comes from;
    /// `None` if it is not a command.
    pub(super) fn of(bytes: &[u8]) -> Option<(Key, RaftId)> {
        if let Some(envelope) = Envelope::read(bytes) {
            return Some((envelope.key(), envelope.origin));
        }
        let opening = Opening::read(bytes)?;
        Some((opening.key(), opening.origin))
    }
}
