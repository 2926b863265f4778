//! The records by which an engine survives a restart.
//!
//! A record is written before anything that depends on it leaves the node, so the disk is never
//! behind the knowledge of others. Replaying the records of an incarnation gives its state, the
//! deltas it had learned from others, its numbered deltas, and the local deltas it had not numbered
//! yet; those the next incarnation numbers as its own.

use serde::{Deserialize, Serialize};

use super::log::Runs;
use super::version::{Author, Versions};

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record<L> {
    /// A local delta, not numbered yet.
    #[serde(rename = "l")]
    Local(L),
    /// All local deltas since the last of these records became the next delta of
    /// this replica.
    #[serde(rename = "n")]
    Numbered(Author),
    /// Deltas learned from others.
    #[serde(rename = "d")]
    Learned(Runs<L>),
    /// A whole state learned from another node, and its version vector.
    #[serde(rename = "s")]
    State(L, Versions),
}

/// Everything at one moment; stands for all records before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<L> {
    /// The state, unnumbered local deltas included.
    #[serde(rename = "s")]
    pub state: L,
    /// The deltas that the state contains.
    #[serde(rename = "v")]
    pub versions: Versions,
    /// Local deltas that were not numbered yet.
    #[serde(rename = "o")]
    pub open: Option<L>,
}
