//! `seaworthy explore`: many seeds on all cores, until one fails.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::{ExploreArgs, progress_bar, space};
use super::file::write_new;
use super::shard::explored;
use crate::backend::process::unix_millis;
use crate::challenge::Challenge;
use crate::check::Verdict;
use crate::command::{Exit, Signs, crash, page, print_json, say, usage};
use crate::config::{RunConfig, command, quote};
use crate::explore::ordered::cores;
use crate::explore::shrink::{Budget, smallest};
use crate::explore::story::Story;
use crate::explore::swarm::{Failure, Sums, Swarm, Tally};
use crate::explore::{Space, derive};
use crate::seed::Seed;

/// How many runs shrinking may take unless told otherwise.
const SHRINK: usize = 2000;

/// Explores the nodes of a challenge.
pub(super) fn run(args: &ExploreArgs, challenge: &dyn Challenge) -> Exit {
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
    run_on(args, &space(args, challenge), &|| interrupted.load(Ordering::Relaxed))
}

/// Explores this space until `stop` says so.
fn run_on(args: &ExploreArgs, space: &Space<'_>, stop: &(dyn Fn() -> bool + Sync)) -> Exit {
    let started = unix_millis();
    let tally = match explore(args, space, stop) {
        Ok(tally) => tally,
        Err(message) => return usage(&message),
    };
    report(&tally.sums, started);
    if args.json {
        // By the clock, as many seeds as there were runs.
        let seeds = if args.r#for.is_some() { tally.sums.runs } else { args.seeds };
        let found = explored(space, (args.from, seeds), &tally, stop());
        print_json(&serde_json::to_value(found).expect("its keys are texts"));
    }
    if args.seeds == 0 {
        say("No seed is left for this part.");
        return Exit::Verdict(Verdict::Valid);
    }
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
            let run = derive(space, Seed(seed));
            say(format_args!("Seed {seed}. Run it again with:\n  {}", command(&run)));
            crash(&message)
        }
        Some((seed, Failure::Run(trial))) => {
            let run = derive(space, Seed(seed));
            say(format_args!("Seed {seed}: {:?}: {}", trial.verdict, trial.why));
            say(format_args!("Replay it with:\n  {}", command(&run)));
            if trial.symptom.is_some() && args.shrink != Some(0) {
                let config = RunConfig::new(run, Seed(seed));
                if let Err(message) = config.and_then(|c| explain(args, &c, space, stop)) {
                    return crash(&message);
                }
            }
            Exit::of(&trial)
        }
    }
}

fn explore(
    args: &ExploreArgs,
    space: &Space<'_>,
    interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<Tally, String> {
    let jobs = args.jobs.map_or_else(cores, NonZero::get);
    let (from, started) = (args.from, unix_millis());
    let seeds = if args.r#for.is_some() { u64::MAX } else { args.seeds };
    let amount = match args.r#for {
        Some(seconds) => format!("from {from} for {seconds} s"),
        None => format!("{from} to {}", from.saturating_add(seeds.saturating_sub(1))),
    };
    say(format_args!("Exploring {}: seeds {amount}, {jobs} at a time", args.workload));
    let elapsed = || (unix_millis() - started) as f64 / 1000.0;
    let (bar, signs) = (progress_bar(args), Signs::default());
    let stop = || interrupted() || args.r#for.is_some_and(|limit| elapsed() >= limit);
    let watch = |sums: &Sums| {
        let seconds = elapsed().max(0.001);
        bar.set_position(if args.r#for.is_some() { seconds as u64 } else { sums.runs });
        bar.set_message(tell(sums, seconds));
        signs.show(|_| tell(sums, seconds));
    };
    let swarm = Swarm { space, from, seeds, jobs, stop: &stop, watch: &watch };
    let tally = swarm.run();
    bar.finish_and_clear();
    tally
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
    space: &Space<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<(), String> {
    // A number of runs, not of seconds: the same seed, the same smallest run.
    let shrunk = smallest(config, space, &Budget { runs: args.shrink.unwrap_or(SHRINK), stop })?;
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
    say(Story::of(&shrunk.plan, space)?);
    let name = path.display().to_string();
    if path != wanted {
        say(format_args!("\n{} is there already and stays as it is.", wanted.display()));
    }
    if !args.no_report {
        let to = page::beside(&path);
        match page::write_plan(&shrunk.plan, space, page::replay_of(&path), &to) {
            Ok(()) => say(format_args!("\nThe run as a page: {}", to.display())),
            Err(e) => say(format_args!("\nThe page could not be written: {e}")),
        }
    }
    match written {
        Ok(_) => say(format_args!("\nReplay this one with:\n  seaworthy replay {}", quote(&name))),
        // The story is told, and the verdict stands.
        Err(e) => say(format_args!("\nThe plan could not be written: {name}: {e}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use seaworthy::message::{ErrorCode, RpcError};
    use seaworthy::node::{Context, Event, Workload};
    use serde_json::json;

    use super::*;
    use crate::backend::sim::Factory;
    use crate::challenge::builtin;
    use crate::explore::Nodes;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        explore: ExploreArgs,
    }

    /// A node for broadcast that knows no message.
    #[derive(Clone, Copy, PartialEq)]
    enum Planted {
        /// Acknowledges writes that it forgets.
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

    fn exit(nodes: Option<&Nodes>) -> Exit {
        let dir = tempfile::tempdir().unwrap();
        let plan = dir.path().join("plan.edn");
        let flags = ["test", "-w", "broadcast", "--seeds", "3", "--shrink", "5", "--plan"];
        let flags = flags.map(str::to_owned).into_iter().chain([plan.display().to_string()]);
        let exit = {
            let args = Command::parse_from(flags).explore;
            let space = Space { nodes, ..space(&args, builtin("broadcast").unwrap()) };
            run_on(&args, &space, &|| false)
        };
        let fails = !matches!(exit, Exit::Verdict(Verdict::Valid) | Exit::Crash);
        assert_eq!(plan.exists(), fails, "a plan is written if a run failed");
        exit
    }

    fn planted(node: Planted) -> Exit {
        exit(Some(&move |_: &RunConfig| Ok(Box::new(move || Box::new(node) as _))))
    }

    #[test]
    fn the_exit_status_tells_how_nodes_fail() {
        assert_eq!(exit(None), Exit::Verdict(Verdict::Valid));
        assert_eq!(planted(Planted::Forgetful), Exit::Verdict(Verdict::Invalid));
        assert_eq!(planted(Planted::Secretive), Exit::Verdict(Verdict::Unknown));
        assert_eq!(planted(Planted::Mute), Exit::NoProgress);
        assert_eq!(planted(Planted::Fragile), Exit::NodeCrash);
    }

    #[test]
    fn a_bug_of_the_bench_is_not_taken_for_one_of_the_nodes() {
        // The first call shows mistakes in the arguments; the second is of a run.
        let first = AtomicBool::new(true);
        let nodes = move |_: &RunConfig| {
            assert!(first.swap(false, Ordering::Relaxed), "the bench cannot make nodes");
            Ok(Box::new(|| Box::new(Planted::Mute) as Box<dyn Workload + Send>) as Factory)
        };
        assert_eq!(exit(Some(&nodes)), Exit::Crash);
    }
}
