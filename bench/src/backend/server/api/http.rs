//! Requests over HTTP, each with an end.
//!
//! A client has one connection to a server, and opens another one when that is gone. Nothing is
//! sent twice: a request that meets a dying connection is an error like any other. Redirects are not
//! followed, since a client asks the server that it asks.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

use hyper::Method;
use mio::net::TcpStream;
use seaworthy::message::ErrorCode;

use super::refused::{Refused, late, of_connect, of_io};
use super::wire::{Head, Wire};
use crate::backend::server::reactor::{Source, timeout_at};

/// A connection of one client to one server.
pub(crate) struct Http {
    address: SocketAddr,
    /// The address as requests name it.
    host: String,
    /// The connection that waits for the next request.
    idle: RefCell<Option<Wire>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// The beginning of an answer whose rest is on its way.
pub(crate) struct Opened {
    head: Head,
    wire: Wire,
}

impl Opened {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    /// The next piece of the body, of any length; nothing after its end, or once `until` has come.
    pub(crate) async fn piece(&mut self, until: Instant) -> Option<Vec<u8>> {
        timeout_at(until, self.wire.piece(&mut self.head.body)).await?.ok()?
    }
}

impl Http {
    /// For a server at this address.
    pub(crate) fn new(address: SocketAddr) -> Http {
        Http { address, host: address.to_string(), idle: RefCell::default() }
    }

    /// Sends a request and waits for all of its answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        until: Instant,
    ) -> Result<Answer, Refused> {
        let Opened { mut head, mut wire } = self.open(method, path, headers, body, until).await?;
        let body = timeout_at(until, wire.whole(&mut head.body)).await.ok_or_else(late)?;
        let (Head { status, etag, stays_open, .. }, body) = (head, body.map_err(|e| of_io(&e))?);
        if stays_open {
            self.idle.replace(Some(wire));
        }
        Ok(Answer { status, etag, body })
    }

    /// Sends a request and waits for the beginning of its answer.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        until: Instant,
    ) -> Result<Opened, Refused> {
        let request = self.request(&method, path, headers, &body)?;
        let mut wire = self.connection(until).await?;
        let head = timeout_at(until, wire.ask(&request)).await.ok_or_else(late)?;
        Ok(Opened { head: head.map_err(|e| of_io(&e))?, wire })
    }

    /// A request, head and body in one piece: one write sends it.
    fn request(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text = format!("{path:?} is no path");
            return Err(Refused::new(ErrorCode::MALFORMED_REQUEST, text));
        }
        let mut text = Vec::with_capacity(256 + body.len());
        let mut write = |parts: &[&str]| {
            parts.iter().for_each(|part| text.extend_from_slice(part.as_bytes()));
        };
        write(&[method.as_str(), " ", path, " HTTP/1.1\r\nhost: ", &self.host, "\r\n"]);
        if *method != Method::GET {
            // Of nothing, too: a server may rely on it.
            let mut digits = itoa::Buffer::new();
            write(&["content-length: ", digits.format(body.len()), "\r\n"]);
        }
        for (name, value) in headers {
            write(&[name, ": ", value, "\r\n"]);
        }
        write(&["\r\n"]);
        text.extend_from_slice(body);
        Ok(text)
    }

    /// The connection from before, if it lives, or a new one.
    async fn connection(&self, until: Instant) -> Result<Wire, Refused> {
        let idle = self.idle.take().filter(Wire::is_silent);
        if let Some(wire) = idle {
            return Ok(wire);
        }
        let connected = timeout_at(until, Source::<TcpStream>::connect(self.address)).await;
        let stream = connected.unwrap_or_else(|| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|e| of_connect(&e))?;
        // Without it a request may wait for the acknowledgement of the one before.
        stream.io().set_nodelay(true).map_err(|e| of_connect(&e))?;
        Ok(Wire::new(stream))
    }
}
