//! Plants known bugs, one at a time, and counts the seeds until they are found.
//!
//! For each mutant a space of configurations is explored in which the bug can show,
//! twice: by what clients see alone (*black-box*: the engines' own assertions are passed
//! over, and nobody looks inside), and with assertions and invariants (*white-box*). The
//! same spaces are then explored without any bug. The table goes to `docs/mutants.md`.

mod hunt;
mod schedule;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use seaworthy::mutant::Mutant;

use hunt::{Hunt, Manner};
use table::Row;

/// Plants known bugs, one at a time, and counts the seeds until they are found.
#[derive(Parser)]
struct Args {
    /// Only the mutants of these numbers
    #[arg(long, value_delimiter = ',')]
    only: Vec<usize>,
    /// How many seeds to try before a mutant counts as missed
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// From how many first seeds to hunt; the table has the median
    #[arg(long, default_value_t = 3)]
    hunts: u64,
    /// How many runs at a time; by default one for each core
    #[arg(long)]
    jobs: Option<usize>,
    /// Seeds of the healthy build, over all spaces; by default ten times the most that any
    /// mutant needed
    #[arg(long)]
    healthy: Option<u64>,
    /// Where to write the table
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or_else(cores);
    hunt::keep_panics_quiet();
    let chosen: Vec<Mutant> = Mutant::ALL
        .into_iter()
        .filter(|m| args.only.is_empty() || args.only.contains(&m.number()))
        .collect();
    let mut rows = Vec::new();
    for mutant in chosen {
        let [black, white] = [Manner::BlackBox, Manner::WhiteBox]
            .map(|manner| Hunt { mutant, manner, seeds: args.seeds, jobs }.median_of(args.hunts));
        let row = Row { mutant, black, white };
        table::say(&row.line());
        rows.push(row);
    }
    let most = rows.iter().map(Row::most_seeds).max().unwrap_or(0);
    let healthy = hunt::healthy(args.healthy.unwrap_or(10 * most), &rows, jobs);
    table::say(&healthy.line());
    if let Some(path) = &args.write
        && let Err(error) = table::write(path, &rows, &healthy)
    {
        table::say(&format!("{}: {error}", path.display()));
        return ExitCode::FAILURE;
    }
    match healthy.alarm {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}
