//! One server: its state, its clock, and how every role handles a message.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::config::Config;
use super::hard::HardWrites;
use super::ids::{Index, LogId, RaftId, Term};
use super::incoming::{Ack, Append, Early, Incoming, Owed, Received};
use super::log::Log;
use super::message::{Message, MessageKind, ReadContext};
use super::options::Options;
use super::planted;
use super::ready::{Persist, PersistId, Read, Ready};
use super::role::Role;
use super::types::{Command, Entry, HardState, Payload, SnapshotMeta};
use crate::coverage::{self, Mark};
use crate::planted::invariant;

/// The content of stable storage when the server started. The default is a server that
/// has never run.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Term and vote.
    pub hard_state: HardState,
    /// The latest snapshot. The caller has given its state to the state machine.
    pub snapshot: Option<SnapshotMeta>,
    /// The entry before the first of `entries`.
    pub base: LogId,
    /// The configuration in force at `base`, unless `base` is the beginning.
    pub base_config: Option<Arc<Config>>,
    /// The log from `base` on.
    pub entries: Vec<Entry>,
}

/// Why something was not proposed. It certainly is in no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// This server does not lead; this one does, as far as is known.
    NotLeader(Option<RaftId>),
    /// Leadership is being handed over.
    Transferring,
    /// Too much is waiting to be committed.
    Overloaded,
}

/// One Raft server. See the module's documentation.
#[derive(Debug)]
pub struct Raft {
    pub(super) id: RaftId,
    pub(super) options: Options,
    rng: Pcg64Mcg,
    /// The time, in ticks since the server started.
    pub(super) now: u64,
    pub(super) hard: HardState,
    pub(super) role: Role,
    /// The leader of the current term, if known.
    pub(super) leader: Option<RaftId>,
    pub(super) log: Log,
    /// When to start an election, if nothing happens before.
    pub(super) election_due: u64,
    /// For how long after hearing a leader each server of the cluster refuses to vote for
    /// another, at least, in ticks: the election timeout that all began with.
    pub(super) promise_ticks: u64,
    /// When a leader was last heard.
    pub(super) leader_heard: Option<u64>,
    /// A snapshot that is being received.
    pub(super) incoming: Option<Incoming>,
    /// Pieces of it that the caller has not taken yet.
    pub(super) received: Vec<Received>,
    /// Appends that overtook others.
    pub(super) early: Early,
    /// Up to where the log is known to agree with the current leader's.
    pub(super) verified: Index,
    /// The answer to the leader that is due at the end of the turn.
    pub(super) ack: Option<Ack>,
    /// Answers to the leader that wait for the disk.
    pub(super) owed: Owed,
    /// When the newest vote was given, or, once it is durable, when it left.
    pub(super) voted_at: u64,
    /// How long the disk took for the newest vote that is durable, in ticks.
    pub(super) vote_took: u64,
    /// Reads that other servers have given an index for, until it is applied.
    pub(super) remote_reads: Vec<Read>,
    /// Reads that the leader was asked for an index for.
    pub(super) asked_reads: BTreeSet<ReadContext>,
    last_persist: PersistId,
    confirmed_persist: PersistId,
    hard_writes: HardWrites,
    pub(super) out: Ready,
    pub(super) pending_snapshot: Option<SnapshotMeta>,
}

impl Raft {
    /// A server with identity `id`, in the cluster that began as `initial`, with its stored log. A
    /// server that is to join later begins with an empty configuration. `seed` decides its election
    /// timeouts; it should differ between servers.
    ///
    /// # Panics
    /// If the options contradict each other, or storage lost something.
    pub fn new(id: RaftId, initial: Config, seed: u64, options: Options, from: Restored) -> Raft {
        options.validate();
        let Restored { hard_state, snapshot, base, base_config, entries } = from;
        let log = Log::new(Arc::new(initial), snapshot, base, base_config, entries);
        invariant!(log.last().term <= hard_state.term, "storage lost the current term");
        // An earlier incarnation may have promised a leader not to elect another one. Only a
        // server that has never voted cannot have promised anything.
        let leader_heard = (hard_state.term > Term::ZERO && options.lease_reads).then_some(0);
        let promise_ticks = options.election_timeout_ticks;
        let mut raft = Raft {
            id,
            options,
            rng: Pcg64Mcg::seed_from_u64(seed),
            now: 0,
            hard: hard_state,
            role: Role::Follower,
            leader: None,
            log,
            election_due: 0,
            promise_ticks,
            leader_heard,
            incoming: None,
            received: Vec::new(),
            early: Early::default(),
            verified: Index::ZERO,
            ack: None,
            owed: Owed::default(),
            voted_at: 0,
            vote_took: 0,
            remote_reads: Vec::new(),
            asked_reads: BTreeSet::new(),
            last_persist: PersistId::default(),
            confirmed_persist: PersistId::default(),
            hard_writes: HardWrites::new(hard_state),
            out: Ready::default(),
            pending_snapshot: None,
        };
        raft.reset_election_timer();
        raft
    }

