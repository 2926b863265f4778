//! Following: making one's log agree with the leader's (§5.3, §7).
//!
//! An append is accepted if its `prev` is in the log; then the logs agree up to there, and
//! after the append up to its end. Refusals carry a hint that lets the leader skip a whole term
//! at a time. All appends of a turn are answered together, when their entries are durable.
//! If the disk takes longer than heartbeats are apart, they are answered at once as well, up to
//! the durable end of the log: a leader must not take a slow disk for a dead server, and a read
//! waits for no disk. An append that overtook the one before it is refused as well, for that
//! may be lost; but it is kept, and if the other comes, a round trip is saved.
//!
//! Snapshots come in pieces, many at a time, and go on to the caller in their order; pieces beyond a
//! gap are kept until it is filled. The answer of a turn names the offset up to which the caller has
//! stored them. So lost, repeated and reordered pieces mend themselves, and a new leader that offers
//! the same bytes goes on where the old one stopped. When the caller has verified the whole, which
//! may take it long, the snapshot takes the place of the log: if it is still needed.

use super::ids::{Index, LogId, RaftId};
use super::incoming::{Ack, Append, Incoming, Owed, Received};
use super::message::{MessageKind, Round};
use super::planted;
use super::role::Role;
use super::server::Raft;
use super::types::{Command, Entry, SnapshotMeta};
use crate::coverage::{self, Mark};
use crate::planted::{guard, invariant};

impl Raft {
    pub(super) fn handle_append(&mut self, from: RaftId, append: Append) {
        let prev = append.prev;
        // Guard: both index and term of `prev` must be in the log (§5.3, rule 2).
        let last = self.log.last().index;
        if !guard!(self.log.matches(prev), IgnorePrevTerm if prev.index <= last) {
            let (hint, round) = (self.log.last_not_after(prev.term, prev.index), append.round);
            // A refusal promises nothing, so it need not wait.
            let prev = prev.index;
            self.send(
                from,
                match self.options.abstain {
                    true => MessageKind::Abstained { round, matched: None, prev, hint },
                    false => MessageKind::Rejected { round, prev, hint },
                },
            );
            if prev > last && !append.entries.is_empty() {
                self.early.keep(self.hard.term, append, self.options.max_early_appends);
            }
            return;
        }
        self.take_append(from, append);
        while let Some(early) = self.early.take(self.hard.term, &self.log) {
            coverage::hit(Mark::EarlyAppend);
            self.take_append(from, early);
        }
    }

    /// Appends entries that follow one in the log.
    fn take_append(&mut self, from: RaftId, append: Append) {
        let Append { prev, commit, round, entries } = append;
        let last_new = prev.index + entries.len() as u64;
        self.plant_truncation(prev.index);
        self.append_missing(entries);
        // Guard: beyond the end of this append the log may still differ from the
        // leader's, whatever the leader has committed (rule 5).
        let known = planted::told_commit(commit.min(last_new), commit, self.log.last().index);
        self.log.commit_to(known.max(self.log.commit()));
        self.verified = self.verified.max(last_new);
        self.acknowledge(from, round, last_new);
    }

    /// Learns that the entry called `id` is committed, wherever that is known from. The
    /// same entry has the same entries before it in every log (Log Matching, §5.3), so
    /// if this log holds it, it is committed up to there. A leader counts for itself.
    pub fn learn_commit(&mut self, id: LogId) {
        if !self.leads() && self.log.id(id.index) == Some(id) {
            self.log.commit_to(id.index);
        }
    }

