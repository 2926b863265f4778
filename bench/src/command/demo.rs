//! `seaworthy demo`: every workload once, on our own nodes.

use clap::Args;

use super::{Exit, say, usage};
use crate::challenge::{Challenge, Challenges};
use crate::check::Verdict;
use crate::config::{RunArgs, RunConfig};
use crate::history::pairs;
use crate::judge::judge;
use crate::run::Run;
use crate::seed::Seed;

/// Runs every workload once on our own nodes, simulated, under partitions, and prints a line
/// for each: the tour, and a check that all is well. Nothing is written.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Simulated seconds during which operations are issued
    #[arg(long, default_value_t = 10.0)]
    time_limit: f64,
    /// Seed of the runs
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
pub fn run(args: &DemoArgs, challenges: &Challenges) -> Exit {
    let mut worst = Verdict::Valid;
    for challenge in challenges.iter() {
        match show(args, challenge) {
            Ok(verdict) => worst = worst.max(verdict),
            Err(message) => return usage(&message),
        }
    }
    Exit::Verdict(worst)
}

fn show(args: &DemoArgs, challenge: &dyn Challenge) -> Result<Verdict, String> {
    let workload = challenge.name();
    let (seconds, seed) = (args.time_limit.to_string(), args.seed.to_string());
    let flags = ["-w", workload, "--node-count", "3", "--concurrency", "6", "--rate", "50"];
    let more = ["--time-limit", &seconds, "--nemesis", "partition", "--nemesis-interval", "3"];
    let last = ["--seed", &seed];
    let run = RunArgs::from_flags(flags.into_iter().chain(more).chain(last));
    let mut run = run.map_err(|e| e.to_string())?;
    run.args = challenge.arguments();
    let config = RunConfig::new(run, Seed(args.seed))?;
    let ran = Run::of(challenge, &config).simulate()?;
    let (outcome, report) = (judge(&ran), &ran.report);
    let count = pairs(&report.history).map_or(0, |pairs| pairs.len());
    let why = match outcome.verdict {
        Verdict::Valid => "valid".to_owned(),
        Verdict::Invalid => format!("INVALID: {}", outcome.decide().why),
        Verdict::Unknown => format!("unknown: {}", outcome.decide().why),
    };
    let messages = report.counts.servers.sent;
    say(format_args!("{workload:<16} {count:>5} operations {messages:>7} messages  {why}"));
    Ok(outcome.verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_nodes_serve_every_workload() {
        let args = DemoArgs { time_limit: 3.0, seed: 1 };
        assert_eq!(run(&args, &Challenges::builtin()), Exit::Verdict(Verdict::Valid));
    }
}
