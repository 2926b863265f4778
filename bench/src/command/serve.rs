//! `seaworthy serve`: the store in a browser.
//!
//! All connections are tasks of one thread, so a client that does not read its answer holds memory
//! for one piece of it and nothing else; pages are made on a few other threads.
#![expect(clippy::disallowed_methods, reason = "sockets and their clients live by real time")]

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::pieces::Pieces;
use super::{Exit, analyze, crash, say, usage};
use crate::challenge::Challenges;
use crate::check::Verdict;
use crate::serve::{Answer, Body, Site, answer};

/// Shows the runs of a store as pages: newest first, to filter, sort and compare, with their
/// reports and files; of a run that is going on the operations, the messages a second and the
/// verdict so far. Ctrl-C ends it.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The address; one that is not of this machine alone shows the store to others
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port; 0 for any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The store
    #[arg(long, default_value = "store")]
    store: PathBuf,
}

/// Connections at a time. A browser opens a handful.
const CONNECTIONS: usize = 256;

/// Pages that are made at a time.
const WORKERS: usize = 4;

/// A connection ends if it has been still for so long: it has neither asked nor taken a piece of an
/// answer. So clients that do nothing keep others out for twice as long at most.
const STILL: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(args: &ServeArgs, challenges: &Challenges) -> Exit {
    if !args.store.is_dir() {
        return usage(&format!("{}: no such directory", args.store.display()));
    }
    let challenges = challenges.clone();
    let judge = move |dir: &Path| analyze::so_far(dir, &challenges).ok();
    let site = Site { store: args.store.clone(), judge: Box::new(judge) };
    let served = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WORKERS)
        .build()
        .and_then(|runtime| runtime.block_on(serve(args.host, args.port, Arc::new(site))));
    match served {
        Ok(()) => Exit::Verdict(Verdict::Valid),
        Err(e) => crash(&format!("{}:{}: {e}", args.host, args.port)),
    }
}

/// Serves until the process ends.
///
/// # Errors
/// If the port cannot be had.
async fn serve(host: IpAddr, port: u16, site: Arc<Site>) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::new(host, port)).await?;
    say(format_args!("http://{}/", listener.local_addr()?));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    connection(stream, host, site).await;
                    drop(place);
                });
            }
            // Mostly a lack of descriptors, which ends as connections end.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Answers the requests of one connection until it ends or is still.
async fn connection(stream: TcpStream, host: IpAddr, site: Arc<Site>) {
    let moved = Arc::new(AtomicBool::new(true));
    let service = service_fn(|request: Request<Incoming>| {
        let (site, moved) = (Arc::clone(&site), Arc::clone(&moved));
        moved.store(true, Relaxed);
        async move {
            let made = spawn_blocking(move || reply(host, &site, &request)).await;
            let answer = made.unwrap_or_else(|_| refusal(500));
            moved.store(true, Relaxed);
            Ok::<_, Infallible>(response(answer, moved))
        }
    });
    // The buffer bounds what waits for a client that does not read.
    let mut http = http1::Builder::new();
    let mut http =
        std::pin::pin!(http.max_buf_size(64 << 10).serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            // That a client has gone is its own affair.
            _ = &mut http => return,
            () = sleep(STILL) => if !moved.swap(false, Relaxed) { return },
        }
    }
}

fn refusal(status: u16) -> Answer {
    Answer { status, kind: "text/plain; charset=utf-8", body: Body::Text("refused\n".to_owned()) }
}

fn reply(host: IpAddr, site: &Site, request: &Request<Incoming>) -> Answer {
    let named = request.headers().get(header::HOST).and_then(|name| name.to_str().ok());
    match () {
        () if ![Method::GET, Method::HEAD].contains(request.method()) => refusal(405),
        () if !is_ours(host, named.unwrap_or_default()) => refusal(403),
        () => answer(site, request.uri().path_and_query().map_or("", |path| path.as_str())),
    }
}

fn response(Answer { status, kind, body }: Answer, moved: Arc<AtomicBool>) -> Response<Pieces> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'";
    // A report has a policy of its own, for the script in it; here it sees nothing of the store.
    let is_report = matches!(body, Body::File(_)) && kind == "text/html; charset=utf-8";
    let policy = if is_report { "sandbox allow-scripts" } else { policy };
    let mut response = Response::new(Pieces::of(body, moved));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a request names this machine: a page from elsewhere whose name was pointed at the
/// loopback address does not.
fn is_ours(host: IpAddr, name: &str) -> bool {
    if !host.is_loopback() {
        return true;
    }
    // An address in brackets has colons of its own, and a port outside of them.
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match name.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => name,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name == host.to_string()
}
