//! The options of workloads: plain values. The command line that makes them is
//! `cli`, behind the feature of that name.

use seaworthy::{gossip, shell};

/// The options of all workloads; each reads its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The gossip engine of broadcast, g-set, the counters and weak transactions.
    pub gossip: gossip::Options,
    /// The Raft engine of lin-kv, kafka and strict transactions.
    pub raft: shell::raft::Options,
    /// Where the counters keep their totals, and kafka its logs.
    pub store: Store,
    /// How far transactions are isolated from each other.
    pub isolation: Isolation,
    /// How many messages kafka keeps of each log, the last ones; `None` keeps all.
    pub retain: Option<u32>,
}

/// Where the counters keep their totals, and kafka its logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// On the nodes themselves.
    #[default]
    Nodes,
    /// The counters' totals in the service seq-kv.
    SeqKv,
    /// Kafka's logs in the service lin-kv.
    LinKv,
}

/// How far transactions are isolated from each other, strongest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Transactions happen one after the other, in real time; needs a majority.
    #[default]
    StrictSerializable,
    /// Transactions see others whole, as each node knows them; always available.
    ReadCommitted,
    /// The same: there is nothing to gain by seeing more.
    ReadUncommitted,
}
