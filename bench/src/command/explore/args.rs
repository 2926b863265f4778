//! The flags of `seaworthy explore`.

use std::io::IsTerminal;
use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::shard::Shard;
use crate::challenge::Challenge;
use crate::config::Demand;
use crate::explore::Space;

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
    pub(super) workload: String,
    /// How many seeds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) seeds: u64,
    /// How many seconds, instead of a number of seeds
    #[arg(long, value_name = "SECONDS", conflicts_with = "seeds", value_parser = seconds)]
    pub(super) r#for: Option<f64>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    pub(super) from: u64,
    /// Explores part K (from 0) of N of these seeds, so that N machines explore all of them;
    /// `seaworthy merge` adds up their output of --json
    #[arg(long, value_name = "K/N", conflicts_with = "for")]
    pub(super) shard: Option<Shard>,
    /// Print the result as a JSON object on standard output, and all else on standard
    /// error
    #[arg(long, conflicts_with_all = ["nodes_bin", "server"])]
    pub(super) json: bool,
    /// How many runs at a time; by default one for each core. The result is the same
    #[arg(short, long)]
    pub(super) jobs: Option<NonZero<usize>>,
    /// How many runs shrinking may take; 0 for none [default: 2000; of servers 40]
    #[arg(long)]
    pub(super) shrink: Option<usize>,
    /// How often shrinking tries a smaller run of servers
    #[arg(long, default_value_t = 3, requires = "server")]
    pub(super) tries: u64,
    /// How many of these tries must fail
    #[arg(long, default_value_t = 1, requires = "server")]
    pub(super) fails: u64,
    /// Where the plan of a run that failed goes [default: WORKLOAD-SEED.plan.edn]
    #[arg(long)]
    pub(super) plan: Option<PathBuf>,
    /// Writes no page about the run that failed, which else is beside its plan
    #[arg(long)]
    pub(super) no_report: bool,
    /// Explores this binary as real processes instead: not deterministic, not shrunk;
    /// nodes get no arguments but those after --
    #[arg(long, value_name = "PATH", conflicts_with_all = ["jobs", "shrink", "plan"])]
    pub(super) nodes_bin: Option<PathBuf>,
    /// Explores these servers instead (docs/judging-a-server.md): not deterministic, shrunk by
    /// repetition, safety only; nodes get the arguments after -- behind those of their spec
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["jobs", "plan", "nodes_bin"])]
    pub(super) server: Option<String>,
    /// Consistency models that transactions must satisfy, separated by commas
    #[arg(long, default_value = "strict-serializable")]
    pub(super) consistency_models: String,
    /// Required fraction of successful operations in runs that take no node down: none,
    /// total or 0 to 1
    #[arg(long, default_value = "none")]
    pub(super) availability: Demand,
    /// Options for the nodes, after --
    #[arg(last = true)]
    pub(super) args: Vec<String>,
}

impl ExploreArgs {
    /// The same for the part of the seeds that is this shard's.
    pub(super) fn of_shard(&self) -> ExploreArgs {
        let mut args = self.clone();
        if let Some(shard) = self.shard {
            (args.from, args.seeds) = shard.of(self.from, self.seeds);
        }
        args
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    let is_fine = seconds > 0.0 && seconds.is_finite();
    if is_fine { Ok(seconds) } else { Err("a number of seconds above 0".into()) }
}

/// Returns the space of runs that the flags leave open.
pub(super) fn space<'a>(args: &ExploreArgs, challenge: &'a dyn Challenge) -> Space<'a> {
    let mut space = Space {
        consistency_models: args.consistency_models.clone(),
        availability: args.availability,
        args: args.args.clone(),
        ..Space::of(challenge)
    };
    if space.args.is_empty() {
        space.args = challenge.arguments();
        // A user who names options wants these and no others.
        space.tuned = args.nodes_bin.is_none() && args.server.is_none();
    }
    space
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
