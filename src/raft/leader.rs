//! Leading: replicating one's log, and committing entries (§5.3, §5.4.2).
//!
//! Nothing is sent while events are handled. At the end of a turn each follower is sent the entries
//! it lacks, in as few appends as the limits allow; those that were sent nothing for a while get an
//! empty one. Each such turn has a number, the *round*; answers repeat it, which is how reads learn
//! that a quorum still follows (see `read`).

use std::collections::BTreeMap;

use super::ids::{Index, LogId, RaftId};
use super::log::MEMORY_LOST;
use super::message::{MessageKind, Round};
use super::options::Options;
use super::pending::Reads;
use super::progress::{Inflight, Progress, ProgressState};
use super::ready::Piece;
use super::role::{Leader, Role};
use super::server::Raft;
use super::types::{Entry, Payload, SnapshotMeta};
use super::{planted, quorum};
use crate::coverage::{self, Mark};
use crate::planted::{guard, invariant};

/// For how many election timeouts the log is kept for a follower that does not answer.
const KEPT_FOR_TIMEOUTS: u64 = 4;

/// When a follower that lacks nothing gets an empty append.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Heartbeat {
    /// If it was sent nothing for a while.
    IfDue,
    /// In this turn, because its answer is needed.
    AtOnce,
}

impl Options {
    /// After how long a piece of a snapshot that was not answered is sent again.
    pub(super) fn snapshot_retry_ticks(&self) -> u64 {
        self.election_timeout_ticks
    }
}

impl Raft {
    pub(super) fn become_leader(&mut self) {
        let took = self.now - self.voted_at;
        let stands = matches!(self.role, Role::Candidate(_) | Role::PreCandidate { .. });
        assert!(stands && self.hard.vote == Some(self.id), "only a candidate can win");
        invariant!(self.is_hard_state_durable(), "leads in a term that it could forget");
        let last = self.log.last().index;
        self.leader = Some(self.id);
        self.incoming = None;
        self.role = Role::Leader(Box::new(Leader {
            peers: BTreeMap::new(),
            round: Round::default(),
            first_index: last.next(),
            uncommitted_bytes: 0,
            reads: Reads::default(),
            // Guard: an answer may take as long as the votes did, and who was never given
            // the time to answer is not silent.
            check_due: self.now + self.options.election_timeout_ticks + took,
            transfer: None,
            lease_void: false,
        }));
        self.update_peers();
        // Only an entry of its own term lets a leader commit those before it.
        self.append_own(Payload::Noop);
    }

    /// Adds an entry of the current term to the leader's log.
    pub(super) fn append_own(&mut self, payload: Payload) -> LogId {
        let Role::Leader(leader) = &mut self.role else { panic!("only a leader appends") };
        let id = LogId::new(self.hard.term, self.log.last().index.next());
        let is_config = matches!(payload, Payload::Config(_));
        let entry = Entry { id, payload };
        leader.uncommitted_bytes += entry.size_bytes();
        self.log.append(entry);
        if is_config {
            coverage::hit(Mark::MembersChanged);
            self.update_peers();
        }
        self.plant_own_copy();
        id
    }

    pub(super) fn tick_leader(&mut self) {
        let now = self.now;
        let (config, has_left) = (self.config().clone(), self.has_left());
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.transfer.is_some_and(|t| now >= t.until) {
            leader.transfer = None;
            if has_left {
                return self.become_follower(self.hard.term, None);
            }
        }
        if now < leader.check_due {
            return;
        }
        let timeout = self.options.election_timeout_ticks;
        leader.check_due = now + timeout;
        leader.peers.retain(|_, p| !p.departing || now < p.last_heard + timeout);
        let (peers, own) = (&leader.peers, self.id);
        // Pieces of a snapshot are answered by a server that abstains, too.
        let answers = |p: &Progress| !p.abstains && now < p.last_heard + timeout;
        let heard = |id: RaftId| id == own || peers.get(&id).is_some_and(answers);
        // Guard: a leader that a quorum does not answer cannot commit anything, and
        // keeps its clients from one who could (thesis §6.2).
        let is_followed = guard!(quorum::has_quorum(&config, heard), NoCheckQuorum);
        if self.options.check_quorum && !is_followed {
            coverage::hit(Mark::QuorumLost);
            self.become_follower(self.hard.term, None);
            // It has waited for a whole timeout already. And those who still take it for
            // their leader, because its last words reached them late, vote for no other.
            self.hurry_election();
        }
    }

