//! A node's memory of itself and its cluster besides raft's state (see `identity`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::envelope::opening_of;
use crate::raft::{RaftId, Restored};

/// The identity of a cluster's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ClusterId(u32);

impl ClusterId {
    /// The identity that a log has whose first session has this nonce.
    pub(super) fn of_first_session(nonce: u64) -> ClusterId {
        // The upper bits are as random, if there are any; 32 bits keep bundles small.
        ClusterId((nonce ^ (nonce >> 32)) as u32)
    }
}

impl std::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The part of a node's memory that must be durable besides raft's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The identity of the cluster's log, once it is known.
    pub(super) cluster: Option<ClusterId>,
    /// This node is not counted.
    pub(super) abstains: bool,
}

/// The nodes whose bundles were of another cluster, and of which.
pub(super) type Foreign = BTreeMap<RaftId, ClusterId>;

/// The nodes that opened a session in a log, whether that is committed or not.
pub(super) fn sessions_in(log: &Restored) -> BTreeSet<RaftId> {
    log.entries.iter().filter_map(opening_of).map(|opening| opening.origin).collect()
}
