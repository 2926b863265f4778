//! Linearizable reads without writing to the log (thesis §6.4).
//!
//! A leader notes its commit index when a read arrives, and serves the read when a
//! quorum has confirmed, after that moment, that it still follows; then no other
//! leader can have committed an entry before the read began. All reads of a turn share one
//! confirmation, and confirmations ride on appends (see `leader`).
//!
//! Only as many followers are asked as a quorum needs, those heard last first; if one
//! of them stays silent, the next heartbeats ask the others. And a follower that passes a read
//! on to the leader has confirmed by doing so that it follows: in a cluster of three a
//! read at a follower needs no further message.
//!
//! With a *lease* a quorum's promise not to elect another leader for a while takes the
//! place of the confirmation (thesis §6.4.1). That trades messages for trust in clocks. All
//! servers promise the same: the election timeout that they began with. Timeouts that are
//! adapted later ([`Raft::set_timing`]) are longer, differ between servers, and do not count.

use std::collections::{BTreeMap, VecDeque};

use super::ids::{Index, RaftId, Term};
use super::leader::Heartbeat;
use super::message::{MessageKind, ReadContext, Round};
use super::pending::Pending;
use super::ready::Read;
use super::role::{Leader, Role};
use super::server::Raft;
use super::{planted, quorum};
use crate::planted::{guard, invariant};

/// Why a read was not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// No leader is known that could be asked.
    NoLeader,
}

impl Raft {
    /// Asks to read: `context` comes back in [`Ready::reads`](super::Ready::reads) or
    /// [`Ready::dropped_reads`](super::Ready::dropped_reads). A server that does not
    /// lead asks the leader; if the question or the answer is lost, nothing comes back.
    ///
    /// # Errors
    /// If no leader is known.
    pub fn read(&mut self, context: ReadContext) -> Result<(), ReadError> {
        if self.plant_local_read(context) {
            return Ok(());
        }
        if self.leads() {
            self.take_up(context, self.id, self.id);
            return Ok(());
        }
        // A server that asks for a read confirms that it follows, which counts.
        let leader = self.leader.filter(|_| !self.options.abstain).ok_or(ReadError::NoLeader)?;
        self.asked_reads.insert(context);
        self.send(leader, MessageKind::ReadIndex { context });
        Ok(())
    }

    /// Waits no longer for a read: its context does not come back, unless the read is served
    /// in this turn.
    pub fn cancel_read(&mut self, context: ReadContext) {
        self.asked_reads.remove(&context);
        self.remote_reads.retain(|read| read.context != context);
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
        // An entry that agrees with the leader's log and is committed there is committed here.
        let known = index.min(self.verified);
        self.log.commit_to(known.max(self.log.commit()));
        self.remote_reads.push(Read { context, index });
    }

    fn take_up(&mut self, context: ReadContext, reader: RaftId, voucher: RaftId) {
        let (round, came, index) = (Round::default(), Round::default(), Index::ZERO);
        let pending = Pending { context, reader, voucher, round, came, index };
        let Role::Leader(leader) = &mut self.role else { return };
        // Guard: before it has committed an entry of its own term, a leader does not know which
        // entries its predecessors committed (thesis §6.4, step 1).
        if guard!(self.log.commit() >= leader.first_index, ReadBeforeOwnCommit) {
            self.admit(pending);
        } else {
            leader.reads.early.push(pending);
        }
    }

    fn admit(&mut self, mut read: Pending) {
        let Role::Leader(leader) = &mut self.role else { return };
        read.index = self.log.commit();
        // Guard: answers to messages that were sent before now say nothing about now.
        read.came = leader.round;
        read.round = planted::confirming_round(Round(read.came.0 + 1), leader.round);
        let voucher = read.voucher;
        leader.reads.pending.entry(voucher).or_default().push_back(read);
        let vouched = |id| id == self.id || id == voucher;
        if guard!(self.has_lease(), LocalReadAtLeader) {
            self.release(|_| Round(u64::MAX));
        } else if guard!(quorum::has_quorum(self.config(), vouched), ReadInCurrentRound) {
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
        let acked: BTreeMap<RaftId, Round> = peers.iter().map(|(id, p)| (*id, p.acked)).collect();
        self.release(|voucher| {
            let reached = |id: RaftId| match id == own || id == voucher {
                true => Round(u64::MAX),
                false => acked.get(&id).copied().unwrap_or_default(),
            };
            quorum::reached(&config, reached).unwrap_or_default()
        });
    }

    /// Serves the reads of each voucher up to the round that is confirmed with its help.
    /// Reads are told apart by their place here and not by their contexts: two servers may
    /// use the same one.
    fn release(&mut self, confirmed: impl Fn(RaftId) -> Round) {
        let Role::Leader(leader) = &mut self.role else { return };
        let mut released = Vec::new();
        leader.reads.pending.retain(|voucher, reads| {
            let upto = confirmed(*voucher);
            let count = reads.partition_point(|read| read.round <= upto);
            invariant!(
                reads.range(..count).all(|read| read.came < upto),
                "a read is confirmed by an answer to what was sent before it came"
            );
            released.extend(reads.drain(..count));
            !reads.is_empty()
        });
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
        let (now, promise) = (self.now, self.promise_ticks);
        let leases = self.options.lease_reads;
        let kept = planted::lease_ticks(promise);
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
            self.send_to(next, Heartbeat::AtOnce);
        }
    }

    fn next_to_ask(&self) -> Option<RaftId> {
        let Role::Leader(leader) = &self.role else { return None };
        let (own, config) = (self.id, self.config());
        let asked = |id: RaftId| leader.peers.get(&id).is_some_and(|p| p.asked == leader.round);
        let lacks_quorum = |(voucher, reads): (&RaftId, &VecDeque<Pending>)| {
            let counts = |id| id == own || id == *voucher || asked(id);
            let waits = reads.back().is_some_and(|read| read.round == leader.round);
            waits && !quorum::has_quorum(config, counts)
        };
        if !leader.reads.pending.iter().any(lacks_quorum) {
            return None;
        }
        let free = leader.peers.iter().filter(|(id, _)| config.is_voter(**id) && !asked(**id));
        free.max_by_key(|(id, p)| (p.last_heard, std::cmp::Reverse(**id))).map(|(id, _)| *id)
    }

    /// Whether a quorum's promise not to elect another leader is still in force.
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
        // Guard: the lease ends before the promises do, also on clocks that differ. The promises of
        // all count, and not this server's own timeout: a follower close by has a shorter one.
        let length = planted::lease_ticks(self.promise_ticks - self.options.lease_margin_ticks);
        begun.is_some_and(|(_, at)| self.now < at + length)
    }

    /// Leadership is lost: the reads must be asked again elsewhere.
    pub(super) fn drop_reads(&mut self, leader: Leader) {
        let own = self.id;
        let pending = leader.reads.pending.into_values().flatten();
        let reads = leader.reads.early.into_iter().chain(pending);
        let dropped = reads.filter(|read| read.reader == own).map(|read| read.context);
        self.out.dropped_reads.extend(dropped);
    }
}
