//! How much a replica has on the way to the leader, and when it sends again.
//!
//! A command is sent again because it may be lost, and each copy costs its whole length.
//! So three things are measured or bounded, as TCP does for segments:
//!
//! * Only a *window* of bytes is on the way at a time; the rest waits its turn. When a
//!   leader dies, at most a window was sent for nothing.
//! * How long an answer takes is measured, at commands that were sent once (an answer to
//!   a command that was sent twice does not say which copy it answers: Karn's algorithm,
//!   RFC 6298, section 3). The shortest of a span of time counts, because a command that
//!   waited for an election says nothing about the network.
//! * Each further copy waits twice as long as the one before, up to a bound.

use std::time::Duration;

use crate::time::Time;

/// How many bytes of commands may be on the way to the leader. One command always may.
pub(super) const WINDOW_BYTES: usize = 4 << 20;
/// How long a request that was sent waits before it is sent again, at least.
pub(super) const RESEND: Duration = Duration::from_millis(400);
/// How many times longer than the first copy a later one waits, at most.
const BACKOFF_MAX: u32 = 4;
/// The bytes that a slow pipe moves in a millisecond: 4 MiB a second.
const SLOW_BYTES_PER_MS: usize = 4 << 10;
/// How long a measurement counts: one to two of these.
const SPAN: Duration = Duration::from_secs(5);

/// How long a slow pipe takes to move so many bytes.
pub(super) fn moving_time(bytes: usize) -> Duration {
    Duration::from_millis((bytes / SLOW_BYTES_PER_MS) as u64)
}

/// The commands on the way, and how long answers take.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes of commands that were sent by the present way and not answered.
    on_the_way: usize,
    /// The shortest time to an answer in this span, and in the one before.
    shortest: [Option<Duration>; 2],
    since: Time,
}

impl Pace {
    /// Whether a command of this many bytes may be sent now.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.on_the_way == 0 || self.on_the_way + bytes <= WINDOW_BYTES
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.on_the_way += bytes;
    }

    /// A command that was on the way is answered, given up, or taken for lost.
    pub(super) fn left(&mut self, bytes: usize) {
        self.on_the_way = self.on_the_way.checked_sub(bytes).expect("what leaves was sent");
    }

    /// A command that was sent once has got its answer after `took`.
    pub(super) fn answered(&mut self, now: Time, took: Duration) {
        if now - self.since > SPAN {
            self.shortest = [None, self.shortest[0]];
            self.since = now;
        }
        let shortest = &mut self.shortest[0];
        *shortest = Some(shortest.map_or(took, |s| s.min(took)));
    }

    /// How long a request waits before it is sent once more than `copies` times, where a
    /// round trip takes `rtt_ms`.
    pub(super) fn patience(&self, copies: u32, rtt_ms: u64) -> Duration {
        let measured = self.shortest.iter().flatten().min().map_or(Duration::ZERO, |s| *s * 2);
        let first = RESEND.max(Duration::from_millis(3 * rtt_ms)).max(measured);
        let backoff = 1_u32.checked_shl(copies.saturating_sub(1)).unwrap_or(BACKOFF_MAX);
        first * backoff.clamp(1, BACKOFF_MAX) + moving_time(self.on_the_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_copy_waits_for_what_was_measured_and_later_ones_longer() {
        let mut pace = Pace::default();
        assert_eq!(pace.patience(1, 0), ms(400));
        assert_eq!(pace.patience(1, 300), ms(900));
        pace.answered(Time::ZERO, ms(9000));
        pace.answered(Time::ZERO, ms(1800));
        let waits: Vec<Duration> = (1..6).map(|copies| pace.patience(copies, 0)).collect();
        assert_eq!(waits, [ms(3600), ms(7200), ms(14400), ms(14400), ms(14400)]);
        // A much later measurement replaces it, a span afterwards.
        pace.answered(Time::ZERO + ms(6000), ms(10));
        pace.answered(Time::ZERO + ms(12000), ms(10));
        assert_eq!(pace.patience(1, 0), ms(400));
    }

    #[test]
    fn the_window_holds_one_command_however_large() {
        let mut pace = Pace::default();
        assert!(pace.has_room(10 * WINDOW_BYTES));
        pace.sent(10 * WINDOW_BYTES);
        assert!(!pace.has_room(1));
        pace.left(10 * WINDOW_BYTES);
        pace.sent(WINDOW_BYTES - 1);
        assert!(pace.has_room(1) && !pace.has_room(2));
        // A window takes a second on a slow pipe.
        pace.sent(1);
        assert_eq!(pace.patience(1, 0), ms(400 + 1024));
    }
}
