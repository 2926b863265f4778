//! Serving clients: from an accepted connection to requests, within bounds.
//!
//! A connection has `FIRST_BYTES` to say something, the handshake of TLS included. HTTP/1.1 has
//! `HEADERS` for the headers of a request, and for the pause before it; on HTTP/2 a client that
//! does not even answer a ping within `SILENCE` is gone. Watches may be quiet for ever.

// Each connection is a task, and deadlines are told by the clock.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::api::Services;
use crate::authority::Authorities;
use crate::gate::{Gate, Place, Seldom};
use crate::tls::{self, Stream, Tls};

/// Within this time a connection must have said something.
const FIRST_BYTES: Duration = Duration::from_secs(10);
/// Within this time the headers of the next request must be there, on HTTP/1.1.
const HEADERS: Duration = Duration::from_secs(60);
/// How often a client is asked whether it is still there, on HTTP/2 ...
const PING: Duration = Duration::from_secs(60);
/// ... and how long it may send nothing at all.
const SILENCE: Duration = Duration::from_secs(90);
/// About how many bytes the kernel takes for a client that it cannot send yet. Without a bound it takes more than a megabyte
/// from a watch whose client does not read.
const UNSENT_BYTES: u32 = 16 << 10;
/// A stream of HTTP/2 is asked for more while it has fewer bytes than these under way.
const STREAM_BYTES: usize = 4 << 10;
/// The most bytes of headers: any key that fits into a URI does.
const HEADER_BYTES: usize = 96 << 10;

/// Everything that the connections of clients share.
pub struct Clients {
    /// The services.
    pub services: Arc<Services>,
    /// Certificates, for listeners with TLS.
    pub tls: Option<Arc<Tls>>,
    /// The places for connections.
    pub gate: Arc<Gate>,
    /// The most requests at once on one connection of HTTP/2.
    pub max_streams: u32,
    /// Lines that strangers can cause.
    pub seldom: Seldom,
}

impl Clients {
    /// Accepts connections, for ever.
    pub async fn listen(self: Arc<Clients>, listener: TcpListener, has_tls: bool) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let Some(place) = self.gate.enter() else {
                        self.seldom
                            .tell(|| format!("{from} was turned away: --max-connections are open"));
                        continue;
                    };
                    tokio::spawn(self.clone().serve(stream, from, place, has_tls));
                }
                Err(error) => {
                    // Too many open files, most likely: others may close some.
                    self.seldom.tell(|| format!("cannot accept a connection: {error}"));
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(
        self: Arc<Clients>,
        stream: TcpStream,
        from: SocketAddr,
        mut place: Place,
        has_tls: bool,
    ) {
        let opened = tokio::select! {
            opened = timeout(FIRST_BYTES, self.open(stream, from, has_tls)) => opened,
            () = place.lost() => return,
        };
        if let Ok(Ok(Some((stream, is_http2)))) = opened {
            place.speaks();
            // On the heap: a connection that says nothing must stay small.
            Box::pin(self.speak(stream, is_http2)).await;
        }
    }

    /// Waits for the first bytes, and makes sure that both sides agree about TLS. Also tells
    /// whether it is HTTP/2. `None` if nothing can come of it.
    async fn open(
        &self,
        mut stream: TcpStream,
        from: SocketAddr,
        has_tls: bool,
    ) -> io::Result<Option<(Stream, bool)>> {
        // Left off, every answer would wait 40 ms for an acknowledgement.
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        let first = first_bytes(&stream).await?;
        match (has_tls, first[0] == tls::HELLO, &self.tls) {
            (true, true, Some(tls)) => match Stream::accept(tls, stream).await {
                Ok(stream) => {
                    let is_http2 = stream.speaks_http2();
                    Ok(Some((stream, is_http2)))
                }
                Err(error) => {
                    let why = tls::explain(&error, "--");
                    self.seldom.tell(|| format!("no TLS with client {from}: {why}"));
                    Ok(None)
                }
            },
            (false, false, _) => Ok(Some((Stream::Plain(stream), &first == b"PRI "))),
            (false, true, _) => {
                self.seldom.tell(|| {
                    format!(
                        "client {from} comes with TLS, and this port has none: let it use \
                         http://, or give --listen-client-urls https://"
                    )
                });
                Ok(None)
            }
            _ => {
                self.seldom.tell(|| {
                    format!(
                        "client {from} comes without TLS, and this port has it: let it use \
                         https:// (etcdctl --cacert FILE --endpoints https://...)"
                    )
                });
                stream.write_all(NO_TLS.as_bytes()).await?;
                stream.shutdown().await?;
                Ok(None)
            }
        }
    }

    /// Serves the requests of a connection. It ends with an error or a deadline: either is the
    /// client's affair.
    async fn speak(self: Arc<Clients>, stream: Stream, is_http2: bool) {
        let name = stream.common_name().map(Arc::from);
        let name = name.filter(|_| self.tls.as_ref().is_some_and(|tls| tls.names_users()));
        let services = self.services.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (services, name) = (services.clone(), name.clone());
            async move { services.call(name, request).await }
        });
        let ended = match is_http2 {
            true => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(self.max_streams)
                    .max_header_list_size(HEADER_BYTES as u32)
                    .max_send_buf_size(STREAM_BYTES)
                    .keep_alive_interval(PING);
                let stream = Impatient::new(stream, SILENCE);
                builder.serve_connection(TokioIo::new(stream), service).await
            }
            false => {
                let mut builder = http1::Builder::new();
                builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS)
                    .max_buf_size(HEADER_BYTES);
                builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection ended: {error}");
        }
    }
}

