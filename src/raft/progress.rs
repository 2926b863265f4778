//! What a leader knows about one follower, and how fast it may send to it.
//!
//! A follower is *probed* while the leader does not know where the logs part: one
//! append at a time. Once an append has been accepted it is *replicated* to: entries
//! are sent as they come, without waiting for answers (pipelining), up to a limit of
//! messages and bytes on the way. If what it needs is compacted it is sent the
//! *snapshot*, one piece at a time. The names are etcd's; thesis §10.2.1 has the idea.

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::Round;
use super::options::Options;
use super::types::{Index, Snapshot, SnapshotMeta};

/// What a leader knows about one follower.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Up to where the follower's log is known to agree with the leader's, durably.
    pub matched: Index,
    /// The round in which the leader learnt of `matched`: whatever it sent later found that
    /// much in the follower's log.
    pub(super) matched_in: Round,
    /// The next entry to send.
    pub next: Index,
    /// How entries are sent.
    pub state: ProgressState,
    /// The latest round that the follower has answered.
    pub acked: Round,
    /// The latest round in which the follower was sent something to answer.
    pub(super) asked: Round,
    /// The tick at which the follower was last heard.
    pub last_heard: u64,
    /// The tick at which a heartbeat is due.
    pub(super) heartbeat_due: u64,
    /// No longer a member, kept only until it has learnt so.
    pub(super) departing: bool,
}

/// How entries are sent to a follower.
#[derive(Clone, Debug)]
pub enum ProgressState {
    /// One append at a time, until one is accepted.
    Probe {
        /// An append is on its way.
        sent: bool,
    },
    /// A stream of appends.
    Replicate {
        /// What is on its way, oldest first.
        inflight: Inflight,
    },
    /// A snapshot, in pieces.
    Snapshot {
        /// The snapshot that is being sent.
        snapshot: Arc<Snapshot>,
        /// What identifies it.
        meta: SnapshotMeta,
        /// The next piece, in bytes.
        offset: u64,
        /// When the piece at `offset` was sent, if it was.
        sent_at: Option<u64>,
    },
}

/// Appends that have been sent and not been answered.
#[derive(Clone, Debug, Default)]
pub struct Inflight {
    /// The last index and the size of each, oldest first.
    appends: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Inflight {
    /// How many appends are on the way.
    pub fn len(&self) -> usize {
        self.appends.len()
    }

    /// Whether nothing is on the way.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    pub(super) fn is_full(&self, options: &Options) -> bool {
        self.appends.len() >= options.max_inflight_messages
            || self.bytes >= options.max_inflight_bytes
    }

    pub(super) fn push(&mut self, last: Index, bytes: usize) {
        assert!(
            self.appends.back().is_none_or(|(i, _)| *i < last),
            "sent {last} after {:?}",
            self.appends
        );
        self.appends.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn acknowledge(&mut self, matched: Index) {
        while let Some((last, bytes)) = self.appends.front().copied() {
            if last > matched {
                break;
            }
            self.appends.pop_front();
            self.bytes -= bytes;
        }
    }
}

impl Progress {
    /// A follower about which nothing is known, when the log ends before `next`.
    pub(super) fn new(next: Index, now: u64) -> Progress {
        Progress {
            matched: Index::ZERO,
            matched_in: Round::default(),
            next,
            state: ProgressState::Probe { sent: false },
            acked: Round::default(),
            asked: Round::default(),
            last_heard: now,
            heartbeat_due: now,
            departing: false,
        }
    }

    /// The follower has confirmed that the logs agree up to `matched`, in answer to a
    /// leader that is in round `now` and has no entries up to `base`. Returns whether that
    /// is news.
    pub(super) fn accept(&mut self, matched: Index, now: Round, base: Index) -> bool {
        // Guard: an old answer that was overtaken must not take anything back.
        let news = matched > self.matched;
        if news {
            (self.matched, self.matched_in) = (matched, now);
        }
        match &mut self.state {
            ProgressState::Replicate { inflight } => {
                inflight.acknowledge(matched);
                self.next = self.next.max(matched.next());
            }
            // Only an answer to the probe, or one from beyond it, ends the probing.
            ProgressState::Probe { .. } if matched.next() < self.next => {}
            // The log to go on with is compacted; if the follower has this snapshot
            // already, it needs the next one.
            ProgressState::Snapshot { meta, .. } if matched < base => {
                if matched >= meta.last.index {
                    self.next = matched.next();
                    self.state = ProgressState::Probe { sent: false };
                }
            }
            ProgressState::Probe { .. } | ProgressState::Snapshot { .. } => {
                self.next = matched.next();
                self.state = ProgressState::Replicate { inflight: Inflight::default() };
            }
        }
        news
    }

    /// The follower has refused an append after `prev`; it can agree with the leader's
    /// log at `candidate` at the latest. Returns whether that is news.
    pub(super) fn reject(&mut self, prev: Index, candidate: Index) -> bool {
        let genuine = match &self.state {
            // Guard: what is known to match cannot stop matching; the answer is old.
            ProgressState::Replicate { .. } => prev > self.matched,
            ProgressState::Probe { .. } => prev == self.next.prev() && prev > self.matched,
            ProgressState::Snapshot { .. } => false,
        };
        if genuine {
            self.next = candidate.next().min(prev).max(self.matched.next());
            self.state = ProgressState::Probe { sent: false };
        }
        genuine
    }

    /// Starts sending a snapshot.
    pub(super) fn send_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let meta = snapshot.meta();
        self.state = ProgressState::Snapshot { snapshot, meta, offset: 0, sent_at: None };
    }

    /// Forgets what the follower has: it came back without its log.
    pub(super) fn reset(&mut self, next: Index) {
        self.matched = Index::ZERO;
        self.next = next;
        self.state = ProgressState::Probe { sent: false };
    }

    /// How entries are sent, as one word.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            ProgressState::Probe { .. } => "probe",
            ProgressState::Replicate { .. } => "replicate",
            ProgressState::Snapshot { .. } => "snapshot",
        }
    }
}
