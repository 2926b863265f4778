//! `seaworthy summary`: one line about a run, from its files alone.
//!
//! It reads Maelstrom's `results.edn` and `history.edn`, so that a table can be
//! made of runs of either bench.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, crash, say};
use crate::check::Verdict;
use crate::edn::{self, Edn};
use crate::history::{self, Op, pairs, quantile};

/// Prints a line about a finished run: verdict, operations, fraction of ok,
/// messages per operation between servers, latency (median and 99th percentile) of
/// those that succeeded.
#[derive(Clone, Debug, Args)]
pub struct SummaryArgs {
    /// Then a line about the latency of each operation
    #[arg(long)]
    by_operation: bool,
    /// The directory of a run, such as store/latest
    dir: PathBuf,
}

/// Runs the command.
pub fn run(args: &SummaryArgs) -> Exit {
    match summarize(args) {
        Ok((line, verdict)) => {
            say(line);
            Exit::Verdict(verdict)
        }
        Err(message) => crash(&message),
    }
}

fn summarize(args: &SummaryArgs) -> Result<(String, Verdict), String> {
    let dir = &args.dir;
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
    let by_operation = latencies_ms(&history);
    let mut latencies: Vec<f64> = by_operation.values().flatten().copied().collect();
    latencies.sort_by(f64::total_cmp);
    let operations = history.iter().filter(|op| op.is_client()).count();
    let invoked = pairs(&history).map_or(operations / 2, |pairs| pairs.len());
    let mut text = format!(
        "{word:<8} {invoked:>7} ops  {:>6.2} % ok  {:>6.2} msgs/op  {:>8.2} / {:>8.2} ms",
        100.0 * number(&["availability", "ok-fraction"]),
        number(&["net", "servers", "msgs-per-op"]),
        quantile_ms(&latencies, 0.5),
        quantile_ms(&latencies, 0.99),
    );
    for (f, latencies) in by_operation.iter().filter(|_| args.by_operation) {
        let (median, high) = (quantile_ms(latencies, 0.5), quantile_ms(latencies, 0.99));
        text += &format!("\n  {f:<24} {:>7} ok  {median:>8.2} / {high:>8.2} ms", latencies.len());
    }
    Ok((text, verdict))
}

/// How long the operations took that completed as ok, sorted, in milliseconds.
fn latencies_ms(history: &[Op]) -> BTreeMap<&str, Vec<f64>> {
    let mut millis: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for pair in pairs(history).unwrap_or_default().iter().filter(|pair| pair.is_ok()) {
        if let Some(completion) = pair.completion {
            let nanos = completion.time - pair.invoke.time;
            millis.entry(&pair.invoke.f).or_default().push(nanos as f64 / 1e6);
        }
    }
    millis.values_mut().for_each(|all| all.sort_by(f64::total_cmp));
    millis
}

/// A quantile as a number; not a number if there are no latencies.
fn quantile_ms(sorted: &[f64], q: f64) -> f64 {
    quantile(sorted, q).unwrap_or(f64::NAN)
}
