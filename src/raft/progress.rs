//! A leader's knowledge of one follower, and how fast it may send to it.
//!
//! A follower is *probed* while the leader does not know where the logs part: one append at a time.
//! Once an append has been accepted it is *replicated* to: entries are sent as they come, without
//! waiting for answers (pipelining), up to a limit of messages and bytes on the way. If its next
//! entries are compacted it is sent the *snapshot* in pieces, within the same limits; and until it
//! has caught up the leader keeps the entries that it will need next, or a busy leader's log would
//! be gone before the snapshot has arrived. The names are etcd's; thesis §10.2.1 has the idea.

use std::collections::VecDeque;

use super::ids::{Index, LogId};
use super::message::Round;
use super::options::Options;
use super::types::SnapshotMeta;
use crate::coverage::{self, Mark};

/// A leader's knowledge of one follower.
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
    /// The tick at which the entries on the way are asked after: unlike a heartbeat, this is not
    /// put off by appends that only ask (see [`Progress::due`]).
    loss_due: u64,
    /// No longer a member, kept only until it has learnt so.
    pub(super) departing: bool,
    /// It was sent a snapshot, and has not caught up since.
    pub(super) catching_up: bool,
    /// Its last answer about its log was that it abstains.
    pub(super) abstains: bool,
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
        /// The appends on their way, oldest first.
        inflight: Inflight,
    },
    /// A snapshot, in pieces.
    Snapshot {
        /// The snapshot that is being sent.
        meta: SnapshotMeta,
        /// The pieces on their way.
        pieces: Pieces,
    },
}

/// The pieces of a snapshot that are on the way. Offsets are in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces {
    /// The follower has everything before.
    pub acked: u64,
    /// The round in which the leader learnt of `acked`.
    acked_in: Round,
    /// Everything before was sent.
    pub next: u64,
    /// When a piece was last sent again, or `acked` moved; `None` before the first piece.
    moved_at: Option<u64>,
    /// A piece was lost, and more of those sent before this offset may be.
    recover: u64,
    /// Send the piece at `acked` again.
    again: bool,
}

impl Pieces {
    /// The offset of a piece to be sent at the tick `now`, of a snapshot of `len` bytes of
    /// which `window` may be on the way, and a piece without an answer for `retry` ticks.
    pub(super) fn take(&mut self, now: u64, len: u64, options: &Options) -> Option<u64> {
        let chunk = options.snapshot_chunk_bytes as u64;
        let window = (options.max_inflight_messages as u64).saturating_mul(chunk);
        let window = window.min(options.max_inflight_bytes as u64).max(chunk);
        let Some(moved_at) = self.moved_at else {
            // Also of a snapshot without any bytes there is a first piece.
            (self.moved_at, self.next) = (Some(now), chunk.min(len));
            return Some(0);
        };
        if now >= moved_at + options.snapshot_retry_ticks() {
            (self.again, self.recover) = (true, self.next);
        }
        if std::mem::take(&mut self.again) {
            self.moved_at = Some(now);
            self.next = self.next.max(len.min(self.acked + chunk));
            return Some(self.acked);
        }
        if self.next >= len || self.next - self.acked >= window {
            return None;
        }
        let offset = self.next;
        self.next = len.min(offset + chunk);
        Some(offset)
    }

    /// The follower wants `wanted` next, in answer to `round`; the leader is in round `now`.
    pub(super) fn answered(&mut self, wanted: u64, round: Round, now: Round, tick: u64) {
        if wanted > self.acked {
            (self.acked, self.acked_in, self.moved_at) = (wanted, now, Some(tick));
            self.next = self.next.max(wanted);
            // The follower keeps pieces that came after a gap; if there is another one, it shows.
            self.again = wanted < self.recover;
        } else if wanted < self.acked && (round > self.acked_in || self.is_stuck(round)) {
            // Guard: asked after it had more, it would know; so it has lost pieces.
            *self = Pieces { acked: wanted, next: wanted, acked_in: now, ..Pieces::default() };
            (self.again, self.moved_at) = (true, Some(tick));
        }
    }

