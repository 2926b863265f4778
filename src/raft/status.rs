//! A look inside, for invariant checks, tests and people; and compaction, which keeps the result of
//! [`Raft::to_restore`] small.

use std::collections::VecDeque;
use std::sync::Arc;

use super::config::Config;
use super::ids::{Index, LogId, RaftId, Term};
use super::message::{ReadContext, Round};
use super::progress::Progress;
use super::role::Role;
use super::server::{Raft, Restored};
use super::types::{Entry, HardState, SnapshotMeta};

/// A role without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether an election could be won.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// A server's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub id: RaftId,
    /// Its role.
    pub role: RoleName,
    /// Its term and its vote in it.
    pub hard_state: HardState,
    /// The leader it knows.
    pub leader: Option<RaftId>,
    /// The last entry of its log.
    pub last: LogId,
    /// Up to where its log is known to be committed.
    pub commit: Index,
    /// Up to where it has applied its log.
    pub applied: Index,
    /// Up to where its log is on stable storage.
    pub durable: Index,
    /// The entry before the first one it keeps.
    pub base: LogId,
}

impl Raft {
    /// Returns the id of this server.
    pub fn id(&self) -> RaftId {
        self.id
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.hard.term
    }

    /// The leader of the current term, if known.
    pub fn leader(&self) -> Option<RaftId> {
        self.leader
    }

    /// Whether this server leads.
    pub fn is_leader(&self) -> bool {
        self.leads()
    }

    /// Whether this server leads and knows everything that was committed before it.
    pub fn has_committed_own_term(&self) -> bool {
        matches!(&self.role, Role::Leader(l) if self.log.commit() >= l.first_index)
    }

    /// Whether reads are served from a lease at this moment.
    pub fn holds_lease(&self) -> bool {
        self.has_lease()
    }

    /// Everything that fits on a page.
    pub fn status(&self) -> Status {
        Status {
            id: self.id,
            role: match self.role {
                Role::Follower => RoleName::Follower,
                Role::PreCandidate { .. } => RoleName::PreCandidate,
                Role::Candidate(_) => RoleName::Candidate,
                Role::Leader(_) => RoleName::Leader,
            },
            hard_state: self.hard,
            leader: self.leader,
            last: self.log.last(),
            commit: self.log.commit(),
            applied: self.log.applied(),
            durable: self.log.durable(),
            base: self.log.base(),
        }
    }

    /// The entries it keeps, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.log.entries()
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.log.snapshot()
    }

    /// The snapshots whose bytes are or may yet be needed: the latest, and older ones that other
    /// servers are in the middle of.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotMeta> {
        self.snapshot().into_iter().chain(self.progress().filter_map(|(_, peer)| peer.snapshot()))
    }

    /// The configuration in force, and the index at which it was appended.
    pub fn configuration(&self) -> (Index, &Arc<Config>) {
        let (index, config) = self.log.config();
        (*index, config)
    }

    /// Returns a leader's knowledge of the others; empty on other servers.
    pub fn progress(&self) -> impl Iterator<Item = (RaftId, &Progress)> {
        let peers = match &self.role {
            Role::Leader(leader) => Some(&leader.peers),
            _ => None,
        };
        peers.into_iter().flatten().map(|(id, peer)| (*id, peer))
    }

    /// Whether this server leads, and has heard from another in the last `ticks`.
    pub fn has_heard(&self, id: RaftId, ticks: u64) -> bool {
        let mut peers = self.progress();
        peers.any(|(peer, progress)| {
            let has_answered = progress.acked > Round::default();
            peer == id && has_answered && progress.last_heard + ticks > self.now
        })
    }

    /// Reads that the leader was asked about.
    pub fn outstanding_reads(&self) -> impl Iterator<Item = ReadContext> {
        self.asked_reads.iter().copied()
    }

    /// The caller has encoded the state machine as it was after everything up to `index`, in
    /// `len_bytes` bytes with this CRC-32. That becomes the snapshot: drops the entries that it makes
    /// unnecessary here and for the followers that are catching up. From then on stable storage
    /// has to keep [`Raft::to_restore`], and the bytes.
    ///
    /// # Panics
    /// If `index` is not applied, or older than the last snapshot.
    pub fn compact(&mut self, index: Index, len_bytes: u64, checksum: u32) {
        let keep = self.options.keep_entries;
        drop(self.compact_keeping(index, len_bytes, checksum, keep));
    }

    /// The same; but so many entries before `index` stay for followers that are behind. Returns the
    /// entries that were dropped: to let go of them may take long.
    ///
    /// # Panics
    /// For the same reasons.
    pub fn compact_keeping(
        &mut self,
        index: Index,
        len_bytes: u64,
        checksum: u32,
        keep_entries: u64,
    ) -> VecDeque<Entry> {
        let keep = Index(index.0.saturating_sub(keep_entries));
        self.log.compact(index, (len_bytes, checksum), keep.min(self.droppable()))
    }

    /// Everything a new incarnation needs, if the server stopped at this moment.
    pub fn to_restore(&self) -> Restored {
        self.to_restore_after(Index::ZERO, 0)
    }

    /// The same without most of the entries up to `covered`, which a state stands for: of these the latest stay that
    /// have `most_bytes` together, for followers that are behind.
    pub fn to_restore_after(&self, covered: Index, most_bytes: usize) -> Restored {
        let (base, config, entries) = self.log.tail(covered, most_bytes);
        Restored {
            hard_state: self.hard,
            snapshot: self.log.snapshot().cloned(),
            base,
            base_config: Some(config),
            entries,
        }
    }
}
