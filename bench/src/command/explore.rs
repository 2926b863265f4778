//! `seaworthy explore`: many seeds on all cores, until one fails.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, say, usage};
use crate::arm::process::unix_millis;
use crate::check::Verdict;
use crate::config::RunConfig;
use crate::explore::{Space, command, derive};
use crate::judge::{judge, reason};
use crate::run::simulate;
use crate::world::journal::Journal;
use crate::world::seed::Seed;

/// Simulates many runs, each with a configuration and faults derived from its seed,
/// and stops at the first that is not valid.
#[derive(Clone, Debug, Args)]
pub struct ExploreArgs {
    /// Which workload to explore
    #[arg(short, long)]
    workload: String,
    /// How many seeds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many runs at a time; by default one for each core
    #[arg(short, long)]
    jobs: Option<NonZero<usize>>,
    /// What transactions are held to, separated by commas
    #[arg(long, default_value = "strict-serializable")]
    consistency_models: String,
    /// Options for the nodes, after --
    #[arg(last = true)]
    args: Vec<String>,
}

/// What one run came to.
struct Outcome {
    verdict: Verdict,
    why: String,
    simulated_seconds: f64,
    operations: usize,
}

/// What all of them came to, so far.
#[derive(Default)]
struct Tally {
    runs: u64,
    operations: usize,
    simulated_seconds: f64,
    /// The lowest seed that failed, so that the result does not depend on `--jobs`.
    failed: Option<(u64, Outcome)>,
}

/// Runs the command.
pub fn run(args: &ExploreArgs) -> Exit {
    let mut space = Space {
        workload: args.workload.clone(),
        consistency_models: args.consistency_models.clone(),
        args: args.args.clone(),
    };
    if space.args.is_empty() {
        // Nodes that serve everything cannot know what a bare `read` means while all
        // that ever happened was reads; an exploration meets such runs.
        let served = args.workload.strip_prefix("txn-").map_or(args.workload.as_str(), |_| "txn");
        space.args = vec![served.to_owned()];
    }
    // Mistakes in the arguments show at once, and once.
    if let Err(message) = explore_one(&space, Seed(args.from)) {
        return usage(&message);
    }
    let cores = || thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let jobs = args.jobs.unwrap_or_else(cores).get();
    let end = args.from.saturating_add(args.seeds);
    say(format_args!(
        "Exploring {}: seeds {} to {}, {jobs} at a time",
        args.workload,
        args.from,
        end - 1
    ));
    let started = unix_millis();
    let bar = ProgressBar::new(args.seeds);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs  {per_sec}  {eta} left");
    bar.set_style(style.expect("the template is constant and well-formed"));

    let next = AtomicU64::new(args.from);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| work(&space, &next, end, &tally, &bar));
        }
    });
    bar.finish_and_clear();
    let tally = tally.into_inner().expect("no thread panics while it holds the lock");
    let seconds = (unix_millis() - started) as f64 / 1000.0;
    report(&space, &tally, seconds)
}

/// Takes seeds until there are none, or a lower one than the next has failed.
fn work(space: &Space, next: &AtomicU64, end: u64, tally: &Mutex<Tally>, bar: &ProgressBar) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let beaten =
            |tally: &Tally| tally.failed.as_ref().is_some_and(|(lowest, _)| *lowest < seed);
        let lock = || tally.lock().expect("no thread panics while it holds the lock");
        if seed >= end || beaten(&lock()) {
            return;
        }
        let Ok(outcome) = explore_one(space, Seed(seed)) else { return };
        let mut tally = lock();
        tally.runs += 1;
        tally.operations += outcome.operations;
        tally.simulated_seconds += outcome.simulated_seconds;
        bar.inc(1);
        if outcome.verdict != Verdict::Valid && !beaten(&tally) {
            tally.failed = Some((seed, outcome));
        }
    }
}

fn explore_one(space: &Space, seed: Seed) -> Result<Outcome, String> {
    let config = RunConfig::new(derive(space, seed), seed)?;
    let (report, _journal_is_off) = simulate(&config, Journal::off(), &mut |_| {})?;
    // A short run may well have no cas that succeeds. That answers keep coming is
    // what `:progress` is for, so the statistics have no say here.
    let outcome = judge(&config, &report).without("stats");
    Ok(Outcome {
        verdict: outcome.verdict,
        why: reason(&outcome, &report),
        simulated_seconds: report.duration.as_nanos() as f64 / 1e9,
        operations: report.history.len() / 2,
    })
}

fn report(space: &Space, tally: &Tally, seconds: f64) -> Exit {
    say(format_args!(
        "{} runs, {} operations in {seconds:.1} s: {:.1} runs/s, {:.0} simulated seconds per second",
        tally.runs,
        tally.operations,
        tally.runs as f64 / seconds,
        tally.simulated_seconds / seconds,
    ));
    match &tally.failed {
        None => {
            say("All valid.");
            Exit::Verdict(Verdict::Valid)
        }
        Some((seed, outcome)) => {
            let run = derive(space, Seed(*seed));
            say(format_args!("Seed {seed}: {:?}: {}", outcome.verdict, outcome.why));
            say(format_args!("Replay it with:\n  {}", command(&run)));
            Exit::Verdict(outcome.verdict)
        }
    }
}
