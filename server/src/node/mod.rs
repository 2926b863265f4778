//! One server of the cluster, as a pure state machine: [`Input`]s in, [`Effect`]s out.
//!
//! A [`Node`] connects the Raft core to the store: it is the client of its own cluster. It
//! forwards its clients' writes to the leader, sends them again until the log holds them, and
//! answers from its own copy of the log. It has no clock, socket, thread or file, so the
//! simulation can drive it like any other node, and any run can be repeated. Carrying the
//! effects out is the engine's business (`crate::engine`).
//!
//! # How a write travels
//!
//! The node opens a *session* in the log once in its life. Each write then gets a number in it, and
//! goes to the leader as often as it takes: the session makes it happen once. The leader appends
//! it; every node applies it; the node that was asked answers, from its own store. So no answer
//! travels between nodes, and a write that is under way when the leader dies is simply sent to the
//! next one. The leader tells a node that waits when its write is committed, because the next
//! heartbeat may be far away.
//!
//! # How a read travels
//!
//! All linearizable reads that came in since the last one went out share one confirmation
//! of the leader (ReadIndex). Then each gets the store itself, as a clone that costs
//! nothing, and is worked on in the thread of the one who asked.
//!
//! # The files
//!
//! `admit` decides who is listened to, by `lineage`; `client` sends writes and reads, `waiting` holds
//! those without an answer, `lease` the questions about leases (`question`); `space` a full disk;
//! `flush` the end of a turn, when the core's wishes become effects; `members` decides on members that come and go, which have `roles`,
//! and `steer` has the core follow; `apply` carries out entries of the log, `answer` keeps their
//! results for a retry; `machine` the replicated state, `based` has it over a tree, to which `handover` brings batches; `offline` a log without a server;
//! `envelope`, `record` and `wire` are the bytes in the log, on disk and between servers.

mod admit;
mod answer;
mod apply;
mod based;
mod client;
#[cfg(test)]
mod draft_tests;
mod envelope;
mod flush;
mod handover;
#[cfg(test)]
mod handover_tests;
mod lease;
#[cfg(test)]
mod lease_tests;
mod lineage;
mod machine;
mod members;
#[cfg(test)]
mod members_tests;
#[cfg(feature = "serve")]
pub mod offline;
mod planted;
mod question;
mod record;
mod roles;
pub mod shelf;
mod space;
mod start;
mod steer;
mod tell;
#[cfg(test)]
mod tests;
mod token;
mod waiting;
mod wire;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use seaworthy::raft::{
    Command, Index, LogId, PersistId, Piece, Raft, RaftId, Received, SnapshotMeta, Status, Term,
};
use seaworthy::storage::Log;
use seaworthy::time::Time;

pub use self::admit::{Hello, Refusal, Verdict};
pub use self::based::{Batch, Changes, index_of};
use self::envelope::Envelope;
pub use self::lineage::{Life, Lineage};
pub use self::machine::{Frozen, Machine, Member};
pub use self::members::{Change, Roster};
pub use self::question::Question;
pub use self::record::{Before, Checkpoint, Replaces, Written, state_before};
pub use self::roles::{NotChanged, Roles};
pub use self::start::{Start, StartError};
pub use self::tell::{Line, Told, tell};
pub use self::token::{Ticket, Token};
use self::waiting::Client;
use self::wire::Parcel;
pub use self::wire::{Class, piece, votes};
use crate::kv;

/// The inputs of a node.
#[derive(Debug)]
pub enum Input {
    /// A client asks.
    Request(Token, Request),
    /// Bytes from another server, as an [`Effect::Send`] of it had them.
    Parcel(RaftId, Vec<u8>),
    /// Everything up to this ticket is durable.
    Durable(Ticket),
    /// A state that was handed out by [`Effect::Freeze`] is durable beside the log.
    Written(Written),
    /// There was no space for a state that was handed out.
    Unwritten,
    /// The tree below the machine, which has the batch that was handed out by [`Effect::Batch`], durably.
    Based(Arc<dyn kv::Base>),
    /// The pieces of a snapshot before this offset, in bytes, are stored.
    Stored(SnapshotMeta, u64),
    /// A snapshot whose last piece is stored is durable beside the log, and this is its state; none if
    /// its bytes are not those that its name tells.
    Arrived(SnapshotMeta, Option<Box<Machine>>),
    /// A snapshot that a piece was asked of is not there any more.
    Lost(SnapshotMeta),
    /// How many bytes are left on a disk that is full; `None` if it is not.
    Space(Option<u64>),
    /// The process is to stop: leadership goes to another server.
    Stop,
}

