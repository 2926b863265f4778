//! The first words between two servers: who dials, and the answers to that.

use std::collections::BTreeMap;

use seaworthy::raft::RaftId;
use serde::{Deserialize, Serialize};

use crate::node::{Hello, Member, Refusal};

pub(super) const MAGIC: &[u8; 8] = b"SEAWPEER";
/// The version of everything between servers: greeting, frames and parcels.
pub(super) const VERSION: u16 = 3;

/// The id of a server that does not know its own.
pub(super) const NEWCOMER: RaftId = RaftId(0);

/// The facts about a cluster that a new member starts with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// The identity of the cluster; 0 if its log has not decided yet.
    pub cluster: u64,
    /// The token of its founding.
    pub token: String,
    /// Who founded it, with the addresses of then.
    pub founders: BTreeMap<String, Vec<String>>,
    /// The members, as far as the asked one knows them.
    pub members: BTreeMap<RaftId, Member>,
}

/// The answer to a greeting.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Welcome {
    Yes(Hello),
    /// Who answered, and why not.
    No(Hello, Refusal),
    /// To a server that does not know yet who it is.
    Introduced(Introduction),
}
