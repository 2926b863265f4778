//! How a replica behaves.

use crate::raft;

/// How a replica behaves. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a leader collects commands before it replicates them.
    pub batch_delay_ms: u64,
    /// How long without heartbeats until an election, at least; twice this at most.
    /// Longer if the network is slower.
    pub election_timeout_ms: u64,
    /// How long a leader is silent at most.
    pub heartbeat_ms: u64,
    /// How long a request waits for a leader before it is refused.
    pub leaderless_ms: u64,
    /// Within how long every request is answered, with an error if there is nothing else to
    /// body. For clients that close their connection when they give up: a later answer would
    /// be a message to an address that does not exist any more. `None` keeps requests for ten
    /// seconds, and for longer if they are large.
    pub answer_within_ms: Option<u64>,
    /// Serve reads from leases; trusts clocks.
    pub lease_reads: bool,
    /// A node that does not lead answers queries from its own state: it asks the leader only
    /// for an index, and waits until it has applied that much.
    pub follower_reads: bool,
    /// Answer a command only once it is applied on the node that was asked, so that the
    /// node's own state shows it. Costs nothing while that node keeps up.
    pub read_your_writes: bool,
    /// How much a log grows, at least, before it is compacted, in bytes.
    pub compact_bytes: u64,
    /// How many entries stay in the log for replicas that are a little behind.
    pub keep_entries: u64,
    /// The size of the entries in one message to another replica, in bytes.
    pub append_bytes: usize,
    /// How many of those messages may be on the way to one replica.
    pub max_inflight: usize,
    /// How many of those messages a replica keeps that came before their predecessors.
    pub max_early: usize,
    /// The size of a piece of a snapshot on its way to another replica, in bytes.
    pub snapshot_chunk_bytes: usize,
    /// How many sessions are remembered; each start of a node opens one. The deciding number is
    /// the number with which the cluster began: it is part of the replicated state, and
    /// must be the same on every node of a new cluster.
    pub max_sessions: usize,
}

impl Default for Options {
    fn default() -> Options {
        let raft = raft::Options::default();
        Options {
            batch_delay_ms: 0,
            election_timeout_ms: raft.election_timeout_ticks,
            heartbeat_ms: raft.heartbeat_ticks,
            leaderless_ms: 900,
            answer_within_ms: None,
            lease_reads: raft.lease_reads,
            follower_reads: false,
            read_your_writes: false,
            compact_bytes: 1 << 20,
            keep_entries: raft.keep_entries,
            append_bytes: raft.max_append_bytes,
            max_inflight: raft.max_inflight_messages,
            max_early: raft.max_early_appends,
            snapshot_chunk_bytes: raft.snapshot_chunk_bytes,
            max_sessions: 1024,
        }
    }
}
