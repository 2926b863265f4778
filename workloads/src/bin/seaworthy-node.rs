//! `seaworthy-node`: a workload, run on stdin and stdout.
//!
//! Exit status 0 after the end of stdin, 1 if storage or the pipes fail, 2 for a
//! mistake on the command line.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use seaworthy::driver::{DataDir, Volatile, run_stdio};
use seaworthy::node::Workload;
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
        Some(url) if is_database(url) => run_in_database(workload, url)?,
        Some(dir) => run_stdio(workload, DataDir::new(dir))?,
    }
    Ok(())
}

/// A URL in the place of the directory.
fn is_database(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|text| text.starts_with("postgres://") || text.starts_with("postgresql://"))
}

#[cfg(feature = "postgres")]
fn run_in_database(workload: Box<dyn Workload + Send>, url: &Path) -> anyhow::Result<()> {
    use seaworthy::driver::Database;
    use seaworthy::storage::postgres::PostgresUrl;
    let url = PostgresUrl::parse(&url.to_string_lossy());
    let url = url.map_err(|why| anyhow::anyhow!("--data-dir: {why}"))?;
    Ok(run_stdio(workload, Database::new(url))?)
}

#[cfg(not(feature = "postgres"))]
fn run_in_database(_: Box<dyn Workload + Send>, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!(
        "--data-dir: this program was built without PostgreSQL: cargo build --release -p \
         seaworthy-workloads --features postgres"
    )
}
