//! `seaworthy serve`: the store in a browser.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use tiny_http::{Header, Method, Request, Response, Server};

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

/// Requests that are answered at a time: a browser opens a handful, and a client that does not read
/// its answer holds one.
const WORKERS: usize = 16;

/// Runs the command.
pub fn run(args: &ServeArgs, challenges: &Challenges) -> Exit {
    if !args.store.is_dir() {
        return usage(&format!("{}: no such directory", args.store.display()));
    }
    let server = match Server::http(SocketAddr::new(args.host, args.port)) {
        Ok(server) => server,
        Err(e) => return crash(&format!("{}:{}: {e}", args.host, args.port)),
    };
    say(format_args!("http://{}/", server.server_addr()));
    let judge = |dir: &Path| analyze::so_far(dir, challenges).ok();
    let site = Site { store: &args.store, judge: &judge };
    let take = |request| reply(args, &site, request);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| server.incoming_requests().for_each(take));
        }
    });
    Exit::Verdict(Verdict::Valid)
}

fn reply(args: &ServeArgs, site: &Site<'_>, request: Request) {
    let is_read = matches!(request.method(), Method::Get | Method::Head);
    let refusal = |status: u16| Answer {
        status,
        kind: "text/plain; charset=utf-8",
        body: Body::Text("refused\n".to_owned()),
    };
    let Answer { status, kind, body } = match () {
        () if !is_read => refusal(405),
        () if !is_ours(args, &request) => refusal(403),
        () => answer(site, request.url()),
    };
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'";
    let mut headers = vec![
        ("Content-Type", kind),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ];
    // A report has a policy of its own, for the script in it; here it sees nothing of the store.
    let is_report = matches!(body, Body::File(_)) && kind == "text/html; charset=utf-8";
    let policy = if is_report { "sandbox allow-scripts" } else { policy };
    headers.push(("Content-Security-Policy", policy));
    let headers =
        headers.into_iter().filter_map(|(name, value)| Header::from_bytes(name, value).ok());
    // That a client has gone is its own affair.
    let _ = match body {
        Body::Text(text) => request.respond(
            headers
                .fold(Response::from_string(text).with_status_code(status), Response::with_header),
        ),
        Body::File(file) => request.respond(
            headers.fold(Response::from_file(file).with_status_code(status), Response::with_header),
        ),
    };
}

/// Whether a request names this machine: a page from elsewhere whose name was pointed at the
/// loopback address does not.
fn is_ours(args: &ServeArgs, request: &Request) -> bool {
    if !args.host.is_loopback() {
        return true;
    }
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    let name = host.map_or("", |header| header.value.as_str());
    // An address in brackets has colons of its own, and a port outside of them.
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match name.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => name,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name == args.host.to_string()
}
