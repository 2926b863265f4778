//! The demands of a test on a history.

use super::availability::Availability;
use super::net::NetStats;
use super::{bank, long_fork, txn};

/// The demands of a test beyond its workload, and the facts that only the bench knows about it.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// How many operations must succeed; none demands nothing.
    pub availability: Option<Availability>,
    /// The messages that were counted, if the history comes with its network.
    pub net: Option<NetStats>,
    /// The consistency models and the like that transactions are held to.
    pub txn: txn::Options,
    /// Whether the verdict is the reference's: our own findings are reported, and no more.
    pub reference: bool,
    /// Whether an operation of a kind that never succeeded leaves the verdict open. Jepsen's
    /// documentation says so, its code and Maelstrom's say invalid.
    pub untested_is_unknown: bool,
    /// Whether all nodes share one view of kafka's committed offsets, so that an older one is an
    /// anomaly. Maelstrom's protocol does not promise it, our own nodes do.
    pub commits_are_shared: bool,
    /// The rules for the accounts of a bank.
    pub bank: bank::Options,
    /// The shape of a read of `long-fork`.
    pub long_fork: long_fork::Options,
}