    /// Sends each follower the entries it lacks, or a heartbeat if that is due.
    pub(super) fn send_appends(&mut self) {
        self.begin_round();
        let Role::Leader(leader) = &self.role else { return };
        let peers: Vec<RaftId> = leader.peers.keys().copied().collect();
        for to in &peers {
            self.send_to(*to, Heartbeat::IfDue);
        }
        self.confirm_leadership();
    }

    /// Sends one follower the entries it lacks. If there are none, sends an empty append if
    /// `heartbeat` says so.
    pub(super) fn send_to(&mut self, to: RaftId, heartbeat: Heartbeat) {
        let Role::Leader(leader) = &mut self.role else { return };
        let peer = leader.peers.get_mut(&to).expect("only peers are sent to");
        let due = self.now >= peer.due();
        let wanted = due || heartbeat == Heartbeat::AtOnce;
        let needs_snapshot = self.log.id(peer.next.prev()).is_none();
        if needs_snapshot && !matches!(peer.state, ProgressState::Snapshot { .. }) {
            let snapshot = self.log.snapshot().expect("only a snapshot replaces entries");
            peer.send_snapshot(snapshot.clone());
        }
        let last = self.log.last().index;
        let sent = match &mut peer.state {
            ProgressState::Probe { sent } => {
                let repeated = std::mem::replace(sent, true);
                if repeated && !wanted {
                    return;
                }
                // A repeated probe only asks; if the first was lost its entries may be
                // large, and the follower may be down.
                let (from, to_index) = (peer.next, if repeated { Index::ZERO } else { last });
                self.send_entries(to, from, to_index);
                true
            }
            ProgressState::Replicate { .. } => self.stream_to(to),
            ProgressState::Snapshot { .. } => self.send_pieces(to),
        };
        if !sent && wanted {
            self.send_heartbeat(to, due);
        }
    }

    /// Sends as much as may be on the way. Returns whether that was anything.
    fn stream_to(&mut self, to: RaftId) -> bool {
        let last = self.log.last().index;
        let mut sent = false;
        loop {
            let Role::Leader(leader) = &self.role else { return sent };
            let peer = &leader.peers[&to];
            let ProgressState::Replicate { inflight } = &peer.state else { return sent };
            if peer.next > last || inflight.is_full(&self.options) {
                return sent;
            }
            let next = peer.next;
            let (upto, bytes) = self.send_entries(to, next, last);
            let Role::Leader(leader) = &mut self.role else { return sent };
            let peer = leader.peers.get_mut(&to).expect("only peers are sent to");
            if let ProgressState::Replicate { inflight } = &mut peer.state {
                inflight.push(upto, bytes);
                peer.next = upto.next();
            }
            sent = true;
        }
    }

    /// Sends one append with the entries from `from` to `upto` that fit. Returns the
    /// last index sent and the size of the entries.
    fn send_entries(&mut self, to: RaftId, from: Index, upto: Index) -> (Index, usize) {
        let prev = self.log.id(from.prev()).expect("the entry before is known");
        let entries = self.log.slice(from, upto, self.options.max_append_bytes);
        let bytes = entries.iter().map(Entry::size_bytes).sum();
        let last = prev.index + entries.len() as u64;
        self.send_append(to, prev, entries);
        (last, bytes)
    }

    /// Sends an empty append. One that is due goes after everything sent, so that a refusal shows a
    /// loss; one that only asks goes where the logs are known to agree, so that overtaking entries
    /// does not look like a loss.
    fn send_heartbeat(&mut self, to: RaftId, due: bool) {
        let Role::Leader(leader) = &self.role else { return };
        let peer = &leader.peers[&to];
        let replicates = matches!(peer.state, ProgressState::Replicate { .. });
        let prev = if due && replicates { peer.next.prev() } else { peer.matched };
        let prev = self.log.id(prev).unwrap_or_default();
        self.send_append(to, prev, Vec::new());
    }

