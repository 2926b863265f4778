//! The part that each member takes, and why members were not changed.

use std::collections::BTreeSet;

use seaworthy::raft::RaftId;
use serde::{Deserialize, Serialize};

/// The part that each member takes; voters are not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// Members that receive the log only.
    pub learners: BTreeSet<RaftId>,
    /// Members that are to leave, and still belong to the core's configuration.
    pub leaving: BTreeSet<RaftId>,
    /// The ids of those that have left.
    pub removed: BTreeSet<RaftId>,
    /// The servers of the core's configuration, as far as the log is applied.
    pub(super) configured: BTreeSet<RaftId>,
}

/// Why the members were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotChanged {
    /// There is no member of this id.
    NotFound,
    /// There is, or was, a member of this id.
    Exists,
    /// Another member is reached at one of the addresses.
    AddressTaken,
    /// Too few of the voters that there would be have ever taken part.
    NotEnoughStarted,
    /// Voters that are needed are out of reach.
    Unhealthy,
    /// There are as many learners as there may be.
    TooManyLearners,
    /// The member votes already.
    NoLearner,
    /// The learner has not caught up.
    NotInSync,
    /// Only the leader can do this.
    NotLeader,
    /// The member cannot lead.
    CannotLead,
}