    /// Lets `ticks` pass.
    pub fn tick(&mut self, ticks: u64) {
        self.now += ticks;
        match &self.role {
            Role::Leader(_) => self.tick_leader(),
            _ if self.now >= self.election_due => self.time_out(),
            _ => {}
        }
    }

    /// How many ticks may pass before something happens by itself.
    pub fn ticks_until_due(&self) -> u64 {
        let due = match &self.role {
            Role::Leader(leader) => leader.next_due(),
            _ => self.election_due,
        };
        due.saturating_sub(self.now)
    }

    /// Changes the timing, for a caller that has measured the network. Timers that run
    /// are only touched if they would now be too long. An election timeout below the one
    /// this server began with counts as that one, because it is a promise to the others
    /// (see `read`).
    pub fn set_timing(&mut self, election_timeout_ticks: u64, heartbeat_ticks: u64) {
        // Guard: leases of other servers rely on the promise.
        let election_timeout_ticks = election_timeout_ticks.max(self.promise_ticks);
        self.options.election_timeout_ticks = election_timeout_ticks;
        self.options.heartbeat_ticks = heartbeat_ticks;
        self.options.validate();
        if self.election_due > self.now + 2 * election_timeout_ticks {
            self.reset_election_timer();
        }
    }

    /// Handles a message from another server. One whose term is more than
    /// [`Term::MAX_JUMP`] ahead, or whose numbers no log could have, counts as lost.
    pub fn step(&mut self, message: Message) {
        // Guard: one wrong number must not take the terms away from all.
        if !message.is_plausible(self.hard.term) {
            return;
        }
        let Message { from, to, term, kind } = message;
        if to != self.id || from == self.id {
            return;
        }
        if matches!(kind, MessageKind::RequestVote { .. }) {
            self.notice_outsider(from);
        }
        let Some(term) = self.plant_deafness(term, &kind) else { return };
        if term > self.hard.term && !self.enter_later_term(from, term, &kind) {
            return;
        }
        // A pre-vote and its grant speak of a term that no server is in yet.
        let ahead = term > self.hard.term;
        if term < self.hard.term {
            return self.answer_earlier_term(from, term, &kind);
        }
        match kind {
            MessageKind::RequestVote { pre, transfer, last } => {
                self.handle_request_vote(from, term, pre, transfer, last);
            }
            MessageKind::Vote { pre, granted } => self.handle_vote(from, term, pre, granted),
            _ if ahead => unreachable!("only votes speak of later terms"),
            MessageKind::Append { prev, commit, round, entries } => {
                self.follow(from);
                self.handle_append(from, Append { prev, commit, round, entries });
            }
            MessageKind::Snapshot { meta, offset, data, round } => {
                self.follow(from);
                self.handle_snapshot(from, meta, offset, &data, round);
            }
            MessageKind::Appended { round, matched } => self.handle_appended(from, round, matched),
            MessageKind::Rejected { round, prev, hint } => {
                self.handle_rejected(from, round, prev, hint);
            }
            MessageKind::Abstained { round, matched, prev, hint } => {
                self.handle_abstained(from, round, matched, prev, hint);
            }
            MessageKind::SnapshotProgress { last_index, offset, round } => {
                self.handle_snapshot_progress(from, last_index, offset, round);
            }
            MessageKind::ReadIndex { context } => self.handle_read_index(from, context),
            MessageKind::ReadIndexReply { context, index } => {
                self.handle_read_index_reply(from, context, index);
            }
            MessageKind::Outsider { id } => self.inform_outsider(id),
            MessageKind::TimeoutNow => self.handle_timeout_now(from),
        }
    }

