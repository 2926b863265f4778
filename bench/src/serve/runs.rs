//! The runs of a store.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::edn::{self, Edn};
use crate::report::CARD;

/// Bytes of a file that a list reads.
const FILE_BYTES: u64 = 1 << 20;

/// A run as a list shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// Its workload: the first part of its path.
    pub(super) workload: String,
    /// Its directory: the second part.
    pub(super) name: String,
    /// Its numbers, if it has left any.
    pub(super) card: Option<Numbers>,
    /// Whether it has a page of its own.
    pub(super) has_report: bool,
}

/// The numbers in `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Numbers {
    pub(super) verdict: String,
    pub(super) why: String,
    pub(super) seed: u64,
    pub(super) operations: u64,
    pub(super) ok: u64,
    pub(super) msgs_per_op: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) seconds: f64,
    pub(super) command: String,
}

impl Row {
    /// The verdict; of a run without results: that it is going on, or was broken off.
    pub(super) fn verdict(&self) -> &str {
        self.card.as_ref().map_or("running", |card| &card.verdict)
    }

    /// The faults that the run had, from its command.
    pub(super) fn nemesis(&self) -> &str {
        let command = self.card.as_ref().map_or("", |card| &card.command);
        let mut words = command.split(' ').skip_while(|word| *word != "--nemesis");
        words.nth(1).unwrap_or("none")
    }
}

/// The names of all runs, newest first.
pub(super) fn names(store: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for workload in dirs(store) {
        all.extend(dirs(&store.join(&workload)).into_iter().map(|run| (workload.clone(), run)));
    }
    // Directories are named after the time.
    all.sort_by(|a, b| (&b.1, &b.0).cmp(&(&a.1, &a.0)));
    all
}

/// The directories in a directory, without links.
fn dirs(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let names = entries.flatten().filter(is_dir).map(|entry| entry.file_name().into_string());
    names.flatten().collect()
}

/// The run in a directory.
pub(super) fn row(store: &Path, workload: &str, name: &str) -> Row {
    let dir = store.join(workload).join(name);
    let card = head(&dir.join(CARD)).and_then(|text| serde_json::from_str(&text).ok());
    Row {
        workload: workload.to_owned(),
        name: name.to_owned(),
        card: card.or_else(|| results(&dir)),
        has_report: dir.join(crate::report::FILE).is_file(),
    }
}

/// Reads the numbers of a run of another bench from its `results.edn`.
fn results(dir: &Path) -> Option<Numbers> {
    let results = edn::parse(&head(&dir.join("results.edn"))?).ok()?;
    let verdict = match results.get("valid?")? {
        Edn::Bool(true) => "valid",
        Edn::Bool(false) => "invalid",
        _ => "unknown",
    };
    let stats = |name: &str| results.get("stats")?.get(name)?.as_int()?.try_into().ok();
    Some(Numbers {
        verdict: verdict.to_owned(),
        operations: stats("count").unwrap_or_default(),
        ok: stats("ok-count").unwrap_or_default(),
        msgs_per_op: (|| results.get("net")?.get("servers")?.get("msgs-per-op")?.as_float())(),
        ..Numbers::default()
    })
}

/// The beginning of a text file.
pub(super) fn head(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}
