//! A run that is going on: its operations, its messages a second, and the verdict so far.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use maud::{Markup, html};

use super::site::Site;
use crate::check::{Outcome, quote, reasons};
use crate::edn::Edn;
use crate::report;

/// Bytes of the log of operations that are counted.
const LOG_BYTES: u64 = 16 << 20;

/// Bytes of a log that is judged each time the page comes again.
const JUDGED_BYTES: u64 = 2 << 20;

/// Bytes of the journal's end from which the messages a second are counted.
const TAIL_BYTES: u64 = 256 << 10;

/// Workloads of which a prefix of a history that is wrong stays wrong. The others forgive what the
/// last reads mend: of those nothing is told before.
const AT_ONCE: [&str; 6] =
    ["echo", "unique-ids", "lin-kv", "txn-list-append", "txn-rw-register", "lock"];

/// Whether the run in a directory has begun and not ended: it has a log already, and no results
/// yet.
pub(super) fn is_going_on(dir: &Path) -> bool {
    dir.join("jepsen.log").exists() && !dir.join("results.edn").exists()
}

/// Tells the progress of the run.
pub(super) fn tell(site: &Site, dir: &Path) -> Markup {
    let mut text = String::new();
    if let Ok(log) = File::open(dir.join("jepsen.log")) {
        // Of a character or a line that is there in part the rest is counted next time.
        let _ = log.take(LOG_BYTES).read_to_string(&mut text);
    }
    let of_clients: Vec<&str> =
        text.lines().filter(|line| !line.contains("[jepsen nemesis]")).collect();
    let count = |kind: &str| {
        of_clients.iter().filter(|line| line.split('\t').any(|part| part == kind)).count()
    };
    let rate = tail(&dir.join("messages.jsonl")).ok().and_then(|tail| report::sent_a_second(&tail));
    let (class, so_far) = so_far(site, dir, text.len() as u64);
    html! {
        p class="live" {
            "Going on: " (count(":invoke")) " operations, " (count(":ok")) " ok, " (count(":fail")) " failed, "
            (count(":info")) " in doubt"
            @if let Some(rate) = rate { "; " (format!("{rate:.0}")) " messages a second" }
            ". This page comes again every 2 seconds."
        }
        p class=(class) { (so_far) }
    }
}

/// The verdict on the operations so far, as a class of style and a sentence.
fn so_far(site: &Site, dir: &Path, bytes: u64) -> (&'static str, String) {
    let workload = dir.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    if !AT_ONCE.contains(&&*workload) {
        return ("quiet", "The verdict needs the last reads of this workload.".to_owned());
    }
    if bytes > JUDGED_BYTES {
        return (
            "quiet",
            "No verdict so far: the history is too long to be judged each time.".into(),
        );
    }
    match (site.judge)(dir) {
        Some(outcome) => verdict(&outcome),
        None => ("quiet", "No verdict at this moment.".to_owned()),
    }
}

/// Only the workload's own part counts: that an operation has not succeeded yet is no anomaly.
fn verdict(outcome: &Outcome) -> (&'static str, String) {
    let part = outcome.get("workload").and_then(|part| part.get("valid?"));
    let of_workload = outcome.findings.iter().filter(|finding| finding.part == "workload").cloned();
    let why = reasons(&of_workload.collect::<Vec<_>>()).join("; ");
    let why = quote(&Edn::Symbol(why.as_str().into()));
    match part {
        Some(Edn::Bool(false)) => ("invalid", format!("Invalid so far: {why}")),
        Some(Edn::Bool(true)) => ("valid", "No anomaly so far.".to_owned()),
        _ => ("unknown", format!("Unknown so far: {why}")),
    }
}

/// The last bytes of a file.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = fs::metadata(path)?.len();
    let mut bytes = vec![0; usize::try_from(length.min(TAIL_BYTES)).unwrap_or(0)];
    let start = length - bytes.len() as u64;
    let read = file.read_at(&mut bytes, start)?;
    bytes.truncate(read);
    Ok(bytes)
}