/// To HTTP on a port of TLS.
const NO_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    connection: close\r\ncontent-length: 52\r\n\r\n\
    This port has TLS: the URL must begin with https://\n";

/// Waits for bytes, and leaves them there. Four tell TLS, HTTP/1.1 and HTTP/2 apart.
async fn first_bytes(stream: &TcpStream) -> io::Result<[u8; 4]> {
    let mut first = [0; 4];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            4 => return Ok(first),
            _ if first[0] == tls::HELLO => return Ok(first),
            // A piece is there, so that waiting for more would not wait.
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A connection of HTTP/2 that fails when nothing has come for a while.
struct Impatient {
    stream: Stream,
    authorities: Authorities,
    /// Bytes that have come; the first `ready` of them may be handed on.
    pending: Vec<u8>,
    ready: usize,
    limit: Duration,
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Impatient {
    fn new(stream: Stream, limit: Duration) -> Impatient {
        Impatient {
            stream,
            authorities: Authorities::default(),
            pending: Vec::new(),
            ready: 0,
            limit,
            heard: Instant::now(),
            alarm: Box::pin(sleep(limit)),
        }
    }

    /// Reads, and hands on what has been looked at. Most pieces end with a frame and are not
    /// copied.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.ready > 0 {
                let count = self.ready.min(buf.remaining());
                buf.put_slice(&self.pending[..count]);
                self.pending.drain(..count);
                self.ready -= count;
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            if self.pending.is_empty() {
                let done = before + self.authorities.pass(&mut buf.filled_mut()[before..]);
                self.pending.extend_from_slice(&buf.filled()[done..]);
                buf.set_filled(done);
                if done > before {
                    return Poll::Ready(Ok(()));
                }
            } else {
                self.pending.extend_from_slice(&buf.filled()[before..]);
                buf.set_filled(before);
                self.ready = self.authorities.pass(&mut self.pending);
            }
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(read) = this.poll_bytes(cx, buf) {
            this.heard = Instant::now();
            return Poll::Ready(read);
        }
        // The alarm is set again when it rings, and not with each read.
        loop {
            ready!(this.alarm.as_mut().poll(cx));
            let until = this.heard + this.limit;
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.alarm.as_mut().reset(until);
        }
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
