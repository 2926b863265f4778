//! A connection, with TLS or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::CommonState;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::Tls;
use super::files::common_name;

/// A connection that is ready for what it is to carry.
#[derive(Debug)]
pub enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS; it is large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Makes a connection that was accepted one of TLS.
    ///
    /// # Errors
    /// Those of the handshake, for [`super::explain`].
    pub async fn accept(tls: &Tls, stream: TcpStream) -> io::Result<Stream> {
        let accepted = TlsAcceptor::from(tls.server()).accept(stream).await?;
        Ok(Stream::Tls(Box::new(accepted.into())))
    }

    /// Makes a connection that was dialled one of TLS, to the `host` of a URL.
    ///
    /// # Errors
    /// Those of the handshake, for [`super::explain_dial`].
    pub async fn connect(tls: &Tls, stream: TcpStream, host: &str) -> io::Result<Stream> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = host.try_into().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let connected = TlsConnector::from(tls.client()).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(connected.into())))
    }

    fn session(&self) -> Option<&CommonState> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(stream.get_ref().1),
        }
    }

    /// Whether HTTP/2 was agreed on.
    pub fn speaks_http2(&self) -> bool {
        self.session().and_then(|session| session.alpn_protocol()) == Some(b"h2")
    }

    /// The common name in the certificate of the other side, which was verified.
    pub fn common_name(&self) -> Option<String> {
        self.session()?.peer_certificates()?.first().and_then(common_name)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