/// The requests of a client.
#[derive(Debug)]
pub enum Request {
    /// To carry out a command, encoded: [`kv::Command::encode`].
    Write(Vec<u8>),
    /// To see the state, at least as new as this moment.
    Read,
    /// To see the state of this server, whatever it is; but not one from before this life of the
    /// server, which the log has to have accepted.
    ReadLocal,
    /// To ask the leader about a lease.
    Lease(i64, Question),
    /// To change the members.
    Change(Change),
    /// To hand the leadership to a member, if this server leads.
    MoveLeader(RaftId),
    /// To see the server itself.
    Inspect,
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Reply {
    /// The command was carried out, or refused by the state it met.
    Done(Term, Result<kv::Response, kv::Error>),
    /// The keys.
    State(Term, kv::Store),
    /// How long the lease has, as its leader answered; `None` if there is none of this id.
    Lease(Term, Option<Duration>),
    /// The members after a change, or why there was none.
    Members(Term, Result<Roster, NotChanged>),
    /// The server.
    View(Box<View>),
    /// It was not done, or it is not known whether it was.
    Failed(Failure),
}

/// A look at a server.
#[derive(Debug)]
pub struct View {
    /// The status of the core.
    pub status: Status,
    /// How far the others are, if this server leads: the last entry known to be the same.
    pub matched: BTreeMap<RaftId, u64>,
    /// How many writes wait for the log.
    pub waiting_writes: usize,
    /// The keys.
    pub store: kv::Store,
    /// The members.
    pub members: BTreeMap<RaftId, Member>,
    /// Who of them does not vote, or is to leave.
    pub roles: Roles,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer within the time allowed. A write may still happen.
    TimedOut,
    /// The write happened; its answer was large, and is only known on other servers.
    AnswerLost,
    /// The session ended. A write may have happened.
    SessionLost,
    /// Too much is waiting. It did not happen.
    Overloaded,
    /// This server stops. A write may still happen.
    Stopping,
}

/// The effects that a node wants, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Appends a record to the log on disk.
    Persist(Ticket, Vec<u8>),
    /// Remembers this place of the log on disk, for [`Replaces::UpToMark`].
    Mark,
    /// Replaces the log on disk, or a part of it.
    Checkpoint(Ticket, Checkpoint),
    /// Sends bytes to another server; they may be lost.
    Send(RaftId, Class, Vec<u8>),
    /// The same, once the ticket is durable.
    SendAfter(Ticket, RaftId, Class, Vec<u8>),
    /// Answers a request.
    Reply(Token, Reply),
    /// Encodes the state in another thread, makes it durable beside the log, and tells
    /// [`Input::Written`].
    Freeze(Box<Frozen>),
    /// Writes a batch to the tree below the machine, makes it durable, and tells [`Input::Based`].
    Batch(Box<Batch>),
    /// Reads a piece of a state beside the log, and sends [`piece`]; or tells [`Input::Lost`].
    Piece(Piece),
    /// Stores a piece of another server's state beside the log, and tells [`Input::Stored`]. After the
    /// last piece it makes the whole durable, decodes it, and tells [`Input::Arrived`].
    Store(Received),
    /// Lets go of a state or of many entries, which may take long.
    Discard(Box<dyn Any + Send + Sync>),
    /// From now on these are the other servers, and this is how they are reached.
    Members(BTreeMap<RaftId, Member>),
    /// Tells people.
    Event(Event),
    /// The node is ready to stop: another server leads, or none can.
    Stopped,
    /// This server has left the cluster, and has nothing more to do.
    Removed,
}