    /// Decides how a message of a later term changes this server's term. Returns
    /// whether the message is to be handled at all.
    fn enter_later_term(&mut self, from: RaftId, term: Term, kind: &MessageKind) -> bool {
        match kind {
            MessageKind::RequestVote { pre, transfer, .. } => {
                // Guard: while a leader is heard, no candidate may disrupt it (thesis §4.2.3);
                // this is also the promise that leases are made of.
                if !transfer && self.protects_leader_from(from) {
                    return false;
                }
                if !pre {
                    self.become_follower(term, None);
                    // Its time is over, whatever it was promised.
                    self.leader_heard = None;
                }
            }
            // Granted to a term that this server has not started yet; refused by a
            // server that is in a later term itself.
            MessageKind::Vote { pre: true, granted: true } => {}
            MessageKind::Append { .. } | MessageKind::Snapshot { .. } => {
                self.become_follower(term, Some(from));
            }
            // Guard: a sender in a later term has moved on; leaders step down.
            _ => self.become_follower(term, None),
        }
        true
    }

    /// Tells a server that lives in an earlier term which term it is, if it asks.
    fn answer_earlier_term(&mut self, from: RaftId, term: Term, kind: &MessageKind) {
        match *kind {
            // Without an answer a deposed leader, or a candidate behind pre-vote, would
            // never learn that it must catch up before it can take part again.
            MessageKind::Append { prev, round, .. } => {
                let hint = LogId::default();
                self.send(from, MessageKind::Rejected { round, prev: prev.index, hint });
            }
            MessageKind::Snapshot { round, .. } => {
                let (prev, hint) = (Index::ZERO, LogId::default());
                self.send(from, MessageKind::Rejected { round, prev, hint });
            }
            MessageKind::RequestVote { pre, .. } => {
                self.send(from, MessageKind::Vote { pre, granted: false });
            }
            // Guard: answers and requests of an earlier term mean nothing any more.
            _ => assert!(term < self.hard.term, "an answer of the current term was dropped"),
        }
    }

    /// Recognises `from` as the leader of the current term.
    fn follow(&mut self, from: RaftId) {
        invariant!(
            !matches!(self.role, Role::Leader(_)),
            "{from} and {} both lead in term {}",
            self.id,
            self.hard.term
        );
        invariant!(self.leader.is_none_or(|l| l == from), "two leaders in term {}", self.hard.term);
        if self.leader.is_none() || !matches!(self.role, Role::Follower) {
            self.become_follower(self.hard.term, Some(from));
        }
        self.leader_heard = Some(self.now);
        self.reset_election_timer();
    }

    /// Appends a command to the log of the cluster, if this server leads. It is not
    /// decided until it comes back in [`Ready::committed`] with the same name; if
    /// another entry comes at its index, it never happens.
    ///
    /// # Errors
    /// [`ProposeError`] says why the command is in no log.
    pub fn propose(&mut self, command: Command) -> Result<LogId, ProposeError> {
        let Role::Leader(leader) = &self.role else {
            return Err(ProposeError::NotLeader(self.leader));
        };
        if leader.is_transferring() {
            return Err(ProposeError::Transferring);
        }
        if leader.uncommitted_bytes >= self.options.max_uncommitted_bytes {
            return Err(ProposeError::Overloaded);
        }
        Ok(self.append_own(Payload::Command(command)))
    }

    /// Storage has made everything up to and including `id` durable.
    pub fn persisted(&mut self, id: PersistId) {
        assert!(id <= self.last_persist, "durable before it was to be persisted");
        let knew_vote = self.is_hard_state_durable();
        self.confirmed_persist = self.confirmed_persist.max(id);
        self.hard_writes.persisted(id);
        self.log.persisted(id);
        if !knew_vote {
            self.start_waiting();
        }
        self.settle_owed();
        self.count_own_vote();
        self.advance_commit();
    }

    /// Ends a turn: returns everything that was collected since the last call, to be done.
    pub fn ready(&mut self) -> Ready {
        if matches!(self.role, Role::Leader(_)) {
            self.send_appends();
        }
        let persist = self.take_persist();
        self.answer_pieces();
        self.send_ack();
        let mut ready = std::mem::take(&mut self.out);
        ready.persist = persist;
        ready.restore = self.pending_snapshot.take();
        ready.committed = self.log.take_committed();
        let applied = self.log.applied();
        ready.reads.extend(self.remote_reads.extract_if(.., |read| read.index <= applied));
        invariant!(ready.reads.iter().all(|r| r.index <= applied), "a read of the future");
        if self.is_durable() {
            ready.messages.append(&mut ready.messages_after);
        }
        ready
    }

