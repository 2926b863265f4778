//! The roles of a server, and its knowledge in each.

use std::collections::BTreeMap;

use super::ids::{Index, RaftId};
use super::message::Round;
use super::pending::Reads;
use super::progress::Progress;

/// The answers to a candidate, by voter.
pub(super) type Votes = BTreeMap<RaftId, bool>;

/// The present role of a server (§5.1).
#[derive(Debug)]
pub(super) enum Role {
    Follower,
    /// Asks whether an election could be won.
    PreCandidate {
        answers: Votes,
        /// The votes in the current term, if this server stands in it: they still count.
        stands: Option<Votes>,
    },
    Candidate(Votes),
    Leader(Box<Leader>),
}

/// The memory of a leader.
#[derive(Debug)]
pub(super) struct Leader {
    /// The other servers: members, and those about to leave.
    pub(super) peers: BTreeMap<RaftId, Progress>,
    /// The current round.
    pub(super) round: Round,
    /// Where this term's entries begin.
    pub(super) first_index: Index,
    /// The size of the entries that are not committed.
    pub(super) uncommitted_bytes: usize,
    pub(super) reads: Reads,
    /// When to check that a quorum has been heard.
    pub(super) check_due: u64,
    pub(super) transfer: Option<Transfer>,
    /// A follower was asked to take over; leases are void for the rest of the term.
    pub(super) lease_void: bool,
}

/// Leadership is being handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) to: RaftId,
    /// When to give up.
    pub(super) until: u64,
    /// The successor has been asked to take over.
    pub(super) asked: bool,
}

impl Leader {
    pub(super) fn is_transferring(&self) -> bool {
        self.transfer.is_some()
    }

    /// The tick of the next thing that happens by itself.
    pub(super) fn next_due(&self) -> u64 {
        let heartbeats = self.peers.values().map(Progress::due).min();
        let transfer = self.transfer.map(|t| t.until);
        let due = [heartbeats, transfer].into_iter().flatten().min();
        due.map_or(self.check_due, |due| due.min(self.check_due))
    }
}
