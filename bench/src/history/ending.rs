//! How a stored run ended.
//!
//! A bench that is killed leaves the log of operations, and writes no history. One that is
//! interrupted writes its history so far, and says so in its results. In both cases the clients'
//! last reads are missing, from which a checker of sets, counters or logs finds most: a history
//! that ends early is no evidence that all is well.

use std::fs;
use std::path::Path;

use super::place::{FILES, STDIN, run_dir};
use crate::edn::{self, Edn};

/// The log of the operations as they happen, the last of the files that may hold a history.
const LOG: &str = FILES[FILES.len() - 1];

/// Files beside which a log belongs to a run: ours, and those of Jepsen's old and new format.
const TESTS: [&str; 3] = ["test.edn", "test.jepsen", "test.fressian"];

/// How the run ended of which a file or directory has the history, as far as the files beside it
/// tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, or nothing tells otherwise.
    Whole,
    /// By a signal, after which the history so far was written.
    Interrupted,
    /// Not yet, or the bench was killed: there is the log of the operations alone.
    Missing,
}

impl Ending {
    /// The ending of the run that is read from `path`: a file, a run's directory, or a store.
    pub fn of(path: &Path) -> Ending {
        if path.as_os_str() == STDIN {
            return Ending::Whole;
        }
        let is_dir = path.is_dir();
        let dir = if is_dir { run_dir(path) } else { path.with_file_name("") };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !is_dir && !FILES.contains(&name) {
            return Ending::Whole;
        }
        let has = |names: &[&str]| names.iter().any(|name| dir.join(name).is_file());
        let reads_log = is_dir || (name == LOG && has(&TESTS));
        let (_, histories) = FILES.split_last().unwrap_or((&LOG, &[]));
        if reads_log && has(&[LOG]) && !has(histories) {
            return Ending::Missing;
        }
        let results = fs::read_to_string(dir.join("results.edn")).unwrap_or_default();
        // Reading a result map takes longer than looking whether the word is there.
        let is_interrupted = results.contains(":interrupted")
            && edn::parse(&results).is_ok_and(|map| map.get("interrupted").is_some_and(is_map));
        if is_interrupted { Ending::Interrupted } else { Ending::Whole }
    }

    /// Why nothing follows from a history without an anomaly; none if the run ended by itself.
    pub fn complaint(self) -> Option<&'static str> {
        match self {
            Ending::Whole => None,
            Ending::Interrupted => Some("the run was interrupted, and this is its history so far"),
            Ending::Missing => Some(
                "the run has not ended, or its bench was killed: jepsen.log holds its operations so far",
            ),
        }
    }
}

fn is_map(value: &Edn) -> bool {
    value.entries().is_some()
}