    /// Appends those of `entries` that the log does not hold.
    fn append_missing(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let index = entry.id.index;
            if index <= self.log.last().index {
                // Guard: an entry that matches stays, with everything after it: the append may
                // be an old one that was overtaken by its successors (rule 3).
                if guard!(self.log.matches(entry.id), KeepConflict) {
                    continue;
                }
                // Guard: an entry that does not match goes, with everything after it.
                coverage::hit(Mark::LogOverwritten);
                self.log.truncate(index);
            }
            self.log.append(entry);
        }
    }

    fn acknowledge(&mut self, to: RaftId, round: Round, matched: Index) {
        // Everything committed is in the leader's log as well.
        let matched = matched.max(self.log.commit());
        let ack = self.ack.get_or_insert(Ack { to, round, matched });
        invariant!(ack.to == to, "two leaders in one term");
        ack.round = ack.round.max(round);
        ack.matched = ack.matched.max(matched);
    }

    /// Sends the answer that is due.
    pub(super) fn send_ack(&mut self) {
        let Some(Ack { to, round, matched }) = self.ack.take() else { return };
        let abstain = self.options.abstain;
        // Guard: a server that may have voted for another leader, and forgotten it, must
        // not be counted for this one.
        let reply = |matched| match abstain {
            true => {
                let (prev, hint) = (Index::ZERO, LogId::default());
                MessageKind::Abstained { round, matched: Some(matched), prev, hint }
            }
            false => MessageKind::Appended { round, matched },
        };
        // Guard: entries are acknowledged when they are durable, not before.
        let durable = self.log.durable();
        let is_durable = guard!(
            matched <= durable && self.is_hard_state_durable(),
            AckBeforeDurable,
            SnapshotNotPersisted if self.pending_snapshot.is_some(),
        );
        if is_durable {
            return self.send(to, reply(matched));
        }
        // Guard: a lease is made of promises that survive a restart, and only a server that
        // remembers a term will keep quiet after one.
        let may_answer = self.is_hard_state_durable() || !self.options.lease_reads;
        let at_once = may_answer && self.is_disk_slow();
        if at_once {
            self.send(to, reply(matched.min(durable)));
        }
        // An answer that is owed already will be sent without another append.
        if matched > self.owed.matched || !at_once {
            self.owed.matched = self.owed.matched.max(matched);
            self.owed.since.get_or_insert(self.now);
            self.send_after(to, reply(matched));
        }
    }

    /// Notes that the entries of a belated answer to the leader are durable, and how long that
    /// took.
    pub(super) fn settle_owed(&mut self) {
        let is_settled = self.log.durable() >= self.owed.matched && self.is_hard_state_durable();
        if is_settled && let Some(since) = self.owed.since.take() {
            self.owed.took = self.now - since;
        }
    }

    /// Whether the disk takes, or took the last time, longer than heartbeats are apart.
    fn is_disk_slow(&self) -> bool {
        let Owed { since, took, .. } = self.owed;
        took.max(since.map_or(0, |at| self.now - at)) >= self.options.heartbeat_ticks
    }

    pub(super) fn handle_snapshot(
        &mut self,
        from: RaftId,
        meta: SnapshotMeta,
        offset: u64,
        data: &Command,
        round: Round,
    ) {
        if self.has_no_use_for(&meta) {
            self.incoming = None;
            return self.acknowledge(from, round, self.log.commit().max(meta.last.index));
        }
        let incoming = match self.incoming.take() {
            Some(incoming) if incoming.meta == meta => incoming,
            _ => Incoming::new(meta),
        };
        let incoming = self.incoming.insert(incoming);
        incoming.take(offset, data, self.options.max_inflight_messages, &mut self.received);
        let latest = incoming.asked.map_or(round, |(_, asked)| asked.max(round));
        (incoming.asked, incoming.is_due) = (Some((from, latest)), true);
    }

    /// Whether the log has everything that a snapshot has, as is noted then.
    fn has_no_use_for(&mut self, meta: &SnapshotMeta) -> bool {
        // Guard: a snapshot of the committed past must not undo later entries.
        if !guard!(meta.last.index > self.log.commit(), OldSnapshot) {
            return true;
        }
        // A log that holds the snapshot's last entry needs no snapshot (§7).
        let is_held = !guard!(self.log.id(meta.last.index) != Some(meta.last), OldSnapshot);
        if is_held {
            self.log.commit_to(meta.last.index);
            self.verified = self.verified.max(meta.last.index);
        }
        is_held
    }

    /// Takes the pieces of a snapshot that have come, in the order in which they are to be stored.
    /// The caller tells [`Raft::stored`] of each, and, once it has looked at the whole, calls
    /// [`Raft::arrived`].
    pub fn take_received(&mut self) -> Vec<Received> {
        std::mem::take(&mut self.received)
    }

    /// The caller has stored the pieces of a snapshot before the offset `upto`, in bytes. They need
    /// not be durable.
    pub fn stored(&mut self, meta: &SnapshotMeta, upto: u64) {
        if let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.meta == *meta) {
            incoming.stored(upto);
        }
    }

    /// The caller has stored the last piece of a snapshot, and compared length and checksum of the
    /// whole. If it is intact, it takes the place of the log, unless that has grown beyond it
    /// meanwhile: then [`Ready::restore`](super::Ready::restore) has it. Otherwise it is
    /// fetched again.
    pub fn arrived(&mut self, meta: &SnapshotMeta, is_intact: bool) {
        let Some(incoming) = self.incoming.take_if(|incoming| incoming.meta == *meta) else {
            return;
        };
        if !is_intact {
            self.incoming = Some(incoming.begin_again());
            return;
        }
        // Guard: a candidate has told others how its log ends, and a leader's holds everything.
        if !matches!(self.role, Role::Follower | Role::PreCandidate { .. }) {
            return;
        }
        if !self.has_no_use_for(meta) {
            coverage::hit(Mark::SnapshotInstalled);
            self.log.install(meta.clone());
            self.pending_snapshot = Some(meta.clone());
            self.verified = meta.last.index;
        }
        if let Some((leader, round)) = incoming.asked {
            self.acknowledge(leader, round, self.log.commit().max(meta.last.index));
        }
    }

    /// Tells the leader how far the pieces of a snapshot are stored, if it asked in this turn or that
    /// has changed.
    pub(super) fn answer_pieces(&mut self) {
        let Some(incoming) = &mut self.incoming else { return };
        let is_due = std::mem::take(&mut incoming.is_due);
        let Some((leader, round)) = incoming.asked.filter(|_| is_due) else { return };
        let (last_index, offset) = (incoming.meta.last.index, incoming.stored);
        // Guard: a server that abstains may have followed a later leader, and forgotten it.
        let round = if self.options.abstain { Round::default() } else { round };
        self.send(leader, MessageKind::SnapshotProgress { last_index, offset, round });
    }
}
