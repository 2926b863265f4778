//! The `seaworthy` command: test nodes, explore seeds, judge histories.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seaworthy_bench::command::{analyze, check, demo, doc, explore, replay, summary, test};

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
    Summary(summary::SummaryArgs),
    Analyze(analyze::AnalyzeArgs),
    Demo(demo::DemoArgs),
    Doc(doc::DocArgs),
}

/// Jepsen's exit status for arguments that make no sense; 2 would mean "unknown".
const USAGE_STATUS: u8 = 254;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { USAGE_STATUS } else { 0 };
            // Nobody is left to tell if the terminal is gone.
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    match cli.command {
        Command::Test(args) => test::run(*args).into(),
        Command::Explore(args) => explore::run(&args).into(),
        Command::Replay(args) => replay::run(&args).into(),
        Command::Check(args) => check::run(&args),
        Command::Summary(args) => summary::run(&args).into(),
        Command::Analyze(args) => analyze::run(&args).into(),
        Command::Demo(args) => demo::run(&args).into(),
        Command::Doc(args) => doc::run(&args).into(),
    }
}
