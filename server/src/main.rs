//! `seaworthy-server`: flags, log, signals.

use std::process::ExitCode;

use clap::Parser;
use seaworthy_server::config::Config;
use seaworthy_server::server;
use tokio::signal::unix::{SignalKind, signal};

/// A replicated key-value store that speaks etcd's v3 API.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let Arguments { config } = Arguments::parse();
    start_log(&config.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(server::run(config, interrupted())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
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
