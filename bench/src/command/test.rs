//! `seaworthy test`: one run, or several, with Maelstrom's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, crash, say, usage};
use crate::arm::process::{Children, NodeCommand, resolve, unix_millis};
use crate::check::{Verdict, compose::results};
use crate::config::{RunArgs, RunConfig};
use crate::judge::{judge, judge_binary};
use crate::run::{Finished, run_processes, simulate};
use crate::store::RunDir;
use crate::workload;
use crate::world::journal::Journal;
use crate::world::seed::Seed;
use crate::world::{Blame, Phase, Progress, Report};

/// Tests nodes and judges what their clients saw.
///
/// Without --bin, our own nodes run in a simulation on virtual time, determined by
/// --seed; with it, the binary runs as real processes.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The node binary, in any language; without it our own nodes are simulated
    #[arg(long)]
    bin: Option<PathBuf>,
    /// How often to run the test; stops at the first that is not valid
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    test_count: u64,
    /// Show the nodes' stderr here instead of logging it to files
    #[arg(long)]
    log_stderr: bool,
    /// Print every message that is sent
    #[arg(long)]
    log_net_send: bool,
    /// Print every message that is received
    #[arg(long)]
    log_net_recv: bool,
    /// Where results go
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

const GOOD: &str = "Everything looks good! ヽ(‘ー`)ノ";
const BAD: &str = "Analysis invalid! (ﾉಥ益ಥ）ﾉ ┻━┻";
const UNSURE: &str = "Errors occurred during analysis, but no anomalies found. ಠ~ಠ";

/// Runs the command.
pub fn run(args: TestArgs) -> Exit {
    let chosen = args.run.seed;
    let children = Children::default();
    if args.bin.is_some()
        && let Err(e) = children.end_with_the_bench()
    {
        return crash(&format!("cannot catch signals: {e}"));
    }
    let mut exit = Exit::Verdict(Verdict::Valid);
    for count in 0..args.test_count {
        let fallback = Seed(unix_millis() % 1_000_000_000);
        let mut one = args.clone();
        one.run.seed = chosen.map(|seed| seed.wrapping_add(count));
        exit = match RunConfig::new(one.run.clone(), fallback) {
            Ok(config) => run_one(&one, &config, &children),
            Err(message) => usage(&message),
        };
        if exit != Exit::Verdict(Verdict::Valid) {
            break;
        }
    }
    exit
}

fn run_one(args: &TestArgs, config: &RunConfig, children: &Children) -> Exit {
    // Before anything is made for a workload that does not exist.
    if let Err(message) = workload::build(config) {
        return usage(&message);
    }
    let started = unix_millis();
    let dir = match RunDir::create(&args.store, &config.args.workload, started) {
        Ok(dir) => dir,
        Err(e) => return crash(&format!("{}: {e}", args.store.display())),
    };
    announce(args, config, &dir);
    let (report, journal) = match execute(args, config, &dir, children) {
        Ok(finished) => finished,
        Err(message) => return usage(&message),
    };
    report.blames.iter().for_each(|blame| print_blame(blame, &dir));
    report.hints.iter().for_each(|hint| say(format_args!("Node {} {}", hint.node, hint.text)));
    let judge = if args.bin.is_some() { judge_binary } else { judge };
    let outcome = judge(config, &report);
    let results = results(&outcome);
    let written = dir.write_history(&report.history).and_then(|()| dir.write_results(&results));
    if let Err(e) = written.and(journal) {
        return crash(&format!("{}: {e}", dir.path().display()));
    }
    if let Some(violation) = &report.violation {
        say(format_args!("Invariant broken: {violation}"));
    }
    say(format_args!("{}\n", results.pretty()));
    if let Some(story) = &outcome.story {
        say(format_args!("{story}"));
    }
    say(match outcome.verdict {
        Verdict::Valid => GOOD,
        Verdict::Invalid => BAD,
        Verdict::Unknown => UNSURE,
    });
    broken(&report).unwrap_or(Exit::Verdict(outcome.verdict))
}

/// The end of a test that Maelstrom calls broken whatever its clients saw: it did not
/// begin, or a process died by itself.
fn broken(report: &Report) -> Option<Exit> {
    if report.history.is_empty() && !report.blames.is_empty() {
        return Some(crash("the test could not begin"));
    }
    let dead = report.blames.iter().find(|blame| blame.fault.is_death())?;
    Some(crash(&format!("node {} {}, so the test is broken", dead.node, dead.fault)))
}

fn announce(args: &TestArgs, config: &RunConfig, dir: &RunDir) {
    let arm = match &args.bin {
        Some(bin) => format!("{} as processes", bin.display()),
        None => "simulated".to_owned(),
    };
    say(format_args!(
        "Testing {} with {} nodes ({arm}), {} workers, {} ops/s for {} s, seed {}, into {}",
        config.args.workload,
        config.nodes.len(),
        config.concurrency,
        config.args.rate,
        config.time_limit.as_secs_f64(),
        config.seed.0,
        dir.path().display(),
    ));
}

fn execute(
    args: &TestArgs,
    config: &RunConfig,
    dir: &RunDir,
    children: &Children,
) -> Result<Finished, String> {
    let file = dir.journal().map_err(|e| format!("{}: {e}", dir.path().display()))?;
    let journal = Journal::to(file).echo(args.log_net_send, args.log_net_recv);
    let bar = progress_bar(config.time_limit);
    let mut watch = |progress: Progress| show(&bar, progress);
    let finished = match &args.bin {
        None => simulate(config, journal, &mut watch),
        Some(bin) => {
            let command = NodeCommand {
                bin: resolve(bin)?,
                args: config.args.args.clone(),
                log_dir: dir.node_logs(),
                echo_stderr: args.log_stderr,
                children: children.clone(),
            };
            run_processes(config, command, journal, &mut watch)
        }
    };
    bar.finish_and_clear();
    finished
}

/// A bar on a terminal; indicatif shows nothing in a pipe.
fn progress_bar(time_limit: Duration) -> ProgressBar {
    let bar = ProgressBar::new(time_limit.as_secs());
    let style = ProgressStyle::with_template("{bar:30} {pos:>4}/{len} s  {msg}");
    bar.set_style(style.expect("the template is constant and well-formed"));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_position(progress.since_start.as_secs());
    let what = match progress.phase {
        Phase::Init | Phase::Prepare => "starting nodes",
        Phase::Main => "running",
        Phase::Quiet => "running without faults",
        Phase::Drain => "waiting for open operations",
        Phase::Recover => "recovering",
        Phase::Last | Phase::Over => "last operations",
    };
    bar.set_message(format!("{what}, {} events", progress.events));
}

fn print_blame(blame: &Blame, dir: &RunDir) {
    say(format_args!("Node {} {}", blame.node, blame.fault));
    let log = dir.node_logs().join(format!("{}.log", blame.node));
    say(format_args!("  its log: {}", log.display()));
    for line in &blame.last_lines {
        say(format_args!("  | {line}"));
    }
    if !blame.last_printed.is_empty() {
        say("  the last that it printed on stdout:");
    }
    for line in &blame.last_printed {
        say(format_args!("  | {line}"));
    }
}
