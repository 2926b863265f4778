//! The knobs. Times are in ticks, whose length is the caller's affair.

/// How a server behaves. All servers of a cluster should use the same.
#[derive(Clone, Debug)]
pub struct Options {
    /// A follower that hears nothing for this long, and at most twice this long,
    /// starts an election; drawn anew at each reset of the timer (§5.2). Also how
    /// long a server that heard a leader refuses to vote for another, and after
    /// which a leader that reaches no quorum steps down.
    pub election_timeout_ticks: u64,
    /// A leader that has sent a follower nothing for this long sends a heartbeat.
    pub heartbeat_ticks: u64,
    /// Ask whether an election could be won before starting one (thesis §9.6).
    pub pre_vote: bool,
    /// Step down without a quorum, and refuse votes while a leader is heard
    /// (thesis §6.2 and §4.2.3).
    pub check_quorum: bool,
    /// Answer reads without asking anyone while a quorum has promised not to elect another leader
    /// (thesis §6.4.1). Needs clocks whose rates differ by less than the margin, and the same
    /// `election_timeout_ticks` on all servers, for that is how long they promise; therefore off by
    /// default.
    pub lease_reads: bool,
    /// How much earlier than the promises a lease ends, for clocks that drift.
    pub lease_margin_ticks: u64,
    /// The largest size of the entries in one `Append`, in bytes. One entry always fits.
    pub max_append_bytes: usize,
    /// How many appends, or pieces of a snapshot, may be on the way to one follower. Also
    /// how many pieces that came before those they follow a follower keeps.
    pub max_inflight_messages: usize,
    /// How many bytes of entries, or of a snapshot, may be on the way to one follower.
    pub max_inflight_bytes: usize,
    /// How many appends that came before those they follow a follower keeps; they are
    /// refused all the same.
    pub max_early_appends: usize,
    /// How many bytes of entries a leader takes before they are committed.
    pub max_uncommitted_bytes: usize,
    /// The size of a piece of a snapshot, in bytes.
    pub snapshot_chunk_bytes: usize,
    /// How many bytes of applied entries compaction leaves, at most, for a follower that
    /// catches up after a snapshot. If it needs more, it is sent a newer snapshot.
    pub max_kept_bytes: usize,
    /// How many applied entries compaction leaves for followers that are a little behind.
    pub keep_entries: u64,
    /// Never vote and never stand for election: for a server that may have lost its promises. It
    /// receives entries but its answers are not counted. See
    /// [`Raft::readmit`](super::Raft::readmit).
    pub abstain: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            election_timeout_ticks: 500,
            heartbeat_ticks: 100,
            pre_vote: true,
            check_quorum: true,
            lease_reads: false,
            lease_margin_ticks: 100,
            max_append_bytes: 256 << 10,
            max_inflight_messages: 128,
            max_inflight_bytes: 4 << 20,
            max_early_appends: 16,
            max_uncommitted_bytes: 16 << 20,
            snapshot_chunk_bytes: 128 << 10,
            max_kept_bytes: 64 << 20,
            keep_entries: 1000,
            abstain: false,
        }
    }
}

impl Options {
    /// Panics if the options contradict each other.
    pub(super) fn validate(&self) {
        assert!(self.heartbeat_ticks > 0, "a heartbeat interval must not be zero");
        assert!(
            self.election_timeout_ticks > self.heartbeat_ticks,
            "followers would time out between two heartbeats"
        );
        assert!(
            self.lease_margin_ticks < self.election_timeout_ticks,
            "the margin leaves nothing of the lease"
        );
        assert!(
            self.check_quorum || !self.lease_reads,
            "a lease is made of the promises of check-quorum"
        );
        assert!(self.max_inflight_messages > 0, "nothing could ever be sent");
        assert!(self.snapshot_chunk_bytes > 0, "a piece must hold something");
    }
}