    /// Whether an answer without a round, as an abstaining server gives it, may be believed: a piece
    /// was sent again, and the server lacks one before it. An old answer that comes so late costs pieces
    /// that are sent twice.
    fn is_stuck(&self, round: Round) -> bool {
        round == Round::default() && self.recover > self.acked
    }
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
            loss_due: now,
            departing: false,
            catching_up: false,
            abstains: false,
        }
    }

    /// The tick at which it has to be sent something, if only an empty append.
    ///
    /// Where reads are confirmed all the time there is no silence that a heartbeat could end,
    /// and their messages do not show whether an append was lost. So as long as appends are
    /// without an answer, an empty one follows them a heartbeat later in any case.
    pub(super) fn due(&self) -> u64 {
        let waits = self.inflight().is_some_and(|inflight| !inflight.is_empty());
        if waits { self.heartbeat_due.min(self.loss_due) } else { self.heartbeat_due }
    }

    /// An append after `prev` leaves in `round`; the next one is due at the tick `due`.
    pub(super) fn sends(&mut self, prev: Index, round: Round, due: u64) {
        (self.asked, self.heartbeat_due) = (round, due);
        // Guard: only an append that follows everything sent shows a loss.
        if prev.next() >= self.next {
            self.loss_due = due;
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
        self.advance(matched, base);
        news
    }

    /// Decides on the next messages to a follower whose log agrees up to `matched`, when
    /// the leader has no entries up to `base`.
    pub(super) fn advance(&mut self, matched: Index, base: Index) {
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
    }

    /// The follower has refused an append after `prev` that was sent in `round`, because
    /// its log ends, or differs, after `hint`. It can agree with the leader's log, which
    /// ends before `next`, at `candidate` at the latest.
    pub(super) fn refused(
        &mut self,
        round: Round,
        prev: Index,
        hint: LogId,
        candidate: Index,
        next: Index,
    ) {
        // A log that agrees up to `matched` has an entry there that it could name. So this follower
        // is back without entries it had acknowledged, unless it was asked before that was known
        // here, and another append overtook the question. All this leader can do is to begin again
        // with it; commits because of it are not taken back.
        if hint.index < self.matched && round > self.matched_in {
            coverage::hit(Mark::MemoryLost);
            self.reset(next);
        }
        self.reject(prev, candidate);
    }

    /// The follower has refused an append after `prev`; it can agree with the leader's
    /// log at `candidate` at the latest. Returns whether that is news.
    pub(super) fn reject(&mut self, prev: Index, candidate: Index) -> bool {
        let genuine = match &self.state {
            // Guard: entries that match cannot stop matching; the answer is old.
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
    pub(super) fn send_snapshot(&mut self, meta: SnapshotMeta) {
        self.catching_up = true;
        self.state = ProgressState::Snapshot { meta, pieces: Pieces::default() };
    }

    /// The snapshot that is being sent.
    pub(super) fn snapshot(&self) -> Option<&SnapshotMeta> {
        match &self.state {
            ProgressState::Snapshot { meta, .. } => Some(meta),
            _ => None,
        }
    }

    /// Up to where the log may be dropped for this follower's sake: not beyond the entries it needs
    /// next, while it catches up after a snapshot.
    pub(super) fn droppable(&self) -> Index {
        match &self.state {
            _ if !self.catching_up => Index::MAX,
            ProgressState::Snapshot { meta, .. } => meta.last.index.max(self.matched),
            _ => self.matched,
        }
    }

    /// Forgets the progress of a follower that came back without its log.
    pub(super) fn reset(&mut self, next: Index) {
        self.matched = Index::ZERO;
        self.next = next;
        self.state = ProgressState::Probe { sent: false };
    }

    /// Whether its last answer about its log was that it abstains.
    pub fn abstains(&self) -> bool {
        self.abstains
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
