//! `seaworthy explore`: many runs, each derived from a seed, until one fails.

mod args;
mod file;
mod processes;
mod shard;
mod simulated;

use super::{Exit, say_nothing_on_stdout, usage};
use crate::challenge::Challenges;

pub use args::ExploreArgs;

/// Runs the command.
pub fn run(args: &ExploreArgs, challenges: &Challenges) -> Exit {
    let challenge = match challenges.find(&args.workload) {
        Ok(challenge) => challenge,
        Err(message) => return usage(&message),
    };
    let args = &args.of_shard();
    if args.json {
        say_nothing_on_stdout();
    }
    match &args.nodes_bin {
        Some(bin) => processes::run(args, challenge, bin),
        None => simulated::run(args, challenge),
    }
}
