//! What a test demands of a history.

use super::availability::Availability;
use super::net::NetStats;
use super::{bank, long_fork, txn};

/// What a test demands beyond its workload, and what only the bench knows about it.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// How many operations must succeed; none demands nothing.
    pub availability: Option<Availability>,
    /// The messages that were counted, if the history comes with its network.
    pub net: Option<NetStats>,
    /// What transactions are held to.
    pub txn: txn::Options,
    /// Whether the verdict is the reference's: what only we find is reported, and no more.
    pub reference: bool,
    /// Whether all nodes share one view of kafka's committed offsets, so that an older one is an
    /// anomaly. Maelstrom's protocol does not promise it, our own nodes do.
    pub commits_are_shared: bool,
    /// What accounts of a bank hold.
    pub bank: bank::Options,
    /// What a read of `long-fork` has.
    pub long_fork: long_fork::Options,
}
