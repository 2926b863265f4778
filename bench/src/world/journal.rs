//! The journal: every message of a run, one line of JSON each.
//!
//! A line is an event of one message: `send`, `recv`, or `drop` if the network
//! lost it. Lines are in order of time, so a journal reads as the story of a run,
//! and two runs of one seed can be compared byte for byte.

use std::io::{self, Write};

use seaworthy::message::Packet;
use seaworthy::time::Time;

/// Where the lines go; nowhere, unless asked for.
pub struct Journal {
    out: Option<Box<dyn Write + Send>>,
    echo_sent: bool,
    echo_received: bool,
    error: Option<io::Error>,
    line: Vec<u8>,
}

impl Journal {
    /// A journal that keeps nothing.
    pub fn off() -> Journal {
        Journal { out: None, echo_sent: false, echo_received: false, error: None, line: Vec::new() }
    }

    /// A journal that writes to `out`.
    pub fn to(out: Box<dyn Write + Send>) -> Journal {
        Journal { out: Some(out), ..Journal::off() }
    }

    /// Also shows messages on stderr as they are sent, or received.
    #[must_use]
    pub fn echo(mut self, sent: bool, received: bool) -> Journal {
        (self.echo_sent, self.echo_received) = (sent, received);
        self
    }

    /// Notes that `what` happened to message number `id`.
    pub fn note(&mut self, now: Time, what: &str, id: u64, packet: &Packet) {
        let Some(out) = &mut self.out else { return };
        self.line.clear();
        let head = format!("{{\"time\":{},\"event\":\"{what}\",\"id\":{id},", now.as_nanos());
        self.line.extend_from_slice(head.as_bytes());
        // A packet's line is an object of its own: drop its opening brace.
        let start = self.line.len();
        packet.write_line(&mut self.line);
        self.line.remove(start);
        if (self.echo_sent && what == "send") || (self.echo_received && what == "recv") {
            // Whoever closes stderr does not want to see it.
            let _ = io::stderr().write_all(&self.line);
        }
        if let Err(error) = out.write_all(&self.line) {
            self.error.get_or_insert(error);
            self.out = None;
        }
    }

    /// Flushes, and reports the first error there was.
    ///
    /// # Errors
    /// If any line could not be written.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(out) = &mut self.out {
            out.flush()?;
        }
        self.error.take().map_or(Ok(()), Err)
    }
}
