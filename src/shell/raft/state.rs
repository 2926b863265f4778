//! The state of a replica: before it knows its id, and afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::value::RawValue;

use super::changes::Changes;
use super::client::Client;
use super::envelope::Envelope;
use super::idle_answers::IdleAnswers;
use super::machine::Answer;
use super::options::Options;
use super::record;
use super::repeats::Waiting;
use super::route::Detour;
use super::standing::{Foreign, Standing};
use super::timing::Timing;
use super::wire::Bundle;
use crate::message::NodeId;
use crate::node::{Ticket, Token};
use crate::raft::{self, Message, PersistId, Raft, RaftId, Sessions, Shelf, Term};
use crate::time::Time;

/// One tick of the core is a millisecond.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// How often waiting requests are looked at.
pub(super) const RETRY: Duration = Duration::from_millis(100);
/// How soon the first server of a new cluster asks again whether it may lead.
pub(super) const FIRST_CAMPAIGN: Duration = Duration::from_millis(50);

/// The replica's timers.
pub(super) const FLUSH: Token = Token(0);
pub(super) const RAFT: Token = Token(1);
pub(super) const BATCH: Token = Token(2);
pub(super) const RETRIES: Token = Token(3);
pub(super) const CAMPAIGN: Token = Token(4);

/// How many commands of a session may be without an answer. Part of the replicated state:
/// the same everywhere.
pub(super) const SESSION_WINDOW: u64 = 1 << 16;

/// A state machine, replicated.
pub struct Replica<S> {
    /// The type of messages between replicas.
    pub(super) kind: &'static str,
    pub(super) options: Options,
    pub(super) machine: S,
    /// None in the place of an answer that is too large to be kept.
    pub(super) sessions: Sessions<Option<Answer>>,
    pub(super) standing: Standing,
    /// The nodes that have opened a session, as far as that is applied here.
    pub(super) known: BTreeSet<RaftId>,
    /// Storage has not been told of `standing`.
    pub(super) standing_changed: bool,
    pub(super) started: Option<Started>,
}

/// The state of a replica that knows its id.
pub(super) struct Started {
    pub(super) raft: Raft,
    /// The bytes of its snapshots.
    pub(super) shelf: Shelf,
    /// The nodes by name; a server's number is its place, from 1.
    pub(super) ids: Vec<NodeId>,
    pub(super) id: RaftId,
    /// Up to when the core has been told of time.
    pub(super) ticked: Time,
    pub(super) timing: Timing,
    pub(super) client: Client,
    pub(super) detour: Detour,
    pub(super) changes: Changes,
    /// Reads that wait for the core, with who asked.
    pub(super) reads: BTreeMap<u64, Reader>,
    pub(super) next_read: u64,
    /// Commands that wait for the end of the batch.
    pub(super) batch: Vec<Proposal>,
    /// Commands in this leader's log.
    pub(super) waiting: Waiting,
    /// Commands that this leader answers without a place in its log.
    pub(super) idle: IdleAnswers,
    /// The bundles to send at the end of the turn.
    pub(super) outbox: BTreeMap<RaftId, Bundle>,
    /// Writes that are not durable.
    pub(super) tickets: VecDeque<(PersistId, Ticket)>,
    pub(super) last_ticket: Option<Ticket>,
    /// The bytes of commands applied since the last snapshot, and of that snapshot.
    pub(super) applied_bytes: u64,
    pub(super) snapshot_bytes: u64,
    pub(super) flushing: bool,
    /// A voter of the first configuration that began with nothing.
    pub(super) is_blank: bool,
    pub(super) foreign: Foreign,
    /// The nodes that opened a session in the log that storage held.
    pub(super) logged: BTreeSet<RaftId>,
}

impl Started {
    /// Handles a message of another core.
    pub(super) fn step(&mut self, message: Message) {
        self.raft.step(message);
        self.shelf.receive(&mut self.raft);
    }

    /// The whole state for the disk.
    pub(super) fn checkpoint(&self, standing: Standing) -> Vec<u8> {
        let state = self.raft.to_restore();
        let data = state.snapshot.as_ref().map(|snapshot| self.shelf.get(snapshot));
        let data = data.map(|data| data.expect("the latest snapshot is kept").as_bytes());
        record::encode_checkpoint(&state, data.unwrap_or_default(), standing)
    }
}

/// A read: its origin and its purpose.
pub(super) struct Reader {
    pub(super) origin: RaftId,
    pub(super) tag: u64,
    pub(super) wanted: Wanted,
}

/// The purpose of a read.
pub(super) enum Wanted {
    /// The answer to a query.
    Answer(Box<RawValue>),
    /// Only that this node led when it asked.
    Leadership,
    /// Whether a command changes nothing.
    Idle(Box<Proposal>),
}

/// A command for the leader.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    /// As it will stand in the log.
    pub(super) command: raft::Command,
    /// The term in which this copy was sent; `None` for one that has to go through the log.
    pub(super) sent_in: Option<Term>,
    /// The node that brought it, and the term in which that node followed this leader.
    pub(super) voucher: (RaftId, Term),
}

/// The number of the node called `id`.
pub(super) fn raft_id(ids: &[NodeId], id: &NodeId) -> Option<RaftId> {
    ids.binary_search(id).ok().map(|place| RaftId(place as u64 + 1))
}

impl Proposal {
    /// The command in its envelope; `None` if it opens a session.
    pub(super) fn envelope(&self) -> Option<Envelope<'_>> {
        Envelope::read(self.command.as_bytes())
    }
}