/// The events that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another server leads, or none.
    Leader(Term, Option<RaftId>),
    /// The cluster got its identity.
    Cluster(u64),
    /// A server took part for the first time in a life.
    Joined(RaftId, Box<Member>),
    /// The members are to change.
    Changed(Box<Change>),
    /// A member has left, and this was its name.
    Left(RaftId, String),
    /// These servers vote, and these receive the log only.
    Configured(BTreeSet<RaftId>, BTreeSet<RaftId>),
    /// This server had lost something, has caught up, and is counted again.
    Readmitted,
    /// The state came from another server, in the place of log entries.
    Restored(u64),
    /// This server's identity is used by another process.
    Superseded(String),
}

/// The times, in milliseconds, and other limits.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A follower that hears nothing for this long, or twice as long, stands for election.
    pub election_timeout_ms: u64,
    /// A leader that has nothing to send sends a heartbeat.
    pub heartbeat_ms: u64,
    /// A request gets an error after this long.
    pub request_timeout_ms: u64,
    /// A snapshot is taken when the log has grown by this much, or by the size of the last
    /// snapshot, if that is more; over a tree nothing is written then, and only the first counts.
    pub snapshot_bytes: u64,
    /// How many entries stay in the log for followers that are behind, once a snapshot
    /// stands for them.
    pub keep_entries: u64,
    /// Changes go to the tree below the machine, if there is one, when they take this much memory ...
    pub batch_bytes: u64,
    /// ... or after this long.
    pub batch_ms: u64,
    /// The most bytes of an append, and of a piece of a snapshot.
    pub max_append_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            election_timeout_ms: 1000,
            heartbeat_ms: 100,
            request_timeout_ms: 7000,
            snapshot_bytes: 64 << 20,
            keep_entries: 5_000,
            batch_bytes: 4 << 20,
            batch_ms: 1000,
            max_append_bytes: 1 << 20,
        }
    }
}

/// One server. See the module's documentation.
#[derive(Debug)]
pub struct Node {
    me: RaftId,
    member: Member,
    options: Options,
    raft: Raft,
    machine: Machine,
    /// The last entry in the state that the machine began with.
    begun: Index,
    /// The tree below the machine.
    tree: Option<based::Tree>,
    client: Client,
    leases: lease::Leases,
    /// Answers about leases for other servers.
    told: BTreeMap<RaftId, Vec<question::Told>>,
    /// The term of the last applied entry.
    applied_term: Term,
    /// The time of the current turn, and up to where the core was told of it.
    now: Time,
    ticked_ms: u64,
    /// Commands for the log, if this server leads.
    inbox: VecDeque<Command>,
    /// Those that are in this leader's log and not applied.
    proposed: BTreeSet<envelope::Key>,
    /// The entries that waiting nodes should know to be committed.
    hints: BTreeMap<RaftId, LogId>,
    /// The entry that this node heard to be committed.
    heard: Option<LogId>,
    /// Term and leader of the last turn.
    led: (Term, Option<RaftId>),
    last_ticket: Ticket,
    tickets: VecDeque<(PersistId, Ticket)>,
    /// The bytes applied since the last snapshot, and its size.
    applied_bytes: u64,
    snapshot_size: u64,
    freezing: bool,
    /// The checkpoint for the state that is being encoded. The log on disk has a mark for it.
    draft: Option<record::Draft>,
    /// The state is to be encoded, although a tree has it: another server asks for the state, or this server was
    /// started without its tree.
    wants_encoded: bool,
    /// The state of a snapshot that the core is about to take.
    arrived: Option<Box<Machine>>,
    space: space::Space,
    standing: record::Standing,
    standing_changed: bool,
    stopping: Option<Time>,
    /// Requests that wait for a configuration or a leader.
    settling: Vec<steer::Settling>,
    members_changed: bool,
    /// When this server learnt that it has left.
    left_at: Option<Time>,
    contacts: admit::Contacts,
    effects: Vec<Effect>,
}