    fn send_append(&mut self, to: RaftId, prev: LogId, entries: Vec<Entry>) {
        let commit = self.log.commit();
        let due = self.now + self.options.heartbeat_ticks;
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.round;
        let peer = leader.peers.get_mut(&to).expect("only peers are sent to");
        peer.sends(prev.index, round, due);
        self.send(to, MessageKind::Append { prev, commit, round, entries });
    }

    /// Sends as many pieces of a snapshot as may be on the way. Returns whether that was any.
    fn send_pieces(&mut self, to: RaftId) -> bool {
        let mut sent = false;
        while self.send_piece(to) {
            sent = true;
        }
        sent
    }

    fn send_piece(&mut self, to: RaftId) -> bool {
        let (now, heartbeat_due) = (self.now, self.now + self.options.heartbeat_ticks);
        let Role::Leader(leader) = &mut self.role else { return false };
        let round = leader.round;
        let peer = leader.peers.get_mut(&to).expect("only peers are sent to");
        let ProgressState::Snapshot { meta, pieces } = &mut peer.state else { return false };
        let Some(offset) = pieces.take(now, meta.len_bytes, &self.options) else { return false };
        let len_bytes = (meta.len_bytes - offset).min(self.options.snapshot_chunk_bytes as u64);
        let (meta, from, term) = (meta.clone(), self.id, self.hard.term);
        peer.heartbeat_due = heartbeat_due;
        peer.asked = round;
        self.out.pieces.push(Piece { meta, offset, len_bytes, to, from, term, round });
        true
    }

    /// The caller cannot read this snapshot any more. Followers that were sent it are sent the latest
    /// one from its beginning.
    ///
    /// # Panics
    /// If it is the latest one.
    pub fn snapshot_lost(&mut self, meta: &SnapshotMeta) {
        assert!(self.log.snapshot() != Some(meta), "nothing stands for the entries that are gone");
        let latest = self.log.snapshot().cloned();
        let Role::Leader(leader) = &mut self.role else { return };
        for peer in leader.peers.values_mut().filter(|peer| peer.snapshot() == Some(meta)) {
            // Without a probe in between: a caller that asks meanwhile learns that the follower waits.
            peer.send_snapshot(latest.clone().expect("a snapshot gives way to a later one only"));
        }
    }

    pub(super) fn handle_appended(&mut self, from: RaftId, round: Round, matched: Index) {
        invariant!(
            !self.leads() || matched <= self.log.last().index,
            "{from} holds {matched}, which this leader never had: {MEMORY_LOST}"
        );
        let (base, commit) = (self.log.base().index, self.log.commit());
        let Some((now, peer)) = self.heard(from, round) else { return };
        // Guard: the entries count that the follower had when it answered, not those it has been
        // sent since.
        let matched = planted::acknowledged(matched, peer.next.prev());
        let news = peer.accept(matched, now, base);
        peer.abstains = false;
        peer.catching_up &= peer.matched < commit;
        if news {
            self.advance_commit();
            self.continue_transfer();
        }
        self.confirm_reads();
        self.dismiss(from);
    }

    pub(super) fn handle_rejected(&mut self, from: RaftId, round: Round, prev: Index, hint: LogId) {
        // Entries that are compacted here cannot be compared; then it takes the snapshot.
        let candidate = self.log.last_not_after(hint.term, hint.index).index.min(hint.index);
        let next = self.log.last().index.next();
        let Some((_, peer)) = self.heard(from, round) else { return };
        peer.refused(round, prev, hint, candidate, next);
        peer.abstains = false;
        self.confirm_reads();
    }

    /// Goes on sending to a server that abstains. Its answers are not counted: neither
    /// for a commit, nor for a read, nor for the quorum that a leader must hear.
    pub(super) fn handle_abstained(
        &mut self,
        from: RaftId,
        round: Round,
        matched: Option<Index>,
        prev: Index,
        hint: LogId,
    ) {
        let candidate = self.log.last_not_after(hint.term, hint.index).index.min(hint.index);
        let (base, next) = (self.log.base().index, self.log.last().index.next());
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        peer.abstains = true;
        match matched {
            Some(matched) => peer.advance(matched, base),
            None => peer.refused(round, prev, hint, candidate, next),
        }
    }

