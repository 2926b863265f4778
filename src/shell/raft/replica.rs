//! A replica's turn: its start, and the events that it is handed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_core::Rng;
use serde_json::value::RawValue;

use super::body::unpack;
use super::changes::Changes;
use super::client::Client;
use super::envelope::command_of;
use super::idle_answers::IdleAnswers;
use super::machine::{Answer, StateMachine};
use super::options::Options;
use super::outcome::Via;
use super::record::{self, Stored};
use super::repeats::Waiting;
use super::route::Detour;
use super::standing::{Foreign, Standing, sessions_in};
use super::state::{
    BATCH, CAMPAIGN, FIRST_CAMPAIGN, FLUSH, RETRIES, Replica, SESSION_WINDOW, Started, TICK,
    raft_id,
};
use super::timing::Timing;
use super::wire::{Bundle, CommandAnswer, IdleAnswer, QueryResult, Replies};
use super::{identity, membership, planted};
use crate::message::{ErrorCode, Message, NodeId, RpcError};
use crate::node::{Context, DEFAULT_STREAM, Event, Ticket, Token};
use crate::raft::{self, Config, Raft, RaftId, RoleName, Sessions, Shelf, Term};
use crate::storage::Recovered;
use crate::time::Time;

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
        new.filter_map(|entry| command_of(entry).map(RawValue::to_owned))
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
        let Stored { state: restored, data, standing } = match record::decode(&log) {
            Ok(stored) => stored,
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
        let snapshot = restored.snapshot.clone();
        if snapshot.is_some() {
            self.restore(data.as_bytes());
        }
        self.standing = standing;
        let logged = sessions_in(&restored);
        if let Some(why) = &log.lost {
            tracing::error!("{} abstains until it has caught up with its leader: {why}", cx.id());
            self.standing.abstains = true;
            self.standing_changed = true;
        }
        let options = self.core_options();
        let seed = cx.rng().next_u64();
        let nonce = cx.rng().next_u64();
        let mut raft = Raft::new(own, initial, seed, options, restored);
        if let Some(why) = &log.lost
            && raft.configuration().1.voters.len() <= 2
        {
            return cx.refuse(identity::alone(why));
        }
        // A new cluster has no leader to wait for.
        if is_new && is_first {
            raft.campaign();
            cx.set_timer(CAMPAIGN, FIRST_CAMPAIGN);
        }
        let shelf = snapshot.map(|snapshot| Shelf::with(snapshot, data)).unwrap_or_default();
        self.started = Some(Started {
            raft,
            shelf,
            ids,
            id: own,
            ticked: cx.now(),
            timing: Timing::default(),
            client: Client::new(own, nonce),
            detour: Detour::default(),
            changes: Changes::default(),
            reads: BTreeMap::new(),
            // Answers to reads of an earlier incarnation must match none of this one.
            next_read: nonce,
            batch: Vec::new(),
            waiting: Waiting::default(),
            idle: IdleAnswers::default(),
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

    fn core_options(&self) -> raft::Options {
        raft::Options {
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
            ..planted::core_options(raft::Options::default())
        }
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

    /// Handles a message of another replica.
    fn receive(&mut self, cx: &mut Context<'_>, message: &Message) {
        let Some(started) = &mut self.started else { return };
        let from = raft_id(&started.ids, &message.src).filter(|from| *from != started.id);
        let Some(from) = from else {
            tracing::warn!(src = %message.src, "ignored a message of a node that is not a replica");
            return;
        };
        let bundle: Bundle = match message.body.parse() {
            Ok(bundle) => bundle,
            Err(error) => {
                tracing::warn!(src = %message.src, %error, "ignored a message that failed to parse");
                return;
            }
        };
        if !self.admit(cx, from, &message.src, bundle.cluster, bundle.new) {
            return;
        }
        let Some(started) = &mut self.started else { return };
        started.timing.receive(from, cx.now(), bundle.clocks);
        for core in bundle.raft {
            match unpack(from, started.id, core) {
                Some(message) => started.step(message),
                None => {
                    tracing::warn!(src = %message.src, "ignored a raft message that failed to parse")
                }
            }
        }
        self.guide(cx.now(), from, bundle.seeks, bundle.hears);
        self.take_requests(from, bundle.term, bundle.requests, bundle.pass_on);
        self.take_passed_on(from, bundle.term, bundle.passed_on);
        self.return_replies(bundle.replies_back);
        self.take_replies(cx, from, bundle.replies);
    }

    /// Handles answers of the leader.
    fn take_replies(&mut self, cx: &mut Context<'_>, from: RaftId, replies: Replies) {
        if replies.is_empty() {
            return;
        }
        self.note_answered(cx.now(), from);
        if let (Some(id), Some(started)) = (replies.committed, &mut self.started) {
            started.raft.learn_commit(id.into());
        }
        for CommandAnswer { session, number, answer } in replies.answers {
            self.complete(cx, session, number, answer, Via::Log);
        }
        for IdleAnswer { term, session, number, answer } in replies.idle {
            self.take_idle_answer(cx, term, session, number, Answer(answer));
        }
        for QueryResult { tag, result } in replies.results {
            self.finish(cx, tag, Answer(result));
        }
    }
}
