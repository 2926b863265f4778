//! A replicated state machine as a node: the shell around [`crate::raft`].
//!
//! A workload that must be linearizable is a deterministic [`StateMachine`]; a
//! [`Replica`] makes a node of it. It turns what the core wants into effects: writes
//! become records, promises wait for their tickets, time becomes ticks. And it is the
//! client of its own cluster, on behalf of the node's clients: it passes commands and
//! queries on to whoever leads, keeps them until there is an answer, and sends them
//! again when the leader changes. Sessions make sure that a command which arrives
//! twice happens once.
//!
//! # Promises to clients
//!
//! * A definite error means that the request is in no log and never will be: it was
//!   refused before it left this node, or it is a query.
//! * A command that may have reached a log is answered with its outcome, however often
//!   it takes, or, after a long time, with error 0, which promises nothing.
//! * A request that finds no leader waits for one instead of failing, as long as its
//!   client can be expected to wait.
//!
//! * A node that reaches a majority serves its clients, even if it cannot reach the
//!   leader: others pass its requests on (see `detour`).
//!
//! # Few messages
//!
//! A turn ends with a timer of no delay, which goes off when everything that had
//! arrived is handled. Then one message goes to each replica for which there is
//! anything, with everything in it (see `wire`). A query that is passed on to the
//! leader vouches for that leader at the same time; in a cluster of three it needs no
//! confirmation by anybody else. With [`Options::follower_reads`] a node asks for an
//! index instead of the answer, which costs the same two messages, and reads in its own
//! state. A command that changes nothing is answered like a query (see `idle`).
//!
//! # Deliberately missing
//!
//! Snapshots of the state machine taken bit by bit: the node stands still while it takes
//! one.

mod apply;
mod client;
mod detour;
mod flush;
mod identity;
mod idle;
mod membership;
mod options;
mod pace;
mod pending;
mod promise;
mod record;
mod repeats;
#[cfg(test)]
mod tests;
mod timing;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::message::{ErrorCode, Message, NodeId, RpcError};
use crate::mutant::{self, Mutant};
use crate::node::{Context, DEFAULT_STREAM, Event, Ticket, Token};
use crate::raft::{self, Config, LogId, PersistId, Raft, RaftId, RoleName, Sessions, Term};
use crate::storage::Recovered;
use crate::time::Time;
use client::Client;
use detour::Detour;
use identity::{Foreign, Standing};
use idle::Idle;
use membership::Changes;
pub use options::Options;
use repeats::Waiting;
use timing::Timing;
use wire::{Parcel, Replies};

pub use promise::{Promise, promises};

/// What is replicated: a deterministic machine. Two that apply the same commands in
/// the same order must give the same answers; so no clock, no randomness, no address
/// of anything may decide.
pub trait StateMachine {
    /// Carries out a command. What it finds impossible is an answer too.
    fn apply(&mut self, command: &RawValue) -> Answer;
    /// What [`StateMachine::apply`] would answer to `command`, if that would change nothing
    /// at present: then it may be answered like a query, without a place in the log.
    /// `None` if it would, or if that cannot be told cheaply.
    fn idle_answer(&self, _command: &RawValue) -> Option<Answer> {
        None
    }
    /// Whether [`StateMachine::idle_answer`] ever gives an answer. The same on all nodes.
    const HAS_IDLE_COMMANDS: bool = false;
    /// Answers without changing anything.
    fn query(&self, query: &RawValue) -> Answer;
    /// Everything, as bytes.
    fn snapshot(&self) -> Vec<u8>;
    /// Becomes what [`StateMachine::snapshot`] saw.
    ///
    /// # Errors
    /// Says why the bytes are no snapshot.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}

/// The body of a reply, as it is sent to the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answer(Box<RawValue>);

impl Answer {
    /// The answer with this body, an object with a `type`.
    pub fn new(body: &impl Serialize) -> Answer {
        Answer(to_raw_value(body).expect("answers are plain data"))
    }

    /// A refusal. The machine has decided it, so a definite code is in order.
    pub fn error(error: &RpcError) -> Answer {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            #[serde(flatten)]
            error: &'a RpcError,
        }
        Answer::new(&Body { kind: "error", error })
    }

