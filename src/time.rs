//! Time as a value.
//!
//! A node never reads a clock; its driver tells it the time. [`Time`] is a reading of the
//! node's own monotonic clock: nanoseconds since the node started, with no
//! meaning outside that node. In the simulation it is virtual and may drift.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A reading of one node's monotonic clock, in nanoseconds since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment the clock started.
    pub const ZERO: Time = Time(0);
    /// Later than every other reading: the deadline of an event that never happens.
    pub const MAX: Time = Time(u64::MAX);

    /// A reading of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// A reading of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis * 1_000_000)
    }

    /// Nanoseconds since the clock started.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the clock started.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates, so that adding to [`Time::MAX`] stays "never".
    fn add(self, rhs: Duration) -> Time {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Zero if `rhs` is the later one.
    fn sub(self, rhs: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(rhs.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0 as f64 / 1e9)
    }
}
