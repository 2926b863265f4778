//! Clocks that go wrong, by libfaketime.
//!
//! The library stands between a program and its C library, and answers all questions for the time.
//! It reaches every program that asks its C library; those of Go ask the kernel itself, and the
//! spec of such a server says so (`own-clock`).
//!
//! Source: the manual of libfaketime, for `FAKETIME` and its rates.

use std::path::{Path, PathBuf};

use crate::seed::Seed;

/// Where distributions put the variant for programs with threads.
const DIRECTORIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
];
const LIBRARY: &str = "libfaketimeMT.so.1";

/// How far a clock is set wrong when its node starts, in seconds, at a relative error of 1.
const SHIFT_S: f64 = 600.0;

/// Where the library is installed.
pub(super) fn library() -> Option<PathBuf> {
    DIRECTORIES.iter().map(|dir| Path::new(dir).join(LIBRARY)).find(|path| path.is_file())
}

/// The clocks of all nodes: a relative error that is drawn at each start of a node.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    library: PathBuf,
    seed: Seed,
    max_skew: f64,
}

impl Clocks {
    /// Clocks that are wrong by at most `max_skew`; none if that is nothing, or nothing can be done.
    pub(super) fn new(seed: Seed, max_skew: f64) -> Option<Clocks> {
        let library = library().filter(|_| max_skew > 0.0)?;
        Some(Clocks { library, seed, max_skew })
    }

    /// The variables of a node's environment at its start number `life`.
    pub(super) fn variables(&self, node: usize, life: u64) -> [(&'static str, String); 2] {
        let draw = &mut self.seed.stream("server-clock", (node as u64) << 32 | life);
        let mut error = || self.max_skew * (2.0 * draw.unit() - 1.0);
        let (rate, shift_s) = (1.0 + error(), SHIFT_S * error());
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME", format!("{shift_s:+.3}s x{rate:.6}")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_of_a_node_has_a_clock_of_its_own_within_the_bound() {
        let clocks = Clocks { library: "lib.so".into(), seed: Seed(7), max_skew: 0.1 };
        let all: Vec<String> = (0..50).map(|life| clocks.variables(1, life)[1].1.clone()).collect();
        for text in &all {
            let (shift, rate) = text.split_once("s x").expect("a shift and a rate");
            let (shift, rate): (f64, f64) = (shift.parse().unwrap(), rate.parse().unwrap());
            assert!(shift.abs() <= 60.0 && (rate - 1.0).abs() <= 0.1, "{text}");
        }
        assert_eq!(all[3], clocks.variables(1, 3)[1].1);
        assert!(all.iter().any(|text| text.starts_with('+')));
        assert!(all.iter().any(|text| text.starts_with('-')));
        assert!(Clocks::new(Seed(7), 0.0).is_none());
    }
}