impl Node {
    /// Handles one input.
    pub fn step(&mut self, now: Time, input: Input) {
        self.set_time(now);
        match input {
            Input::Request(token, request) => self.ask(token, request),
            Input::Parcel(from, bytes) => self.take_parcel(from, &bytes),
            Input::Durable(ticket) => self.durable(ticket),
            Input::Written(written) => self.written(written),
            Input::Based(base) => self.based(base),
            Input::Unwritten => self.unwritten(),
            Input::Stored(snapshot, upto) => self.raft.stored(&snapshot, upto),
            Input::Arrived(snapshot, state) => self.arrived(&snapshot, state),
            Input::Lost(snapshot) => self.lost(&snapshot),
            Input::Space(left) => self.set_space(left),
            Input::Stop => self.stop(),
        }
    }

    /// Ends a turn, when everything that has arrived is handled: appends the effects to `effects`.
    /// To be called after inputs, and when [`Node::deadline`] has passed.
    pub fn flush(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.set_time(now);
        self.end_turn();
        effects.append(&mut self.effects);
    }

    /// When something happens by itself.
    pub fn deadline(&self) -> Time {
        let raft = Time::from_millis(self.ticked_ms + self.raft.ticks_until_due().max(1));
        let client = self.client.deadline().min(self.settling_deadline());
        raft.min(client).min(self.leases.deadline())
    }

    /// The identity of the cluster, if it is known: also before the log is applied.
    pub fn cluster(&self) -> Option<u64> {
        self.machine.cluster.or(self.standing.cluster)
    }

    /// The replicated state.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Shows the server as it is now.
    pub fn view(&self) -> View {
        View {
            status: self.raft.status(),
            matched: self.raft.progress().map(|(id, p)| (id, p.matched.0)).collect(),
            waiting_writes: self.client.waiting_writes(),
            store: self.machine.store.clone(),
            members: self.machine.members.clone(),
            roles: self.machine.roles.clone(),
        }
    }

    /// The core, for white-box checks.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Who this is.
    pub fn id(&self) -> RaftId {
        self.me
    }

    /// Takes a parcel of another server. Bytes that do not parse count as lost.
    fn take_parcel(&mut self, from: RaftId, bytes: &[u8]) {
        let Ok(parcel) = postcard::from_bytes::<Parcel>(bytes) else { return };
        for message in parcel.raft {
            if message.from == from {
                self.raft.step(message);
            }
        }
        // Guard: a command that this version does not understand must not enter the log.
        let known = |c: &Command| {
            Envelope::decode(c.as_bytes()).is_some_and(|envelope| envelope.may_be_forwarded())
        };
        self.inbox.extend(parcel.commands.into_iter().filter(known));
        self.heard = self.heard.max(parcel.committed);
        self.leases.take(from, parcel.lease_questions);
        self.take_answers(parcel.lease_answers);
    }

    fn set_time(&mut self, now: Time) {
        self.now = self.now.max(now);
        let ms = self.now.as_millis();
        if ms > self.ticked_ms {
            self.raft.tick(ms - self.ticked_ms);
            self.ticked_ms = ms;
        }
    }

    fn durable(&mut self, ticket: Ticket) {
        while let Some((persist, _)) = self.tickets.pop_front_if(|(_, t)| *t <= ticket) {
            self.raft.persisted(persist);
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket = Ticket(self.last_ticket.0 + 1);
        self.last_ticket
    }

    /// Hands leadership over, if there is a server to take it.
    fn stop(&mut self) {
        for token in [self.client.fail_all(), self.leases.fail_all()].concat() {
            self.reply(token, Reply::Failed(Failure::Stopping));
        }
        self.fail_settling();
        let heir = self.raft.progress().max_by_key(|(_, p)| p.matched).map(|(id, _)| id);
        let handed = heir.is_some_and(|heir| self.raft.transfer_leadership(heir).is_ok());
        match handed {
            true => self.stopping = Some(self.now),
            false => self.effects.push(Effect::Stopped),
        }
    }
}

/// A recovered log, for [`Node::start`].
pub type Recovered = Log;
