//! `seaworthy summary`: one line about a run, from its files alone.
//!
//! It reads Maelstrom's `results.edn` and `history.edn`, so that a table can be
//! made of runs of either bench.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, crash, say};
use crate::check::Verdict;
use crate::edn::{self, Edn};
use crate::history::{self, Op, pairs};

/// Prints a line about a finished run: verdict, operations, fraction of ok,
/// messages per operation between servers, latency of operations.
#[derive(Clone, Debug, Args)]
pub struct SummaryArgs {
    /// The directory of a run, such as store/latest
    dir: PathBuf,
}

/// Runs the command.
pub fn run(args: &SummaryArgs) -> Exit {
    match summarize(&args.dir) {
        Ok((line, verdict)) => {
            say(line);
            Exit::Verdict(verdict)
        }
        Err(message) => crash(&message),
    }
}

fn summarize(dir: &Path) -> Result<(String, Verdict), String> {
    let file = dir.join("results.edn");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let results = edn::parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let history = history::read(&dir.join("history.edn")).map_err(|e| e.to_string())?;
    let (verdict, word) = match results.get("valid?") {
        Some(Edn::Bool(true)) => (Verdict::Valid, "valid"),
        Some(Edn::Bool(false)) => (Verdict::Invalid, "INVALID"),
        _ => (Verdict::Unknown, "unknown"),
    };
    let number = |path: &[&str]| {
        let found = path.iter().try_fold(&results, |map, key| map.get(key));
        found.and_then(Edn::as_float).unwrap_or(f64::NAN)
    };
    let latencies = latencies_ms(&history);
    let operations = history.iter().filter(|op| op.is_client()).count();
    let invoked = pairs(&history).map_or(operations / 2, |pairs| pairs.len());
    let line = format!(
        "{word:<8} {invoked:>7} ops  {:>6.2} % ok  {:>6.2} msgs/op  {:>8.2} / {:>8.2} ms",
        100.0 * number(&["availability", "ok-fraction"]),
        number(&["net", "servers", "msgs-per-op"]),
        quantile(&latencies, 0.5),
        quantile(&latencies, 0.99),
    );
    Ok((line, verdict))
}

/// How long the operations took that completed as ok, sorted, in milliseconds.
fn latencies_ms(history: &[Op]) -> Vec<f64> {
    let Ok(pairs) = pairs(history) else { return Vec::new() };
    let ok = pairs.iter().filter(|pair| pair.is_ok());
    let took = ok.filter_map(|pair| Some(pair.completion?.time - pair.invoke.time));
    let mut millis: Vec<f64> = took.map(|nanos| nanos as f64 / 1e6).collect();
    millis.sort_by(f64::total_cmp);
    millis
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let index = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
