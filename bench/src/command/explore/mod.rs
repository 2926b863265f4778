//! `seaworthy explore`: many runs, each derived from a seed, until one fails.

mod args;
mod file;
mod processes;
mod repeat;
mod shard;
mod simulated;

use super::{Exit, say_nothing_on_stdout, usage};
use crate::backend::server::Spec;
use crate::challenge::Challenges;

pub use args::ExploreArgs;
use processes::Crew;

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
    match (&args.nodes_bin, &args.server) {
        (Some(bin), _) => processes::run(args, challenge, &Crew::Binary(bin)),
        (None, Some(name)) => match Spec::load(name) {
            Ok(spec) => processes::run(args, challenge, &Crew::Servers(&spec)),
            Err(message) => usage(&message),
        },
        (None, None) => simulated::run(args, challenge),
    }
}
