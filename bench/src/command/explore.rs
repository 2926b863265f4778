//! `seaworthy explore`: many seeds on all cores, until one fails.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Exit, Signs, crash, explore_bin, say, usage};
use crate::arm::process::unix_millis;
use crate::check::Verdict;
use crate::config::{Demand, RunConfig};
use crate::explore::ordered::cores;
use crate::explore::outcome::{Class, Nodes, Outcome};
use crate::explore::shrink::{Budget, smallest};
use crate::explore::story::Story;
use crate::explore::swarm::{Failure, Sums, Swarm, Tally};
use crate::explore::{Space, command, derive, quote, served};
use crate::run::factory;
use crate::world::seed::Seed;

/// Simulates many runs, each with a configuration and faults derived from its seed,
/// and stops at the first that is not valid. That one is shrunk to the smallest run
/// that fails in the same way, and its story is told.
///
/// Exit status: 0 all valid; 1 a guarantee was broken; 2 a checker could not tell;
/// 3 no progress although all faults were over; 4 a node panicked; 254 wrong
/// arguments; 255 the bench itself failed. Ctrl-C ends the exploration, or the
/// shrinking with the best so far; real processes it ends at once.
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExploreArgs {
    /// Which workload to explore
    #[arg(short, long)]
    workload: String,
    /// How many seeds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) seeds: u64,
    /// How many seconds, instead of a number of seeds
    #[arg(long, value_name = "SECONDS", conflicts_with = "seeds", value_parser = seconds)]
    pub(super) r#for: Option<f64>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    pub(super) from: u64,
    /// How many runs at a time; by default one for each core. The result is the same
    #[arg(short, long)]
    jobs: Option<NonZero<usize>>,
    /// How many runs shrinking may take; 0 for none
    #[arg(long, default_value_t = 2000)]
    shrink: usize,
    /// Where the plan of a run that failed goes [default: WORKLOAD-SEED.plan.edn]
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Explores this binary as real processes instead: not deterministic, not shrunk;
    /// nodes get no arguments but those after --
    #[arg(long, value_name = "PATH", conflicts_with_all = ["jobs", "shrink", "plan"])]
    nodes_bin: Option<PathBuf>,
    /// What transactions are held to, separated by commas
    #[arg(long, default_value = "strict-serializable")]
    consistency_models: String,
    /// Required fraction of successful operations in runs that take no node down: none,
    /// total or 0 to 1
    #[arg(long, default_value = "none")]
    availability: Demand,
    /// Options for the nodes, after --
    #[arg(last = true)]
    pub(super) args: Vec<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    let is_fine = seconds > 0.0 && seconds.is_finite();
    if is_fine { Ok(seconds) } else { Err("a number of seconds above 0".into()) }
}

/// Runs the command.
pub fn run(args: &ExploreArgs) -> Exit {
    if let Some(bin) = &args.nodes_bin {
        return explore_bin::run(args, bin);
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    // The second Ctrl-C ends the process as ever.
    let armed = signal_hook::flag::register_conditional_default(
        signal_hook::consts::SIGINT,
        interrupted.clone(),
    )
    .and_then(|_| signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone()));
    if let Err(e) = armed {
        return crash(&format!("cannot catch signals: {e}"));
    }
    run_on(args, &factory, &|| interrupted.load(Ordering::Relaxed))
}

/// Explores these nodes until `stop` says so.
fn run_on(args: &ExploreArgs, nodes: &Nodes, stop: &(dyn Fn() -> bool + Sync)) -> Exit {
    let space = space(args);
    let started = unix_millis();
    let tally = match explore(args, &space, nodes, stop) {
        Ok(tally) => tally,
        Err(message) => return usage(&message),
    };
    report(&tally.sums, started);
    for (mark, hits) in tally.sums.coverage() {
        let never = if hits == 0 { "  NEVER" } else { "" };
        let runs = tally.sums.runs;
        say(format_args!("  {:<46} in {hits} of {runs} runs{never}", mark.text()));
    }
    match tally.failed {
        None if stop() => {
            say("Interrupted; all valid so far.");
            Exit::Verdict(Verdict::Unknown)
        }
        None if tally.sums.operations > 0 && tally.sums.succeeded == 0 => {
            say("Nothing is wrong, but no operation succeeded: nothing was tested.");
            Exit::Verdict(Verdict::Unknown)
        }
        None => {
            say("All valid.");
            Exit::Verdict(Verdict::Valid)
        }
        Some((seed, Failure::Bench(message))) => {
            let run = derive(&space, Seed(seed));
            say(format_args!("Seed {seed}. Run it again with:\n  {}", command(&run)));
            crash(&message)
        }
        Some((seed, Failure::Run(outcome))) => {
            let run = derive(&space, Seed(seed));
            say(format_args!("Seed {seed}: {:?}: {}", outcome.verdict, outcome.why));
            say(format_args!("Replay it with:\n  {}", command(&run)));
            if outcome.symptom.is_some() && args.shrink > 0 {
                let config = RunConfig::new(run, Seed(seed));
                if let Err(message) = config.and_then(|c| explain(args, &c, nodes, stop)) {
                    return crash(&message);
                }
            }
            exit_of(&outcome)
        }
    }
}

