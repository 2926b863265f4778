//! `seaworthy explore --nodes-bin`: the same swarm of configurations on real processes.
//!
//! On the real clock a seed stands for a configuration, not for a run: a run that fails once may
//! pass the next time. So there is nothing to shrink, runs are short, and they come one after the
//! other, so that they do not take each other's processor. Faults of clock and disk are left out,
//! which only the simulation has.

use std::path::Path;

use super::args::{ExploreArgs, progress_bar, space};
use crate::backend::process::{Children, NodeCommand, resolve, unix_millis};
use crate::challenge::Challenge;
use crate::check::Verdict;
use crate::command::{Exit, crash, say, usage};
use crate::config::{Fault, RunArgs, RunConfig, command, quote};
use crate::explore::{Trial, derive};
use crate::run::Run;
use crate::seed::Seed;

/// Seconds of operations in a run, under faults and without.
const TIME_LIMIT_S: f64 = 3.0;
const QUIET_PHASE_S: f64 = 5.0;
/// Milliseconds of latency, at most: a run this short has to get somewhere.
const LATENCY_MAX_MS: f64 = 20.0;

/// Explores the binary `bin`.
pub(super) fn run(args: &ExploreArgs, challenge: &dyn Challenge, bin: &Path) -> Exit {
    let children = Children::default();
    if let Err(e) = children.end_with_the_bench() {
        return crash(&format!("cannot catch signals: {e}"));
    }
    say("Real processes on the real clock: not deterministic, a seed may fail only sometimes.");
    let started = unix_millis();
    let elapsed = || (unix_millis() - started) as f64 / 1000.0;
    let bar = progress_bar(args);
    let mut runs = 0;
    while args.r#for.map_or(runs < args.seeds, |limit| elapsed() < limit) {
        let seed = args.from.saturating_add(runs);
        let mut run = derive(&space(args, challenge), Seed(seed));
        run.args.clone_from(&args.args);
        // Not every node lets clients choose the members.
        run.nemesis.retain(|fault| *fault != Fault::Membership);
        real(&mut run);
        match attempt(challenge, &run, bin, &children) {
            Ok(Exit::Verdict(Verdict::Valid)) => {
                runs += 1;
                bar.set_position(if args.r#for.is_some() { elapsed() as u64 } else { runs });
                bar.set_message(format!("{runs} runs in {:.0} s, all valid", elapsed()));
            }
            Ok(exit) => {
                bar.finish_and_clear();
                say(format_args!("Seed {seed}. Try it again with:"));
                // Before the flags, as the last of them may be those of the nodes.
                let bin = quote(&bin.display().to_string());
                let with_bin = format!("seaworthy test --bin {bin}");
                say(format_args!("  {}", command(&run).replacen("seaworthy test", &with_bin, 1)));
                return exit;
            }
            Err(message) => return usage(&message),
        }
    }
    bar.finish_and_clear();
    say(format_args!("{runs} runs in {:.1} s. All valid.", elapsed()));
    Exit::Verdict(Verdict::Valid)
}

/// Adapts a run to the real clock.
fn real(run: &mut RunArgs) {
    run.time_limit = TIME_LIMIT_S;
    run.latency = run.latency.min(LATENCY_MAX_MS);
    run.latency_spread =
        f64::min(run.latency_spread, LATENCY_MAX_MS / run.latency.max(1.0)).max(1.0);
    run.nemesis_interval = run.nemesis_interval.min(TIME_LIMIT_S / 3.0);
    let chaos = &mut run.chaos;
    chaos.quiet_phase = QUIET_PHASE_S;
    (chaos.clock_skew, chaos.fsync, chaos.torn_writes) = (0.0, 0.0, 0.0);
    chaos.roll_back = 0.0;
}

fn attempt(
    challenge: &dyn Challenge,
    run: &RunArgs,
    bin: &Path,
    children: &Children,
) -> Result<Exit, String> {
    let config = RunConfig::new(run.clone(), Seed(0))?;
    let log_dir = std::env::temp_dir().join(format!("seaworthy-explore-{}", std::process::id()));
    std::fs::create_dir_all(&log_dir).map_err(|e| format!("{}: {e}", log_dir.display()))?;
    let command = NodeCommand {
        bin: resolve(bin)?,
        args: run.args.clone(),
        log_dir: log_dir.clone(),
        echo_stderr: false,
        children: children.clone(),
    };
    let trial = Trial::of(&Run::of(challenge, &config).processes(command)?);
    if trial.verdict != Verdict::Valid {
        say(format_args!("{:?}: {}", trial.verdict, trial.why));
        say(format_args!("The nodes' logs: {}", log_dir.display()));
    } else {
        // A file that cannot be removed from a directory for temporary files does no harm there.
        let _ = std::fs::remove_dir_all(&log_dir);
    }
    Ok(Exit::of(&trial))
}
