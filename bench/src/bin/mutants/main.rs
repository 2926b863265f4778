//! Plants known bugs, one at a time, and counts the seeds until they are found.
//!
//! For each mutant a space of configurations is explored in which the bug can show,
//! twice: by the histories of clients alone (*black-box*: the engines' own assertions are passed
//! over, and no invariant is checked), and with assertions and invariants (*white-box*). The
//! same spaces are then explored without any bug. The table goes to `docs/mutants.md`.

mod hunt;
mod schedule;
mod smallest;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use seaworthy::planted::Mutant;
use seaworthy_bench::explore::ordered::cores;

use hunt::{Hunt, Method};
use smallest::Smallest;
use table::{Page, Row, say};

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
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    hunts: u64,
    /// How many runs at a time; by default one for each core
    #[arg(long)]
    jobs: Option<usize>,
    /// The first seed of the healthy build
    #[arg(long, default_value_t = 0)]
    healthy_from: u64,
    /// Seeds of the healthy build, over all spaces; by default ten times the most that any
    /// mutant needed
    #[arg(long)]
    healthy: Option<u64>,
    /// Shrinks each catch, and writes the plans into this directory
    #[arg(long, value_name = "DIR")]
    shrink: Option<PathBuf>,
    /// Runs this plan with the mutant given by --only, and tells the story
    #[arg(long, value_name = "PLAN")]
    replay: Option<PathBuf>,
    /// Replays with invariants and assertions
    #[arg(long, requires = "replay")]
    white_box: bool,
    /// Where the page about the replayed run goes
    #[arg(long, requires = "replay", value_name = "FILE")]
    report: Option<PathBuf>,
    /// Where to write the page
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let chosen: Vec<Mutant> = Mutant::ALL
        .into_iter()
        .filter(|m| args.only.is_empty() || args.only.contains(&m.number()))
        .collect();
    if chosen.is_empty() {
        say("--only: the mutants are numbered as in docs/mutants.md");
        return ExitCode::FAILURE;
    }
    match &args.replay {
        Some(plan) => replay(&args, &chosen, plan),
        None => hunt_all(&args, &chosen),
    }
}

fn hunt_all(args: &Args, chosen: &[Mutant]) -> ExitCode {
    let jobs = args.jobs.unwrap_or_else(cores);
    let mut page = Page { seeds: args.seeds, ..Page::default() };
    for mutant in chosen.iter().copied() {
        let [black, white] = [Method::BlackBox, Method::WhiteBox]
            .map(|method| Hunt { mutant, method, seeds: args.seeds, jobs }.median_of(args.hunts));
        let row = Row { mutant, black, white };
        say(&row.line());
        if let Some(dir) = &args.shrink {
            page.smallest.extend(shrink(&row, dir));
        }
        page.rows.push(row);
    }
    let most = page.rows.iter().map(Row::most_seeds).max().unwrap_or(0);
    let seeds = args.healthy.unwrap_or(10 * most);
    let healthy = hunt::healthy(args.healthy_from, seeds, &page.rows, jobs);
    say(&healthy.line());
    let is_quiet = healthy.alarms.is_empty();
    page.healthy = Some(healthy);
    if let Some(path) = &args.write
        && let Err(error) = page.write(path)
    {
        say(&format!("{}: {error}", path.display()));
        return ExitCode::FAILURE;
    }
    if is_quiet { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shrinks how a mutant was found, from outside if it was.
fn shrink(row: &Row, dir: &Path) -> Option<Smallest> {
    let black = row.black.as_ref().map(|catch| (Method::BlackBox, catch));
    let white = row.white.as_ref().map(|catch| (Method::WhiteBox, catch));
    let (method, catch) = black.or(white)?;
    match smallest::smallest(row.mutant, method, catch, dir) {
        Ok(smallest) => {
            say(&smallest.line());
            Some(smallest)
        }
        Err(why) => {
            say(&format!("{:?} is not shrunk: {why}", row.mutant));
            None
        }
    }
}

fn replay(args: &Args, chosen: &[Mutant], plan: &Path) -> ExitCode {
    let [mutant] = chosen else {
        say("--replay needs one mutant: --only NUMBER");
        return ExitCode::FAILURE;
    };
    let method = if args.white_box { Method::WhiteBox } else { Method::BlackBox };
    let page = args.report.as_deref();
    match smallest::replay(*mutant, method, plan, page) {
        Ok(story) => {
            say(&story.to_string());
            if story.trial.symptom.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}
