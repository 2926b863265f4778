//! The `seaworthy` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use seaworthy_bench::command::check;

/// A test bench for distributed systems, with Maelstrom's flags and without a JVM.
#[derive(Parser)]
#[command(name = "seaworthy", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::CheckArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => check::run(&args),
    }
}
