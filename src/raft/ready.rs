//! The wishes of a server, and the order in which they must be carried out.
//!
//! Two outboxes are the heart of it (etcd's best idea). `messages` may leave at
//! once, also before anything is durable: a leader's entries are among them, so its
//! followers write to their disks while it writes to its own (thesis §10.2.1).
//! `messages_after` are promises, that a vote was given or that entries are held; a
//! promise must be durable before it is made.

use serde::{Deserialize, Serialize};

use super::ids::{Index, RaftId, Term};
use super::message::{Message, MessageKind, ReadContext, Round};
use super::types::{Command, Entry, HardState, SnapshotMeta};

/// Names one [`Persist`]; they become durable in order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PersistId(pub u64);

/// Something to be made durable as a whole, after everything asked for earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// To be passed to [`Raft::persisted`](super::Raft::persisted) once this and all
    /// earlier ones are durable.
    pub id: PersistId,
    /// Replaces the hard state.
    pub hard_state: Option<HardState>,
    /// Replaces the log and the state machine, before `entries` are appended.
    pub snapshot: Option<SnapshotMeta>,
    /// To be appended. If the first one's position is already taken, it and all
    /// positions after it are truncated first.
    pub entries: Vec<Entry>,
}

/// The wishes of a server. All must be carried out; the caller may handle
/// new input while `persist` is under way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Send these now.
    pub messages: Vec<Message>,
    /// Send these pieces of snapshots, sooner or later.
    pub pieces: Vec<Piece>,
    /// Make this durable, then call [`Raft::persisted`](super::Raft::persisted).
    pub persist: Option<Persist>,
    /// Send these once `persist`, or, without one, the last `persist` asked for
    /// earlier, is durable.
    pub messages_after: Vec<Message>,
    /// Replace the state machine by this, before applying `committed`.
    pub restore: Option<SnapshotMeta>,
    /// Apply these, in order. They count as applied from now on.
    pub committed: Vec<Entry>,
    /// These reads may be served once `committed` is applied.
    pub reads: Vec<Read>,
    /// These reads will not be answered: leadership was lost. They may be asked again.
    pub dropped_reads: Vec<ReadContext>,
}

/// A piece of a snapshot that another server needs. The caller reads it where it keeps the snapshot,
/// and sends [`Piece::message`]; one that is not sent counts as lost on the way. A snapshot that
/// the caller does not have any more is told to [`Raft::snapshot_lost`](super::Raft::snapshot_lost).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which snapshot: the latest, or one before it whose transfer goes on. They are
    /// in [`Raft::snapshots`](super::Raft::snapshots) as long as that may be.
    pub meta: SnapshotMeta,
    /// Where the piece begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Who needs it.
    pub to: RaftId,
    pub(super) from: RaftId,
    pub(super) term: Term,
    pub(super) round: Round,
}

impl Piece {
    /// The message with the piece.
    ///
    /// # Panics
    /// If it has another length.
    pub fn message(self, data: Command) -> Message {
        assert_eq!(data.as_bytes().len() as u64, self.len_bytes, "a piece of another length");
        let Piece { meta, offset, to, from, term, round, .. } = self;
        Message { from, to, term, kind: MessageKind::Snapshot { meta, offset, data, round } }
    }
}

/// A read that may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The caller's name for it.
    pub context: ReadContext,
    /// The state to be read includes at least everything up to here.
    pub index: Index,
}

impl Ready {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Ready::default()
    }
}
