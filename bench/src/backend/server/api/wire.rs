//! Answers of HTTP/1.1, as far as a client of one connection needs them.
//!
//! Source: RFC 9112, sections 6.3 (the length of a message), 7.1 (chunks) and 9.3 (persistence).

use std::io::{self, ErrorKind};

use httparse::{EMPTY_HEADER, Header, Response, Status};
use mio::net::TcpStream;

use crate::backend::server::reactor::Source;

/// The longest answer that is read, in bytes, and the longest head or line between chunks.
const ANSWER_BYTES: usize = 64 << 20;
const HEAD_BYTES: usize = 64 << 10;
/// The most headers of an answer.
const HEADERS: usize = 64;
/// Bytes that a read asks for, at least.
const READ_BYTES: usize = 4 << 10;

/// One side of a connection, and what came on it.
pub(super) struct Wire {
    stream: Source<TcpStream>,
    /// Bytes that came; those before `begin` were taken, those from `end` on are room.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

/// The beginning of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    /// Whether another request may follow on the connection.
    pub(super) stays_open: bool,
    pub(super) body: Body,
}

/// The rest of a body that has not come yet.
#[derive(Debug, PartialEq)]
pub(super) enum Body {
    /// So many bytes.
    Exact(usize),
    /// Chunks, of the present one so many bytes with its line end; 0 before the first.
    Chunks(usize),
    /// Everything until the connection ends.
    Rest,
    /// Nothing.
    Over,
}

impl Wire {
    pub(super) fn new(stream: Source<TcpStream>) -> Wire {
        Wire { stream, buffer: Vec::new(), begin: 0, end: 0 }
    }

    /// Whether the connection is open and nothing came unasked.
    pub(super) fn is_silent(&self) -> bool {
        let is_open = || matches!(self.stream.try_read(&mut [0]), Ok(None));
        self.begin == self.end && (!self.stream.has_news() || is_open())
    }

    /// Sends a request, and reads the beginning of its answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request).await?;
        loop {
            if let Some((length, head)) = head(&self.buffer[self.begin..self.end])? {
                self.begin += length;
                // An interim answer precedes the answer.
                if head.status >= 200 {
                    return Ok(head);
                }
            } else if self.end - self.begin > HEAD_BYTES {
                return Err(odd("the head of an answer does not end"));
            } else {
                self.more().await?;
            }
        }
    }

    /// Reads all that remains of a body.
    pub(super) async fn whole(&mut self, body: &mut Body) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece(body).await? {
            if all.len() + piece.len() > ANSWER_BYTES {
                return Err(odd("an answer is too long"));
            }
            if all.is_empty() {
                all = piece;
            } else {
                all.extend_from_slice(&piece);
            }
        }
        Ok(all)
    }

    /// Reads the next piece of a body; `None` after its end.
    pub(super) async fn piece(&mut self, body: &mut Body) -> io::Result<Option<Vec<u8>>> {
        loop {
            match body {
                Body::Over | Body::Exact(0) => return Ok(None),
                Body::Exact(left) => {
                    let piece = self.take_some(*left).await?;
                    *left -= piece.len();
                    return Ok(Some(piece));
                }
                Body::Rest => match self.take_some(usize::MAX).await {
                    Err(e) if e.kind() == ErrorKind::UnexpectedEof => *body = Body::Over,
                    piece => return piece.map(Some),
                },
                Body::Chunks(0) => match self.line(chunk_bytes).await? {
                    0 => {
                        // Trailers, up to an empty line.
                        while self.line(line_bytes).await? > 0 {}
                        *body = Body::Over;
                    }
                    bytes => *body = Body::Chunks(bytes + 2),
                },
                Body::Chunks(..=2) => {
                    if self.line(line_bytes).await? > 0 {
                        return Err(odd("a chunk is longer than its size"));
                    }
                    *body = Body::Chunks(0);
                }
                Body::Chunks(left) => {
                    let piece = self.take_some(*left - 2).await?;
                    *left -= piece.len();
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// Takes a line off that `read` understands: its length, and its meaning.
    async fn line(
        &mut self,
        read: impl Fn(&[u8]) -> io::Result<Option<(usize, usize)>>,
    ) -> io::Result<usize> {
        loop {
            if let Some((length, meaning)) = read(&self.buffer[self.begin..self.end])? {
                self.begin += length;
                return Ok(meaning);
            }
            if self.end - self.begin > HEAD_BYTES {
                return Err(odd("a line between chunks does not end"));
            }
            self.more().await?;
        }
    }

    /// Takes bytes off, at least one and at most `limit`.
    async fn take_some(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        while self.begin == self.end {
            self.more().await?;
        }
        let taken = self.begin..self.end.min(self.begin.saturating_add(limit));
        self.begin = taken.end;
        Ok(self.buffer[taken].to_vec())
    }

    /// Waits for more bytes.
    async fn more(&mut self) -> io::Result<()> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        if self.buffer.len() < self.end + READ_BYTES {
            self.buffer.drain(..self.begin);
            (self.begin, self.end) = (0, self.end - self.begin);
            self.buffer.resize((2 * self.end).max(2 * READ_BYTES), 0);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            n => {
                self.end += n;
                Ok(())
            }
        }
    }
}

/// Reads a head: its length, and its meaning; `None` if it has not come whole.
fn head(bytes: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut response = Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(e) => return Err(odd(format!("the head of an answer: {e}"))),
    };
    let (status, version) = (response.code.unwrap_or(0), response.version.unwrap_or(0));
    let body = body(status, response.headers)?;
    let says = |word| has_word(response.headers, "connection", word);
    let persists = if version == 0 { says("keep-alive") } else { !says("close") };
    let stays_open = persists && body != Body::Rest;
    let etag = header(response.headers, "etag");
    let etag = etag.and_then(|tag| std::str::from_utf8(tag).ok()).map(str::to_owned);
    Ok(Some((length, Head { status, etag, stays_open, body })))
}

/// The length of a body.
fn body(status: u16, headers: &[Header<'_>]) -> io::Result<Body> {
    if status < 200 || matches!(status, 204 | 304) {
        return Ok(Body::Over);
    }
    if has_word(headers, "transfer-encoding", "chunked") {
        return Ok(Body::Chunks(0));
    }
    let Some(length) = header(headers, "content-length") else { return Ok(Body::Rest) };
    let length = std::str::from_utf8(length).ok().and_then(|digits| digits.trim().parse().ok());
    match length.ok_or_else(|| odd("a length that is no number"))? {
        ..=ANSWER_BYTES => Ok(Body::Exact(length.unwrap_or(0))),
        _ => Err(odd("an answer is too long")),
    }
}

fn header<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    found.map(|header| header.value)
}

/// Whether a header that lists words has this one.
fn has_word(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    let found = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let mut words = found.flat_map(|header| header.value.split(|byte| *byte == b','));
    words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// Reads the line before a chunk: its length, and that of the chunk.
fn chunk_bytes(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    match httparse::parse_chunk_size(bytes) {
        Ok(Status::Complete((length, size))) if size <= ANSWER_BYTES as u64 => {
            Ok(Some((length, size as usize)))
        }
        Ok(Status::Partial) => Ok(None),
        _ => Err(odd("a chunk without its size")),
    }
}

/// Reads a line: its length with and without its end.
fn line_bytes(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let end = memchr::memchr(b'\n', bytes);
    Ok(end.map(|end| (end + 1, bytes[..end].trim_ascii_end().len())))
}

fn odd(text: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text.into())
}

#[cfg(test)]
mod tests;