pub(super) fn space(args: &ExploreArgs) -> Space {
    let mut space = Space {
        consistency_models: args.consistency_models.clone(),
        availability: args.availability,
        args: args.args.clone(),
        ..Space::of(&args.workload)
    };
    if space.args.is_empty() {
        // Nodes that serve everything cannot know what a bare `read` means while all
        // that ever happened was reads; an exploration meets such runs.
        space.args = vec![served(&args.workload).to_owned()];
        // Whoever names options wants these and no others.
        space.tuned = args.nodes_bin.is_none();
    }
    space
}

fn explore(
    args: &ExploreArgs,
    space: &Space,
    nodes: &Nodes,
    interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<Tally, String> {
    let jobs = args.jobs.map_or_else(cores, NonZero::get);
    let (from, started) = (args.from, unix_millis());
    let seeds = if args.r#for.is_some() { u64::MAX } else { args.seeds };
    let amount = match args.r#for {
        Some(seconds) => format!("from {from} for {seconds} s"),
        None => format!("{from} to {}", from.saturating_add(seeds - 1)),
    };
    say(format_args!("Exploring {}: seeds {amount}, {jobs} at a time", args.workload));
    let elapsed = || (unix_millis() - started) as f64 / 1000.0;
    let (bar, signs) = (progress_bar(args), Signs::default());
    let stop = || interrupted() || args.r#for.is_some_and(|limit| elapsed() >= limit);
    let watch = |sums: &Sums| {
        let seconds = elapsed().max(0.001);
        bar.set_position(if args.r#for.is_some() { seconds as u64 } else { sums.runs });
        bar.set_message(tell(sums, seconds));
        signs.show(|| tell(sums, seconds));
    };
    let swarm = Swarm { space, nodes, from, seeds, jobs, stop: &stop, watch: &watch };
    let tally = swarm.run();
    bar.finish_and_clear();
    tally
}

/// A line on a terminal, nothing in a pipe.
pub(super) fn progress_bar(args: &ExploreArgs) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let length = args.r#for.map_or(args.seeds, |seconds| seconds as u64);
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len}  {wide_msg}");
    ProgressBar::new(length).with_style(style.expect("the template is constant and well-formed"))
}

fn tell(sums: &Sums, seconds: f64) -> String {
    format!(
        "{} runs, {} operations, {} acts of the nemesis in {seconds:.1} s: \
         {:.1} runs/s, {:.0} simulated seconds per second",
        sums.runs,
        sums.operations,
        sums.acts,
        sums.runs as f64 / seconds,
        sums.simulated_seconds / seconds,
    )
}

fn report(sums: &Sums, started: u64) {
    let seconds = ((unix_millis() - started) as f64 / 1000.0).max(0.001);
    say(tell(sums, seconds));
}

/// Shrinks the run that failed, writes its plan, tells its story.
fn explain(
    args: &ExploreArgs,
    config: &RunConfig,
    nodes: &Nodes,
    stop: &dyn Fn() -> bool,
) -> Result<(), String> {
    // A number of runs, not of seconds: the same seed, the same smallest run.
    let shrunk = smallest(config, nodes, &Budget { runs: args.shrink, stop })?;
    if !shrunk.fails {
        say("As a plan it does not fail in this way, so it is not shrunk.");
        return Ok(());
    }
    let seed = config.seed.0;
    let name = || PathBuf::from(format!("{}-{seed}.plan.edn", args.workload));
    let wanted = args.plan.clone().unwrap_or_else(name);
    let text = shrunk.plan.to_text()?;
    let written = write_new(&wanted, &text);
    let path = written.as_ref().map_or(&wanted, |path| path).clone();
    let end = if shrunk.complete { "" } else { " (there may be a smaller one)" };
    say(format_args!(
        "Shrunk in {} runs to {} nodes, {} operations, {} faults, {:.1} s{end}:\n",
        shrunk.runs,
        shrunk.plan.config()?.nodes.len(),
        shrunk.plan.script.ops.len(),
        shrunk.plan.faults(),
        shrunk.plan.run.time_limit,
    ));
    say(Story::of(&shrunk.plan, nodes)?);
    let name = path.display().to_string();
    if path != wanted {
        say(format_args!("\n{} is there already and stays as it is.", wanted.display()));
    }
    match written {
        Ok(_) => say(format_args!("\nReplay this one with:\n  seaworthy replay {}", quote(&name))),
        // The story is told, and the verdict stands.
        Err(e) => say(format_args!("\nThe plan could not be written: {name}: {e}")),
    }
    Ok(())
}

