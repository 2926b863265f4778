//! Waiting for other processes.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until something is so, for so many seconds at most.
pub(crate) fn await_that(what: &str, at_most_s: u64, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(at_most_s), "{what}");
        sleep(Duration::from_millis(20));
    }
}
