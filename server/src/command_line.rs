//! The command line of the server: flags, log, signals, and the status of the process. A module of the
//! library, so that a binary of the bench can be the same server with a planted bug.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::offline::{self, Backup, Place};
use crate::{config_file, demo, server};

/// A replicated key-value store that speaks etcd's v3 API.
#[derive(Parser)]
#[command(version, about, args_override_self = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Subcommand)]
enum Command {
    /// Run three servers on this machine, with their data in a temporary directory, and print
    /// the commands to type next
    Demo,
    /// Print the log of a server, a line an entry: index, term, type, key, value
    Log {
        /// Its data directory, or the URL that it has as --store
        #[arg(value_parser = Place::parse)]
        place: Place,
    },
    /// Look at backups that `etcdctl snapshot save` wrote, and make new clusters of them
    #[command(subcommand)]
    Snapshot(offline::Backup),
    /// Make a new cluster out of the last server of one that lost its quorum
    Recover(offline::Recover),
}

/// Does what the command line asks for, of which the first word is the program. The answer is the status
/// of the process, which ends here if the line is wrong.
pub fn run(line: Vec<OsString>) -> ExitCode {
    let Arguments { command, config } = arguments(line);
    start_log(&config.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match command {
        Some(Command::Demo) => runtime.block_on(demo::run(interrupted())),
        Some(Command::Log { place }) => runtime.block_on(offline::print(&place)),
        Some(Command::Snapshot(Backup::Status { file })) => offline::status(&file),
        Some(Command::Snapshot(Backup::Restore(wanted))) => {
            runtime.block_on(offline::restore(&wanted))
        }
        Some(Command::Recover(wanted)) => runtime.block_on(offline::recover(&wanted)),
        None => runtime.block_on(server::run(config, interrupted())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            match error.is::<server::Removed>() {
                true => ExitCode::from(REMOVED),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// The status of a server that was removed from its cluster: to start it again is in vain.
const REMOVED: u8 = 3;

/// Reads the command line and the file that it names. The process ends if either is wrong.
fn arguments(given: Vec<OsString>) -> Arguments {
    let mut command = Arguments::command();
    let found = command.try_get_matches_from_mut(&given).unwrap_or_else(|error| error.exit());
    let all = match found.get_one::<PathBuf>("config") {
        None => given,
        Some(path) => config_file::put_before(&command, path, given)
            .unwrap_or_else(|why| command.error(ErrorKind::ValueValidation, why).exit()),
    };
    let found = command.get_matches_from(all);
    Arguments::from_arg_matches(&found).unwrap_or_else(|error| error.exit())
}

/// Ends at the first SIGTERM or SIGINT.
async fn interrupted() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// One line an event on stderr; `RUST_LOG` filters.
fn start_log(format: &str) {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_env_filter(filter.from_env_lossy());
    match format {
        "json" => log.json().init(),
        _ => log.init(),
    }
}
