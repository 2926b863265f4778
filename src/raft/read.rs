//! Linearizable reads without writing to the log (thesis §6.4).
//!
//! A leader notes its commit index when a read arrives, and serves the read when a
//! quorum has confirmed, after that moment, that it still follows; then nobody else
//! can have committed anything before the read began. All reads of a turn share one
//! confirmation, and confirmations ride on appends (see `leader`).
//!
//! Only as many followers are asked as a quorum needs, those heard last first; if one
//! of them stays silent, the next heartbeats ask the others. And whoever passes a read
//! on to the leader has confirmed by doing so that it follows: in a cluster of three a
//! read at a follower needs no further message.
//!
//! With a *lease* a quorum's promise not to elect another leader for a while takes the
//! place of the confirmation (thesis §6.4.1). That trades messages for trust in clocks.

use std::collections::VecDeque;

use super::leader::Leader;
use super::message::{MessageKind, ReadContext, Round};
use super::quorum;
use super::ready::Read;
use super::server::{Raft, Role};
use super::types::{Index, RaftId, Term};
use crate::mutant::{self, Mutant};

/// Why a read was not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// No leader is known that could be asked.
    NoLeader,
}

/// The reads a leader has taken up.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// They came before anything of this term was committed.
    early: Vec<Pending>,
    /// They wait for a quorum's confirmation.
    pending: Vec<Pending>,
    /// When rounds were begun, oldest first; kept only for leases.
    begun: VecDeque<(Round, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    context: ReadContext,
    /// Who wants to read.
    reader: RaftId,
    /// Who passed the read on and so confirmed that it follows.
    voucher: RaftId,
    /// Answers to this round or a later one confirm.
    round: Round,
    index: Index,
}

impl Raft {
    /// Asks to read: `context` comes back in [`Ready::reads`](super::Ready::reads) or
    /// [`Ready::dropped_reads`](super::Ready::dropped_reads). A server that does not
    /// lead asks the leader; if the question or the answer is lost, nothing comes back.
    ///
    /// # Errors
    /// If no leader is known.
    pub fn read(&mut self, context: ReadContext) -> Result<(), ReadError> {
        if mutant::is(Mutant::LocalReadAnywhere) {
            self.out.reads.push(Read { context, index: self.log.applied() });
            return Ok(());
        }
        if self.leads() {
            self.take_up(context, self.id, self.id);
            return Ok(());
        }
        let leader = self.leader.ok_or(ReadError::NoLeader)?;
        self.asked_reads.insert(context);
        self.send(leader, MessageKind::ReadIndex { context });
        Ok(())
    }

    /// Asks to read here, on behalf of a follower that passed the read on when it was
    /// in `term`. If that is this leader's term, the follower's confirmation counts.
    ///
    /// # Errors
    /// If this server does not lead.
    pub fn read_for(
        &mut self,
        context: ReadContext,
        follower: RaftId,
        term: Term,
    ) -> Result<(), ReadError> {
        if !self.leads() {
            return Err(ReadError::NoLeader);
        }
        let voucher = if term == self.hard.term { follower } else { self.id };
        self.take_up(context, self.id, voucher);
        Ok(())
    }

    pub(super) fn handle_read_index(&mut self, from: RaftId, context: ReadContext) {
        if self.leads() {
            self.take_up(context, from, from);
        }
    }

    pub(super) fn handle_read_index_reply(
        &mut self,
        from: RaftId,
        context: ReadContext,
        index: Index,
    ) {
        if self.leader != Some(from) || !self.asked_reads.remove(&context) {
            return;
        }
        // What agrees with the leader's log and is committed there is committed here.
        let known = index.min(self.verified);
        self.log.commit_to(known.max(self.log.commit()));
        self.remote_reads.push(Read { context, index });
    }

    fn take_up(&mut self, context: ReadContext, reader: RaftId, voucher: RaftId) {
        let (round, index) = (Round::default(), Index::ZERO);
        let pending = Pending { context, reader, voucher, round, index };
        let Role::Leader(leader) = &mut self.role else { return };
        // Guard: before it has committed an entry of its own term, a leader does not
        // know what its predecessors committed (thesis §6.4, step 1).
        if self.log.commit() < leader.first_index && !mutant::is(Mutant::ReadBeforeOwnCommit) {
            leader.reads.early.push(pending);
        } else {
            self.admit(pending);
        }
    }

    fn admit(&mut self, mut read: Pending) {
        let Role::Leader(leader) = &mut self.role else { return };
        read.index = self.log.commit();
        // What was sent before now says nothing about now.
        read.round = Round(leader.round.0 + 1);
        leader.reads.pending.push(read);
        if self.has_lease() || mutant::is(Mutant::LocalReadAtLeader) {
            self.release(|_| true);
        } else {
            self.confirm_reads();
        }
    }