/// Writes a text to a file that there is not yet, or that has this text, and says which:
/// `NAME`, or `NAME-2` and so on before the endings.
fn write_new(wanted: &Path, text: &str) -> io::Result<PathBuf> {
    let name = wanted.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (stem, endings) = name.split_once('.').unwrap_or((&name, ""));
    let dot = if endings.is_empty() { "" } else { "." };
    for n in 1_u32.. {
        let path = match n {
            1 => wanted.to_owned(),
            n => wanted.with_file_name(format!("{stem}-{n}{dot}{endings}")),
        };
        match File::create_new(&path) {
            Ok(mut file) => return file.write_all(text.as_bytes()).map(|()| path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
                    return Ok(path);
                }
            }
            Err(e) => return Err(e),
        }
    }
    unreachable!("some number is free")
}

/// The exit status of a run.
pub(super) fn exit_of(outcome: &Outcome) -> Exit {
    match outcome.symptom.as_ref().map(|symptom| symptom.class) {
        Some(Class::Crash) => Exit::NodeCrash,
        Some(Class::Progress) => Exit::NoProgress,
        _ => Exit::Verdict(outcome.verdict),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use seaworthy::message::{ErrorCode, RpcError};
    use seaworthy::node::{Context, Event, Workload};
    use serde_json::json;

    use super::*;
    use crate::arm::sim::Factory;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        explore: ExploreArgs,
    }

    /// A node for broadcast that knows no message.
    #[derive(Clone, Copy, PartialEq)]
    enum Planted {
        /// Acknowledges what it forgets.
        Forgetful,
        /// The same, and refuses to be read.
        Secretive,
        /// Answers nothing once it is asked something.
        Mute,
        /// Panics when it is asked something.
        Fragile,
    }

    impl Workload for Planted {
        fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
            let Event::Message(message) = event else { return };
            let request = message.request();
            match (*self, message.body.kind.as_str()) {
                (_, "topology") => cx.reply(&request, &json!({"type": "topology_ok"})),
                (Planted::Mute, _) => {}
                (Planted::Fragile, _) => panic!("not for me"),
                (_, "broadcast") => cx.reply(&request, &json!({"type": "broadcast_ok"})),
                (Planted::Secretive, _) => {
                    cx.error(&request, &RpcError::new(ErrorCode::ABORT, "no"));
                }
                _ => cx.reply(&request, &json!({"type": "read_ok", "messages": []})),
            }
        }
    }

    fn exit(nodes: &Nodes) -> Exit {
        let dir = tempfile::tempdir().unwrap();
        let plan = dir.path().join("plan.edn");
        let flags = ["test", "-w", "broadcast", "--seeds", "3", "--shrink", "5", "--plan"];
        let flags = flags.map(str::to_owned).into_iter().chain([plan.display().to_string()]);
        let exit = run_on(&Command::parse_from(flags).explore, nodes, &|| false);
        let fails = !matches!(exit, Exit::Verdict(Verdict::Valid) | Exit::Crash);
        assert_eq!(plan.exists(), fails, "a plan is written if a run failed");
        exit
    }

    fn planted(node: Planted) -> Exit {
        exit(&move |_: &RunConfig| Ok(Box::new(move || Box::new(node) as _)))
    }

    #[test]
    fn the_exit_status_tells_how_nodes_fail() {
        assert_eq!(exit(&factory), Exit::Verdict(Verdict::Valid));
        assert_eq!(planted(Planted::Forgetful), Exit::Verdict(Verdict::Invalid));
        assert_eq!(planted(Planted::Secretive), Exit::Verdict(Verdict::Unknown));
        assert_eq!(planted(Planted::Mute), Exit::NoProgress);
        assert_eq!(planted(Planted::Fragile), Exit::NodeCrash);
    }

    #[test]
    fn a_plan_that_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("echo-7.plan.edn");
        let name = |text: &str| {
            let path = write_new(&wanted, text).unwrap();
            path.file_name().unwrap().to_string_lossy().into_owned()
        };
        assert_eq!(name("a"), "echo-7.plan.edn");
        assert_eq!(name("b"), "echo-7-2.plan.edn");
        assert_eq!(name("a"), "echo-7.plan.edn", "the same plan is there");
        assert_eq!(name("c"), "echo-7-3.plan.edn");
        assert_eq!(fs::read_to_string(&wanted).unwrap(), "a");
        assert!(write_new(&dir.path().join("no/where"), "a").is_err());
    }

    #[test]
    fn a_bug_of_the_bench_is_not_taken_for_one_of_the_nodes() {
        // The first call shows mistakes in the arguments; the second is of a run.
        let first = AtomicBool::new(true);
        let nodes = move |_: &RunConfig| {
            assert!(first.swap(false, Ordering::Relaxed), "the bench cannot make nodes");
            Ok(Box::new(|| Box::new(Planted::Mute) as Box<dyn Workload + Send>) as Factory)
        };
        assert_eq!(exit(&nodes), Exit::Crash);
    }
}