    /// The body's text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

/// One tick of the core is a millisecond.
const TICK: Duration = Duration::from_millis(1);
/// How often what waits is looked at.
const RETRY: Duration = Duration::from_millis(100);
/// How soon the first server of a new cluster asks again whether it may lead.
const FIRST_CAMPAIGN: Duration = Duration::from_millis(50);

/// The replica's timers.
const FLUSH: Token = Token(0);
const RAFT: Token = Token(1);
const BATCH: Token = Token(2);
const RETRIES: Token = Token(3);
const CAMPAIGN: Token = Token(4);

/// How many commands of a session may be without an answer. Part of the replicated state:
/// the same everywhere.
const SESSION_WINDOW: u64 = 1 << 16;

/// A state machine, replicated.
pub struct Replica<S> {
    /// The type of messages between replicas.
    kind: &'static str,
    options: Options,
    machine: S,
    /// None in the place of an answer that is too large to be kept.
    sessions: Sessions<Option<Answer>>,
    standing: Standing,
    /// The nodes that have opened a session, as far as that is applied here.
    known: BTreeSet<RaftId>,
    /// Storage has not been told of `standing`.
    standing_changed: bool,
    started: Option<Started>,
}

/// What a replica has once it knows who it is.
struct Started {
    raft: Raft,
    /// The nodes by name; a server's number is its place, from 1.
    ids: Vec<NodeId>,
    own: RaftId,
    /// Up to when the core has been told of time.
    ticked: Time,
    timing: Timing,
    client: Client,
    detour: Detour,
    changes: Changes,
    /// Reads that wait for the core, with who asked.
    reads: BTreeMap<u64, Reader>,
    next_read: u64,
    /// Commands that wait for the end of the batch.
    batch: Vec<Proposal>,
    /// Commands in this leader's log.
    waiting: Waiting,
    /// Commands that this leader answers without a place in its log.
    idle: Idle,
    /// What to send at the end of the turn.
    outbox: BTreeMap<RaftId, Parcel>,
    /// Writes that are not durable.
    tickets: VecDeque<(PersistId, Ticket)>,
    last_ticket: Option<Ticket>,
    /// The bytes of commands applied since the last snapshot, and of that snapshot.
    applied_bytes: u64,
    snapshot_bytes: u64,
    flushing: bool,
    /// A voter of the first configuration that began with nothing.
    is_blank: bool,
    foreign: Foreign,
    /// The nodes that opened a session in the log that storage held.
    logged: BTreeSet<RaftId>,
}

/// Who reads, and what.
struct Reader {
    origin: RaftId,
    name: u64,
    wanted: Wanted,
}

/// What a read is for.
enum Wanted {
    /// The answer to a query.
    Answer(Box<RawValue>),
    /// Only that this node led when it asked.
    Leadership,
    /// Whether a command changes nothing.
    Idle(Box<Proposal>),
}

/// A command for the leader.
#[derive(Clone, Debug)]
struct Proposal {
    /// As it will stand in the log.
    command: raft::Command,
    /// The term in which this copy was sent; `None` for one that has to go through the log.
    sent_in: Option<Term>,
    /// Who brought it, and the term in which that node followed this leader.
    voucher: (RaftId, Term),
}

impl<S: StateMachine> Replica<S> {
    /// A replica of `machine`, which must be in its first state. Replicas talk to each
    /// other in messages of type `kind`.
    pub fn new(kind: &'static str, machine: S, options: Options) -> Replica<S> {
        let sessions = Sessions::new(options.max_sessions, SESSION_WINDOW);
        let standing = Standing::default();
        Replica {
            kind,
            options,
            machine,
            sessions,
            standing,
            known: BTreeSet::new(),
            standing_changed: false,
            started: None,
        }
    }

    /// The state machine, as far as it is applied here.
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// The commands in this node's log that are not applied here, oldest first. Those that
    /// are not committed may never be.
    pub fn unapplied(&self) -> impl Iterator<Item = Box<RawValue>> {
        let raft = self.raft();
        let applied = raft.map(|raft| raft.status().applied);
        let entries = raft.into_iter().flat_map(Raft::entries);
        let new = entries.filter(move |entry| Some(entry.id.index) > applied);
        new.filter_map(|entry| apply::command_of(entry).map(RawValue::to_owned))
    }