    /// Takes up the reads that came before anything of this term was committed.
    pub(super) fn admit_reads(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        if self.log.commit() >= leader.first_index {
            let early = std::mem::take(&mut leader.reads.early);
            early.into_iter().for_each(|read| self.admit(read));
        }
    }

    /// Serves the reads that a quorum has confirmed.
    pub(super) fn confirm_reads(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if leader.reads.pending.is_empty() {
            return;
        }
        let (own, config, peers) = (self.id, self.config().clone(), &leader.peers);
        let acked = |id: RaftId| peers.get(&id).map_or(Round::default(), |p| p.acked);
        let confirmed: Vec<ReadContext> = leader
            .reads
            .pending
            .iter()
            .filter(|read| {
                let follows = |id| id == own || id == read.voucher || acked(id) >= read.round;
                quorum::has_quorum(&config, follows)
            })
            .map(|read| read.context)
            .collect();
        if !confirmed.is_empty() {
            self.release(|read| confirmed.contains(&read.context));
        }
    }

    fn release(&mut self, is_confirmed: impl Fn(&Pending) -> bool) {
        let Role::Leader(leader) = &mut self.role else { return };
        let released: Vec<Pending> =
            leader.reads.pending.extract_if(.., |read| is_confirmed(read)).collect();
        for Pending { context, reader, index, .. } in released {
            if reader == self.id {
                self.out.reads.push(Read { context, index });
            } else {
                self.send(reader, MessageKind::ReadIndexReply { context, index });
            }
        }
    }

    /// Begins the round of this turn.
    pub(super) fn begin_round(&mut self) {
        let (now, timeout) = (self.now, self.options.election_timeout_ticks);
        let leases = self.options.lease_reads;
        let kept = if mutant::is(Mutant::LongLease) { 4 * timeout } else { timeout };
        let Role::Leader(leader) = &mut self.role else { return };
        leader.round.0 += 1;
        let begun = &mut leader.reads.begun;
        // The first round of a tick stands for all of them.
        if leases && begun.back().is_none_or(|(_, at)| *at < now) {
            begun.push_back((leader.round, now));
            while begun.front().is_some_and(|(_, at)| at + kept < now) {
                begun.pop_front();
            }
        }
    }

    /// Asks as many followers as this turn's reads need beyond those sent to anyway.
    pub(super) fn confirm_leadership(&mut self) {
        while let Some(next) = self.next_to_ask() {
            self.send_to(next, true);
        }
    }

    fn next_to_ask(&self) -> Option<RaftId> {
        let Role::Leader(leader) = &self.role else { return None };
        let (own, config) = (self.id, self.config());
        let asked = |id: RaftId| leader.peers.get(&id).is_some_and(|p| p.asked == leader.round);
        let lacks_quorum = |read: &Pending| {
            let counts = |id| id == own || id == read.voucher || asked(id);
            read.round == leader.round && !quorum::has_quorum(config, counts)
        };
        if !leader.reads.pending.iter().any(lacks_quorum) {
            return None;
        }
        let free = leader.peers.iter().filter(|(id, _)| config.is_voter(**id) && !asked(**id));
        free.max_by_key(|(id, p)| (p.last_heard, std::cmp::Reverse(**id))).map(|(id, _)| *id)
    }

    /// Whether a quorum's promise to elect nobody else is still in force.
    pub(super) fn has_lease(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        // Guard: a successor that was asked to take over is bound by no promise.
        if !self.options.lease_reads || leader.lease_void {
            return false;
        }
        let own = self.id;
        let acked = |id: RaftId| match id == own {
            true => leader.round,
            false => leader.peers.get(&id).map_or(Round::default(), |p| p.acked),
        };
        let Some(round) = quorum::reached(self.config(), acked) else { return false };
        // A promise runs from when the leader asked for it at the latest.
        let begun = leader.reads.begun.iter().rev().find(|(begun, _)| *begun <= round);
        // Guard: the lease ends before the promises do, also on clocks that differ.
        let length = self.options.election_timeout_ticks - self.options.lease_margin_ticks;
        let length = if mutant::is(Mutant::LongLease) { 4 * length } else { length };
        begun.is_some_and(|(_, at)| self.now < at + length)
    }

    /// Leadership is lost: the reads must be asked again elsewhere.
    pub(super) fn drop_reads(&mut self, leader: Leader) {
        let own = self.id;
        let reads = leader.reads.early.into_iter().chain(leader.reads.pending);
        let dropped = reads.filter(|read| read.reader == own).map(|read| read.context);
        self.out.dropped_reads.extend(dropped);
    }
}
