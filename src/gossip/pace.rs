//! How fast: the measured round trip, and every delay derived from it.
//!
//! The one knob is the *latency budget* B: how long a delta may take, in good
//! weather, until every node shows it. A delta that crosses the hub pays one round
//! trip R; of the rest three quarters become the hub's window
//!
//! ```text
//! W = 3/4 (B - R)
//! ```
//!
//! and a quarter stays as slack for jitter. The hub sends at most once a window. A
//! leaf does not add a window of its own: it knows the hub's beat and sends just in
//! time for it, so whatever arises between two beats shares one message and loses
//! nothing by waiting. With n nodes that costs at most 2(n-1) messages a window, the
//! bound for all-to-all exchange, and less where a leaf had nothing to say.
//!
//! Acknowledgements ride on data. Alone they go after [`Pace::lone_ack`], which is
//! several windows, so that in steady traffic a leaf's next delta overtakes it.

use std::time::Duration;

use crate::time::Time;

/// How late a message may be for reasons of scheduling, apart from the network.
const JITTER: Duration = Duration::from_millis(15);
/// Longest round trip that is believed: more is a pause, not a distance.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(2);
/// The round trip that is assumed before the first measurement (RFC 6298, 2.1).
const UNMEASURED: Duration = Duration::from_secs(1);
/// Added to the window before an acknowledgement goes alone.
const LONE_ACK: Duration = Duration::from_millis(1650);
/// Grace beyond the expected time of an answer.
const GRACE: Duration = Duration::from_millis(100);
/// Longest pause between two attempts to reach a silent peer. It bounds how long
/// after the end of a partition the two sides still ignore each other.
const BACK_OFF_CAP: Duration = Duration::from_millis(1500);
/// Attempts after the first before a silent peer is suspected.
pub(super) const RETRIES: u32 = 2;

/// A smoothed round trip and its deviation (RFC 6298), and the delays they imply.
#[derive(Clone, Debug)]
pub struct Pace {
    budget: Duration,
    smoothed: Option<Duration>,
    deviation: Duration,
    /// Hops on the longest path, and how many nodes on it wait for their window.
    path: (u32, u32),
}

impl Pace {
    /// Delays for a latency budget, before anything was measured.
    pub fn new(budget: Duration) -> Pace {
        Pace { budget, smoothed: None, deviation: Duration::ZERO, path: (2, 1) }
    }

    /// Sets the number of hops a delta may have to take, when every node on the way
    /// waits; until then a path leads through a hub, where only the hub waits.
    pub fn set_hops(&mut self, hops: u32) {
        self.path = (hops.max(1), hops.max(1));
    }

    /// Takes in a measured round trip, free of the time the peer held it.
    pub fn sample(&mut self, round_trip: Duration) {
        let sample = round_trip.min(LONGEST_ROUND_TRIP);
        let Some(smoothed) = self.smoothed else {
            self.deviation = Duration::ZERO;
            self.smoothed = Some(sample);
            return;
        };
        let error = sample.abs_diff(smoothed);
        self.deviation = (self.deviation * 3 + error) / 4;
        self.smoothed = Some((smoothed * 7 + sample) / 8);
    }

    /// The round trip as measured so far.
    pub fn round_trip(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Least time between two rounds of a node that forwards to many.
    pub fn window(&self) -> Duration {
        let (hops, waits) = self.path;
        // Not to begin with long windows, half of the budget is taken for travel
        // until that is known better.
        let travel = self.smoothed.map_or(self.budget / 2, |round_trip| round_trip * hops / 2);
        self.budget.saturating_sub(travel) * 3 / 4 / waits
    }

    /// How long before the hub's next round a leaf must send to be part of it,
    /// counted from when the leaf saw the last one: there and back, and some. `None`
    /// as long as the way is unknown.
    pub fn lead(&self) -> Option<Duration> {
        Some(self.smoothed? + self.deviation * 2 + JITTER)
    }

    /// How long an acknowledgement waits for a message to ride on.
    pub fn lone_ack(&self) -> Duration {
        LONE_ACK + self.window()
    }

    /// How long to wait for an answer that is due at once.
    pub fn answer(&self) -> Duration {
        let round_trip = self.smoothed.unwrap_or(UNMEASURED);
        round_trip + self.deviation * 4 + GRACE
    }

    /// Pause after the `attempt`-th attempt (from 1) to reach a silent peer.
    pub fn back_off(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(RETRIES).min(8);
        (self.answer() * (1 << doublings)).min(BACK_OFF_CAP.max(self.answer()))
    }
}

/// When a leaf should send so as to be just in time for the hub: the beat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    /// When the hub's last round arrived here.
    pub(super) heard: Time,
    /// How long after it the hub's next round follows.
    pub(super) period: Duration,
}

impl Beat {
    /// The next good moment from `now` on. `None` if the beat is over: the hub has
    /// had nothing to say for two periods and will forward at once.
    pub(super) fn next(&self, now: Time, lead: Duration) -> Option<Time> {
        (1..=2).map(|k| self.heard + (self.period * k).saturating_sub(lead)).find(|at| *at >= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn window_is_what_the_budget_leaves() {
        let mut pace = Pace::new(ms(650));
        assert_eq!(pace.window(), ms(243) + Duration::from_micros(750));
        pace.sample(ms(250));
        assert_eq!(pace.window(), ms(300));
        pace.sample(ms(250));
        assert_eq!(pace.round_trip(), Some(ms(250)));
        assert_eq!(Pace::new(ms(10)).back_off(1), ms(1100));
    }

    #[test]
    fn back_off_doubles_up_to_the_cap() {
        let mut pace = Pace::new(ms(650));
        pace.sample(ms(200));
        let pauses: Vec<_> = (1..=6).map(|n| pace.back_off(n).as_millis()).collect();
        assert_eq!(pauses, [300, 300, 600, 1200, 1500, 1500]);
    }

    #[test]
    fn a_leaf_meets_the_beat_or_the_one_after() {
        let beat = Beat { heard: Time::from_millis(1000), period: ms(300) };
        let next = |now| beat.next(Time::from_millis(now), ms(200)).map(Time::as_millis);
        assert_eq!(next(1050), Some(1100));
        assert_eq!(next(1101), Some(1400));
        assert_eq!(next(1401), None);
    }
}