    /// The consensus core, for white-box checks; none before the start.
    pub fn raft(&self) -> Option<&Raft> {
        self.started.as_ref().map(|s| &s.raft)
    }

    /// Handles an event. Returns a message that is the workload's own affair.
    pub fn handle(&mut self, cx: &mut Context<'_>, event: Event) -> Option<Message> {
        if let Event::Start(recovered) = event {
            self.start(cx, recovered);
            return None;
        }
        self.pass_time(cx.now());
        if matches!(event, Event::Timer(FLUSH)) {
            self.flush(cx);
            return None;
        }
        let mut own = None;
        match event {
            Event::Message(message) if message.body.kind == self.kind => {
                self.receive(cx, &message);
            }
            Event::Message(message) if let Some(why) = self.cut_off(cx) => {
                let error = RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, why);
                cx.error(&message.request(), &error);
            }
            Event::Message(message) => match membership::answer_to(&message.body.kind) {
                Some(done) => self.request_change(cx, &message, done),
                None => own = Some(message),
            },
            Event::Timer(token) => self.timer(cx, token),
            Event::Durable(ticket) => self.durable(ticket),
            Event::Start(_) | Event::Reply { .. } => {}
        }
        self.flush_soon(cx);
        own
    }

    fn start(&mut self, cx: &mut Context<'_>, mut recovered: Recovered) {
        let log = recovered.take(DEFAULT_STREAM);
        let is_new = log.is_empty();
        let (restored, standing) = match record::decode(&log) {
            Ok(decoded) => decoded,
            Err(why) => panic!("storage was not written by a replica: {why}"),
        };
        let mut ids = cx.node_ids().to_vec();
        ids.sort_unstable();
        let number = |id: &NodeId| raft_id(&ids, id);
        let own = number(cx.id()).expect("a node is one of its nodes");
        let members = cx.initial_member_ids().unwrap_or(cx.node_ids());
        let voters: Vec<RaftId> = members.iter().filter_map(number).collect();
        let is_member = voters.contains(&own);
        let is_first = voters.iter().min() == Some(&own);
        let initial = if is_member { Config::of_voters(voters) } else { Config::default() };
        if let Some(snapshot) = restored.snapshot.clone() {
            self.restore(snapshot.data.as_bytes());
        }
        self.standing = standing;
        let logged = identity::sessions_in(&restored);
        if let Some(why) = &log.lost {
            tracing::error!("{} abstains until it has caught up with its leader: {why}", cx.id());
            self.standing.abstains = true;
            self.standing_changed = true;
        }
        let options = raft::Options {
            election_timeout_ticks: self.options.election_timeout_ms,
            heartbeat_ticks: self.options.heartbeat_ms,
            lease_reads: self.options.lease_reads,
            lease_margin_ticks: self.options.election_timeout_ms / 4,
            keep_entries: self.options.keep_entries,
            max_append_bytes: self.options.append_bytes,
            max_inflight_messages: self.options.max_inflight,
            max_early_appends: self.options.max_early,
            snapshot_chunk_bytes: self.options.snapshot_chunk_bytes,
            abstain: self.standing.abstains,
            pre_vote: !mutant::is(Mutant::NoPreVote),
            check_quorum: !mutant::is(Mutant::NoPreVote),
            ..raft::Options::default()
        };
        let seed = cx.rng().next_u64();
        let nonce = cx.rng().next_u64();
        let mut raft = Raft::new(own, initial, seed, options, restored);
        if let Some(why) = &log.lost
            && raft.configuration().1.voters.len() <= 2
        {
            return cx.refuse(identity::alone(why));
        }
        // In a new cluster there is nobody to wait for.
        if is_new && is_first {
            raft.campaign();
            cx.set_timer(CAMPAIGN, FIRST_CAMPAIGN);
        }
        self.started = Some(Started {
            raft,
            ids,
            own,
            ticked: cx.now(),
            timing: Timing::default(),
            client: Client::new(own, nonce),
            detour: Detour::default(),
            changes: Changes::default(),
            reads: BTreeMap::new(),
            // Answers to reads of an earlier life must match none of this one.
            next_read: nonce,
            batch: Vec::new(),
            waiting: Waiting::default(),
            idle: Idle::default(),
            outbox: BTreeMap::new(),
            tickets: VecDeque::new(),
            last_ticket: None,
            applied_bytes: 0,
            snapshot_bytes: 0,
            flushing: false,
            is_blank: is_new && is_member,
            foreign: Foreign::default(),
            logged,
        });
        self.flush_soon(cx);
    }

