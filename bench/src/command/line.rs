//! The whole command line, over the challenges that it is given.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::{analyze, check, demo, doc, explore, merge, plot, replay, serve, summary, test};
use crate::challenge::Challenges;

/// A test bench for distributed systems, with Maelstrom's flags and without a JVM.
#[derive(Parser)]
#[command(name = "seaworthy", version, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Test(Box<test::TestArgs>),
    Explore(explore::ExploreArgs),
    Replay(replay::ReplayArgs),
    Check(check::CheckArgs),
    Merge(merge::MergeArgs),
    Plot(plot::PlotArgs),
    Serve(serve::ServeArgs),
    Summary(summary::SummaryArgs),
    Analyze(analyze::AnalyzeArgs),
    Demo(demo::DemoArgs),
    Doc(doc::DocArgs),
}

/// Jepsen's exit status for arguments that make no sense; 2 would mean "unknown".
const USAGE_STATUS: u8 = 254;

/// The workload of `seaworthy test` that names none, if it is there.
const DEFAULT: &str = "lin-kv";

/// Reads the arguments of this process and carries out the command in them.
pub fn main(challenges: impl Into<Challenges>) -> ExitCode {
    let challenges = challenges.into();
    let cli = match parse(&challenges) {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { USAGE_STATUS } else { 0 };
            // The terminal may be gone, and with it every reader.
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    match cli.command {
        Command::Test(args) => test::run(*args, &challenges).into(),
        Command::Explore(args) => explore::run(&args, &challenges).into(),
        Command::Replay(args) => replay::run(&args, &challenges).into(),
        Command::Check(args) => check::run(&args, &challenges),
        Command::Merge(args) => merge::run(&args).into(),
        Command::Plot(args) => plot::run(&args).into(),
        Command::Serve(args) => serve::run(&args, &challenges).into(),
        Command::Summary(args) => summary::run(&args).into(),
        Command::Analyze(args) => analyze::run(&args, &challenges).into(),
        Command::Demo(args) => demo::run(&args, &challenges).into(),
        Command::Doc(args) => doc::run(&args, &challenges).into(),
    }
}

fn parse(challenges: &Challenges) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command(challenges).try_get_matches()?)
}

/// The command with the names of these challenges in it.
fn command(challenges: &Challenges) -> clap::Command {
    let judged = PossibleValuesParser::new(challenges.judged());
    let command = Cli::command();
    let command = command.mut_subcommand("check", |check| {
        check.mut_arg("workload", |workload| workload.value_parser(judged))
    });
    match challenges.names().first() {
        Some(first) if challenges.find(DEFAULT).is_err() => command
            .mut_subcommand("test", |test| {
                test.mut_arg("workload", |workload| workload.default_value(*first))
            }),
        _ => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_that_there_is_not_is_refused() {
        let command = command(&Challenges::builtin());
        let parse = |args: &[&str]| command.clone().try_get_matches_from(args).is_ok();
        assert!(parse(&["seaworthy", "check", "-w", "bank", "x"]));
        assert!(!parse(&["seaworthy", "check", "-w", "juggle", "x"]));
    }
}