    fn take_persist(&mut self) -> Option<Persist> {
        let told = self.hard_writes.knows(self.hard);
        let snapshot = self.pending_snapshot.clone();
        if told && snapshot.is_none() && !self.log.has_untold() {
            return None;
        }
        self.last_persist = PersistId(self.last_persist.0 + 1);
        let id = self.last_persist;
        let hard = self.hard;
        let written = HardState { vote: planted::written_vote(hard.vote), ..hard };
        let hard_state = (!told).then_some(written);
        self.hard_writes.tell(id, hard);
        Some(Persist { id, hard_state, snapshot, entries: self.log.take_untold(id) })
    }

    /// Whether storage has confirmed everything it was told.
    pub(super) fn is_durable(&self) -> bool {
        self.confirmed_persist == self.last_persist && self.is_hard_state_durable()
    }

    /// Term and vote as they are on stable storage.
    pub fn durable_hard_state(&self) -> HardState {
        self.hard_writes.durable()
    }

    /// Whether term and vote are on stable storage.
    pub(super) fn is_hard_state_durable(&self) -> bool {
        self.durable_hard_state() == self.hard
    }

    pub(super) fn set_hard_state(&mut self, hard: HardState) {
        let revote = hard.term == self.hard.term && self.hard.vote.is_some();
        invariant!(hard.term >= self.hard.term, "the term goes back");
        invariant!(!revote || hard.vote == self.hard.vote, "a second vote in term {}", hard.term);
        if hard != self.hard {
            (self.hard, self.voted_at) = (hard, self.now);
        }
    }

    pub(super) fn become_follower(&mut self, term: Term, leader: Option<RaftId>) {
        if term > self.hard.term {
            self.set_hard_state(HardState { term, vote: None });
            // Guard: agreement with an earlier leader says nothing about this one.
            self.verified = planted::verified(Index::ZERO, self.verified);
            self.ack = None;
            self.owed = Owed { took: self.owed.took, ..Owed::default() };
            if let Some(incoming) = &mut self.incoming {
                incoming.asked = None;
                coverage::hit(Mark::ElectionDuringInstall);
            }
        }
        if let Role::Leader(led) = std::mem::replace(&mut self.role, Role::Follower) {
            self.leader_heard = None;
            self.drop_reads(*led);
            self.reset_election_timer();
        }
        if self.leader != leader {
            self.out.dropped_reads.extend(std::mem::take(&mut self.asked_reads));
        }
        self.leader = leader;
        // Guard: only hearing a leader, or giving a vote, puts an election off. If any
        // message of a later term did, a server that cannot win could keep those
        // waiting who can.
        if leader.is_some() {
            self.reset_election_timer();
        }
    }

    pub(super) fn reset_election_timer(&mut self) {
        // Guard: a new draw each time, so that split votes do not repeat (§5.2).
        let timeout = self.options.election_timeout_ticks;
        let jitter = planted::jitter_ticks(self.rng.next_u64() % timeout);
        self.election_due = self.now + timeout + jitter;
    }

    /// Stands again soon: a vote was refused, or leadership was lost. The paper waits a
    /// whole timeout, so that a leader that was elected instead is heard first; a part of
    /// it is enough for that, and if the vote was split, every server would wait for
    /// nothing. Should this server be too early, its pre-vote is refused.
    pub(super) fn hurry_election(&mut self) {
        let timeout = self.options.election_timeout_ticks;
        let jitter = planted::jitter_ticks(self.rng.next_u64() % timeout);
        self.election_due = self.election_due.min(self.now + timeout / 4 + jitter);
    }

    /// Whether there is reason to believe that the current leader still leads.
    pub(super) fn is_leader_alive(&self) -> bool {
        let leads = matches!(self.role, Role::Leader(_));
        let heard = |at: u64| self.now < at + self.options.election_timeout_ticks;
        self.options.check_quorum && (leads || self.leader_heard.is_some_and(heard))
    }

    /// Whether a vote for `from` would disrupt a leader that does well. A leader that
    /// stands again has itself given up the term in which it led, even if its last
    /// words are still arriving.
    pub(super) fn protects_leader_from(&self, from: RaftId) -> bool {
        self.leader != Some(from) && self.is_leader_alive()
    }

    pub(super) fn config(&self) -> &Arc<Config> {
        &self.log.config().1
    }

    /// Queues a message that may leave before anything is durable.
    pub(super) fn send(&mut self, to: RaftId, kind: MessageKind) {
        let message = Message { from: self.id, to, term: self.hard.term, kind };
        self.out.messages.push(message);
    }

    /// Queues a message that may leave only after everything is durable.
    pub(super) fn send_after(&mut self, to: RaftId, kind: MessageKind) {
        let message = Message { from: self.id, to, term: self.hard.term, kind };
        self.out.messages_after.push(message);
    }
}
