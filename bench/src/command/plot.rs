//! `seaworthy plot`: pictures of runs, as SVG.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, crash, say, usage};
use crate::check::Verdict;
use crate::history::{self, History};
use crate::plot::chart::{self, Series, Shade};
use crate::plot::standalone;
use crate::report::{self, Traffic};

/// Draws runs: latency.svg, quantiles.svg, rate.svg and messages.svg of one; quantiles.svg and
/// rate.svg of several, in one picture each.
#[derive(Clone, Debug, Args)]
pub struct PlotArgs {
    /// Where the pictures go [default: the directory of the run; here, if there are several]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Directories of runs, such as store/latest
    #[arg(required = true, value_name = "STORE")]
    stores: Vec<PathBuf>,
}

/// Runs of which colours and names fit into one picture.
const RUNS_MAX: usize = 4;

/// Runs the command.
pub fn run(args: &PlotArgs) -> Exit {
    if args.stores.len() > RUNS_MAX {
        return usage(&format!("a picture has room for {RUNS_MAX} runs"));
    }
    let out = match (&args.out, &args.stores[..]) {
        (Some(out), _) => out.clone(),
        (None, [one]) => one.clone(),
        (None, _) => PathBuf::from("."),
    };
    match draw(&args.stores, &out) {
        Ok(()) => Exit::Verdict(Verdict::Valid),
        Err(message) => crash(&message),
    }
}

fn draw(stores: &[PathBuf], out: &Path) -> Result<(), String> {
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let mut runs: Vec<(Series, History)> = Vec::new();
    for store in stores {
        let history = history::read(&store.join("history.edn")).map_err(|e| e.to_string())?;
        runs.push((report::series(&name(store), &history), history));
    }
    let all: Vec<Series> = runs.iter().map(|(series, _)| series.clone()).collect();
    // Faults of several runs would hide each other.
    let shades: Vec<Shade> = match &runs[..] {
        [(_, history)] => report::shades(history),
        _ => Vec::new(),
    };
    write(out, "quantiles.svg", &chart::quantiles(&all, &shades))?;
    write(out, "rate.svg", &chart::rate(&all, &shades))?;
    if let ([store], [(series, history)]) = (stores, &runs[..]) {
        write(out, "latency.svg", &chart::latency(series, &shades))?;
        // It draws messages from the start of the network; a run itself leaves those from the
        // start of the operations.
        let file = store.join("messages.jsonl");
        match fs::read(&file) {
            Ok(_) if out.join("messages.svg").exists() => {}
            Ok(journal) => write(
                out,
                "messages.svg",
                &report::message_diagram(&Traffic::read(&journal), 0, &history[..0]),
            )?,
            Err(e) => say(format_args!("no messages.svg: {}: {e}", file.display())),
        }
    }
    Ok(())
}

/// A run by the last parts of its path: `lin-kv/20260131T235959.000Z`.
fn name(store: &Path) -> String {
    let path = fs::canonicalize(store).unwrap_or_else(|_| store.to_owned());
    let parts: Vec<String> =
        path.iter().rev().take(2).map(|part| part.to_string_lossy().into_owned()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn write(out: &Path, name: &str, svg: &str) -> Result<(), String> {
    let path = out.join(name);
    fs::write(&path, standalone(svg)).map_err(|e| format!("{}: {e}", path.display()))?;
    say(path.display());
    Ok(())
}
