//! Requests over HTTP, each with an end.
//!
//! `ureq` sends nothing twice: a request that meets a dead connection of the pool is an error
//! like any other. Redirects are not followed, since a client asks the server that it asks.

// The end of a request is on the real clock.
#![allow(clippy::disallowed_methods)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::{Method, Request, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

use super::refused::{Refused, of_http};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 64 << 20;
/// The rest of a request's time is never shorter than this: zero would mean no limit.
const LEAST: Duration = Duration::from_millis(1);

/// Connections of one client to one server.
pub(crate) struct Http {
    agent: Agent,
    base: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// For a server at this port of this machine.
    pub(crate) fn new(port: u16) -> Http {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(1)
            .proxy(None);
        let known = Known(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), known);
        Http { agent, base: format!("http://127.0.0.1:{port}") }
    }

    /// Sends a request and waits for all of its answer.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        until: Instant,
    ) -> Result<Answer, Refused> {
        let response = self.open(method, path, headers, body, until)?;
        let (parts, body) = response.into_parts();
        let etag = parts.headers.get("etag").and_then(|tag| tag.to_str().ok());
        let config = body.into_with_config().limit(ANSWER_BYTES);
        let body = config.read_to_vec().map_err(|e| of_http(&e))?;
        Ok(Answer { status: parts.status.as_u16(), etag: etag.map(str::to_owned), body })
    }

    /// Sends a request and waits for the beginning of its answer.
    pub(crate) fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        until: Instant,
    ) -> Result<ureq::http::Response<Body>, Refused> {
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|e| {
            Refused::new(seaworthy::message::ErrorCode::MALFORMED_REQUEST, format!("{path}: {e}"))
        })?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|e| of_http(&ureq::Error::Http(e)))?;
        let left = until.saturating_duration_since(Instant::now()).max(LEAST);
        let request = self.agent.configure_request(request).timeout_global(Some(left)).build();
        self.agent.run(request).map_err(|e| of_http(&e))
    }
}

/// The address of a server, which nothing has to look up. The library's own resolver starts a thread
/// for each request that has a time limit, even if its URI names an address.
#[derive(Debug)]
struct Known(SocketAddr);

impl Resolver for Known {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}
