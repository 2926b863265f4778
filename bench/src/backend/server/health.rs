//! Waiting until a server serves.

// A start takes real time.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hyper::Method;
use mio::net::TcpStream;
use seaworthy::message::ErrorCode;
use serde_json::{Value, json};

use super::api::Http;
use super::api::contract::Speaker;
use super::api::refused::{Refused, late, of_connect};
use super::reactor::{Source, sleep, timeout_at};
use super::spec::Health;

/// How long one attempt may take, and how long until the next.
const ATTEMPT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Answers `init` as soon as a server is healthy.
pub(super) struct Waiting {
    http: Http,
    address: SocketAddr,
    health: Health,
}

impl Waiting {
    pub(super) fn new(address: SocketAddr, health: Health) -> Waiting {
        Waiting { http: Http::new(address), address, health }
    }

    /// Whether it is healthy now.
    async fn look(&self, until: Instant) -> Result<(), Refused> {
        let until = until.min(Instant::now() + ATTEMPT);
        let Some(path) = &self.health.path else {
            let connected = timeout_at(until, Source::<TcpStream>::connect(self.address)).await;
            return connected.ok_or_else(late)?.map(drop).map_err(|e| of_connect(&e));
        };
        let answer = self.http.send(Method::GET, path, &[], Vec::new(), until).await?;
        if answer.status < 300 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&answer.body);
        Err(Refused::odd(format!("GET {path}: status {}: {}", answer.status, body.trim())))
    }
}

#[async_trait(?Send)]
impl Speaker for Waiting {
    async fn ask(&mut self, _: &Value, until: Instant) -> Result<Value, Refused> {
        // The answer has to arrive before the bench gives up, to say why.
        let until = until.checked_sub(2 * PAUSE).unwrap_or(until);
        loop {
            match self.look(until).await {
                Ok(()) => return Ok(json!({"type": "init_ok"})),
                Err(Refused { text, .. }) if Instant::now() + PAUSE >= until => {
                    let text = format!("not healthy in time: {text}");
                    return Err(Refused::new(ErrorCode::TEMPORARILY_UNAVAILABLE, text));
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}