    pub(super) fn handle_snapshot_progress(
        &mut self,
        from: RaftId,
        last_index: Index,
        wanted: u64,
        round: Round,
    ) {
        let tick = self.now;
        let Some((now, peer)) = self.heard(from, round) else { return };
        if let ProgressState::Snapshot { meta, pieces, .. } = &mut peer.state
            && meta.last.index == last_index
        {
            pieces.answered(wanted.min(meta.len_bytes), round, now, tick);
        }
        self.confirm_reads();
    }

    /// Notes that a follower has answered, if this server leads it. With the present round.
    fn heard(&mut self, from: RaftId, round: Round) -> Option<(Round, &mut Progress)> {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else { return None };
        let peer = leader.peers.get_mut(&from)?;
        peer.last_heard = now;
        peer.acked = peer.acked.max(round);
        Some((leader.round, peer))
    }

    /// Up to where the log may be dropped: entries for followers that catch up after a snapshot
    /// stay, as long as these answer, and as long as the entries are not too many.
    pub(super) fn droppable(&self) -> Index {
        let Role::Leader(leader) = &self.role else { return Index::MAX };
        let patience = KEPT_FOR_TIMEOUTS * self.options.election_timeout_ticks;
        let answers = |peer: &&Progress| self.now < peer.last_heard + patience;
        let wanted = leader.peers.values().filter(answers).map(Progress::droppable).min();
        let wanted = wanted.unwrap_or(Index::MAX);
        let bytes = self.log.entries().filter(|entry| entry.id.index > wanted);
        let bytes: usize = bytes.map(Entry::size_bytes).sum();
        if bytes > self.options.max_kept_bytes { Index::MAX } else { wanted }
    }

    pub(super) fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Commits the entries that a quorum holds durably.
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let (own, last) = (self.id, self.log.last().index);
        let durable = planted::own_copy(self.log.durable(), last);
        // Guard: the leader's own copy counts when it is durable, like any other; in
        // a cluster of one as well.
        let matched = |id: RaftId| match id == own {
            true => durable,
            false => leader.peers.get(&id).map_or(Index::ZERO, |p| p.matched),
        };
        let agreed = quorum::committed(self.config(), matched);
        // Guard: only an entry of its own term tells a leader by counting that it is
        // committed, and everything before it (§5.4.2, Figure 8).
        let own_term = self.log.term(agreed) == Some(self.hard.term);
        if agreed > self.log.commit() && guard!(own_term, CommitEarlierTerm) {
            self.commit_as_leader(agreed);
            self.admit_reads();
            self.continue_change();
        }
    }

    /// Learns that everything up to `index` is committed, if this server leads. The caller knows it of
    /// a state that outlived this server's knowledge of the commit index: it has the effects of
    /// committed entries alone. A leader's log has each of those (Leader Completeness, §5.4.3). Another
    /// server's log may hold something else at `index`, and learns nothing here.
    pub fn learn_commit_as_leader(&mut self, index: Index) {
        if self.leads() && index > self.log.commit() {
            coverage::hit(Mark::CommitKnownByState);
            // Guard: reads, and the next step of a change of members, wait for a commit in this term.
            self.commit_as_leader(index);
        }
    }

    /// Commits everything up to `index`.
    fn commit_as_leader(&mut self, index: Index) {
        let newly = self.log.slice(self.log.commit().next(), index, usize::MAX);
        let bytes: usize = newly.iter().map(Entry::size_bytes).sum();
        self.log.commit_to(index);
        let Role::Leader(leader) = &mut self.role else { return };
        leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(bytes);
    }

    /// Brings the list of followers in line with the configuration.
    pub(super) fn update_peers(&mut self) {
        let (config, own, now) = (self.config().clone(), self.id, self.now);
        let next = self.log.last().index.next();
        let Role::Leader(leader) = &mut self.role else { return };
        for (id, peer) in &mut leader.peers {
            // A server that leaves is still told so.
            peer.departing = !config.contains(*id);
        }
        for id in config.members().into_iter().filter(|id| *id != own) {
            leader.peers.entry(id).or_insert_with(|| Progress::new(next, now));
        }
    }
}

impl Progress {
    /// Whether entries may be on their way to the follower.
    pub fn inflight(&self) -> Option<&Inflight> {
        match &self.state {
            ProgressState::Replicate { inflight } => Some(inflight),
            _ => None,
        }
    }
}
