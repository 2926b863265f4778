//! Stdin and stdout as a transport: one message a line.
//!
//! Under Maelstrom both are pipes, and a pipe can be waited for with epoll: no
//! thread, no hand-over, a tenth more messages a second. The pipe is opened a second
//! time for that, through `/proc/self/fd`, because non-blocking mode belongs to the
//! open file, which may be shared with others: with stderr after `2>&1`, with the
//! shell. Where that does not work (files, terminals, sockets, other systems)
//! tokio's blocking threads do the same, slower.
//!
//! Deliberately missing: noticing that stdout was closed before there is a message to
//! write.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::lines::Lines;
use super::transport::{Arrival, Transport};
use crate::message::Packet;

/// An output buffer that grew beyond this is given back after the write.
const KEEP_BYTES: usize = 1 << 20;

/// The transport over this process's stdin and stdout.
pub struct Stdio {
    input: Box<dyn AsyncRead + Send + Unpin>,
    output: Box<dyn AsyncWrite + Send + Unpin>,
    lines: Lines,
    text: Vec<u8>,
}

impl Stdio {
    /// Takes stdin and stdout. Nothing else in the process may use them.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn open() -> Stdio {
        let options = pipe::OpenOptions::new();
        let input: Box<dyn AsyncRead + Send + Unpin> =
            match options.open_receiver("/proc/self/fd/0") {
                Ok(pipe) => Box::new(pipe),
                Err(_) => Box::new(tokio::io::stdin()),
            };
        let output: Box<dyn AsyncWrite + Send + Unpin> =
            match options.open_sender("/proc/self/fd/1") {
                Ok(pipe) => Box::new(pipe),
                Err(_) => Box::new(tokio::io::stdout()),
            };
        Stdio { input, output, lines: Lines::default(), text: Vec::new() }
    }
}

#[async_trait]
impl Transport for Stdio {
    async fn receive(&mut self, inbox: &mut Vec<Arrival>) -> io::Result<usize> {
        loop {
            // The only await. Earlier input is in `lines`, so dropping the future loses
            // nothing.
            if self.input.read_buf(self.lines.space()).await? == 0 {
                return Ok(self.lines.take_last(inbox));
            }
            let taken = self.lines.take_complete(inbox);
            if taken > 0 {
                return Ok(taken);
            }
        }
    }

    async fn send(&mut self, outbox: &mut Vec<Packet>) -> io::Result<()> {
        for packet in outbox.drain(..) {
            packet.write_line(&mut self.text);
        }
        self.output.write_all(&self.text).await?;
        self.output.flush().await?;
        self.text.clear();
        self.text.shrink_to(KEEP_BYTES);
        Ok(())
    }
}