    /// Tells the core how much time has passed.
    fn pass_time(&mut self, now: Time) {
        let Some(started) = &mut self.started else { return };
        let elapsed = now - started.ticked;
        let ticks = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if ticks > 0 {
            started.ticked = started.ticked + TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
            started.raft.tick(ticks);
        }
    }

    fn timer(&mut self, cx: &mut Context<'_>, token: Token) {
        match token {
            BATCH => self.propose_batch(cx),
            RETRIES => self.retry(cx),
            CAMPAIGN => self.campaign_again(cx),
            // Time has been passed on already.
            _ => {}
        }
    }

    /// Stands for election once more, if this is the first server of a new cluster and
    /// the others were not there yet to hear it.
    fn campaign_again(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        let status = started.raft.status();
        let waits = matches!(status.role, RoleName::Follower | RoleName::PreCandidate);
        if waits && status.hard_state.term == Term::ZERO && status.leader.is_none() {
            started.raft.campaign();
            cx.set_timer(CAMPAIGN, FIRST_CAMPAIGN);
        }
    }

    fn durable(&mut self, ticket: Ticket) {
        let Some(started) = &mut self.started else { return };
        let mut last = None;
        while let Some((id, _)) = started.tickets.front().copied().filter(|(_, t)| *t <= ticket) {
            started.tickets.pop_front();
            last = Some(id);
        }
        if let Some(id) = last {
            started.raft.persisted(id);
        }
    }

    /// Handles what another replica sent.
    fn receive(&mut self, cx: &mut Context<'_>, message: &Message) {
        let Some(started) = &mut self.started else { return };
        let from = raft_id(&started.ids, &message.src).filter(|from| *from != started.own);
        let Some(from) = from else {
            tracing::warn!(src = %message.src, "ignored a replica that is none");
            return;
        };
        let parcel: Parcel = match message.body.parse() {
            Ok(parcel) => parcel,
            Err(error) => {
                tracing::warn!(src = %message.src, %error, "ignored what no replica says");
                return;
            }
        };
        if !self.admit(cx, from, &message.src, parcel.cluster, parcel.new) {
            return;
        }
        let Some(started) = &mut self.started else { return };
        started.timing.receive(from, cx.now(), parcel.clocks);
        for say in parcel.raft {
            match wire::unpack(from, started.own, say) {
                Some(message) => started.raft.step(message),
                None => tracing::warn!(src = %message.src, "ignored what is no raft message"),
            }
        }
        self.guide(cx.now(), from, parcel.seeks, parcel.hears);
        self.take_requests(from, parcel.term, parcel.requests, parcel.pass_on);
        self.take_passed_on(from, parcel.term, parcel.passed_on);
        self.return_replies(parcel.replies_back);
        self.take_replies(cx, from, parcel.replies);
    }

    /// Handles what the leader answers.
    fn take_replies(&mut self, cx: &mut Context<'_>, from: RaftId, replies: Replies) {
        if replies.is_empty() {
            return;
        }
        self.is_answered(cx.now(), from);
        if let (Some((term, index)), Some(started)) = (replies.committed, &mut self.started) {
            started.raft.learn_commit(LogId::new(term, index));
        }
        for (session, number, answer) in replies.answers {
            self.complete(cx, session, number, answer, true);
        }
        for (term, session, number, answer) in replies.idle {
            self.take_idle_answer(cx, term, session, number, Answer(answer));
        }
        for (name, result) in replies.results {
            self.finish(cx, name, Answer(result));
        }
    }
}

/// The number of the node called `id`.
fn raft_id(ids: &[NodeId], id: &NodeId) -> Option<RaftId> {
    ids.binary_search(id).ok().map(|place| RaftId(place as u64 + 1))
}
