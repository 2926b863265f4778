//! Commands as they stand in the log.

use serde_json::value::RawValue;

use crate::raft::{Entry, Payload, RaftId};

/// A command as it stands in the log: session, number, floor, origin, command.
pub(super) type Envelope<'a> = (u64, u64, u64, RaftId, &'a RawValue);

/// The machine's command in an entry, if there is one.
pub(super) fn command_of(entry: &Entry) -> Option<&RawValue> {
    let Payload::Command(command) = &entry.payload else { return None };
    let envelope: Envelope<'_> = serde_json::from_slice(command.as_bytes()).ok()?;
    Some(envelope.4)
}

/// The nonce and the origin of a session that an entry opens, if it does.
pub(super) fn session_of(entry: &Entry) -> Option<(u64, RaftId)> {
    let Payload::Command(command) = &entry.payload else { return None };
    serde_json::from_slice(command.as_bytes()).ok()
}

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
