//! Where the history of a run is: the files and directories of a store.

use std::path::{Path, PathBuf};

/// The name that stands for standard input.
pub const STDIN: &str = "-";

/// The files of a run that may hold its history, the most complete first.
pub(super) const FILES: [&str; 5] =
    ["history.edn", "history.jsonl", "history.json", "history.txt", "jepsen.log"];

/// The links to the newest run in a store, the last that was finished first.
const LINKS: [&str; 2] = ["latest", "current"];

/// Whether a directory is that of a run: it has a history, if only of a run that never ended.
pub fn holds_run(dir: &Path) -> bool {
    FILES.iter().any(|name| dir.join(name).is_file())
}

/// The directory of a run: the one given, or in that of a store the newest run's.
pub fn run_dir(dir: &Path) -> PathBuf {
    let links = LINKS.iter().map(|link| dir.join(link));
    let newest = || links.into_iter().find(|dir| holds_run(dir));
    if holds_run(dir) { dir.to_owned() } else { newest().unwrap_or_else(|| dir.to_owned()) }
}
