//! Requests over HTTP, each with an end.
//!
//! A client has one connection to a server, and opens another one when that is gone. Nothing is
//! sent twice: a request that meets a dying connection is an error like any other. Redirects are not
//! followed, since a client asks the server that it asks.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use seaworthy::message::ErrorCode;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout_at;

use super::refused::{Refused, late, of_connect, of_http};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES: usize = 64 << 20;

/// How many bytes of an answer are read at once. Most answers have fewer with their headers, and a buffer of
/// this size, which each answer takes with it, is among those that the allocator keeps at hand.
const READ_BYTES: usize = 1024;

type Sender = SendRequest<Full<Bytes>>;

/// A connection of one client to one server.
pub(crate) struct Http {
    address: SocketAddr,
    /// The connection that waits for the next request.
    idle: RefCell<Option<Sender>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Bytes,
}

/// The beginning of an answer whose rest is on its way.
pub(crate) struct Opened {
    pub(crate) response: Response<Incoming>,
    /// The connection lives as long.
    sender: Sender,
}

impl Http {
    /// For a server at this address.
    pub(crate) fn new(address: SocketAddr) -> Http {
        Http { address, idle: RefCell::default() }
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
        let Opened { response, sender } = self.open(method, path, headers, body, until).await?;
        let (parts, body) = response.into_parts();
        let etag = parts.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let whole = timeout_at(until.into(), Limited::new(body, ANSWER_BYTES).collect()).await;
        let whole = whole.map_err(|_| late())?.map_err(|e| Refused::odd(e.to_string()))?;
        self.idle.replace(Some(sender));
        let (status, etag) = (parts.status.as_u16(), etag.map(str::to_owned));
        Ok(Answer { status, etag, body: whole.to_bytes() })
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
        let host = self.address.to_string();
        let has_content = method != Method::GET;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if has_content {
            // Of nothing, too: a server may rely on it.
            request = request.header(header::CONTENT_LENGTH, body.len());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::from(body))
            .map_err(|e| Refused::new(ErrorCode::MALFORMED_REQUEST, format!("{path}: {e}")))?;
        let mut sender = self.connection(until).await?;
        let response = timeout_at(until.into(), sender.send_request(request)).await;
        let response = response.map_err(|_| late())?.map_err(|e| of_http(&e))?;
        Ok(Opened { response, sender })
    }

    /// The connection from before, if it lives, or a new one.
    async fn connection(&self, until: Instant) -> Result<Sender, Refused> {
        let idle = self.idle.take();
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let connected = timeout_at(until.into(), TcpStream::connect(self.address)).await;
        let stream = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|e| of_connect(&e))?;
        // Without it a request may wait for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(|e| of_connect(&e))?;
        let opened = http1::Builder::new()
            .read_buf_exact_size(Some(READ_BYTES))
            .handshake(TokioIo::new(stream));
        let (sender, connection) = opened.await.map_err(|e| of_http(&e))?;
        spawn_local(async move {
            // Requests tell how it ended.
            let _ = connection.await;
        });
        Ok(sender)
    }
}
