//! `seaworthy-node`: a workload, run on stdin and stdout.
//!
//! Exit status 0 after the end of stdin, 1 if storage or the pipes fail, 2 for a
//! mistake on the command line.

use std::process::ExitCode;

use clap::Parser;
use seaworthy::driver::{DataDir, Volatile, run_stdio};
use seaworthy_workloads::{Cli, build};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Stdout belongs to the protocol.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(cli.log_level.clone()).init();
    match serve(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            #[expect(clippy::print_stderr, reason = "the last words, whatever the log level is")]
            {
                eprintln!("seaworthy-node: {e}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: &Cli) -> anyhow::Result<()> {
    let workload = build(cli.workload.as_deref(), &cli.options())?;
    match &cli.data_dir {
        None => run_stdio(workload, Volatile)?,
        Some(dir) => run_stdio(workload, DataDir::new(dir))?,
    }
    Ok(())
}
