//! The journal: every message of a run, one line of JSON each.
//!
//! A line is an event of one message: `send`, `recv`, or `drop` if the network
//! lost it. Lines are in order of time, so a journal reads as the story of a run,
//! and two runs of one seed can be compared byte for byte.

use std::io::{self, Write};
use std::time::Duration;

use seaworthy::message::Packet;
use seaworthy::time::Time;

use crate::history::{Op, write_log_line};

/// Where the lines go; nowhere, unless asked for.
pub struct Journal {
    log: Option<OperationLog>,
    out: Option<Box<dyn Write + Send>>,
    echo_sent: bool,
    echo_received: bool,
    error: Option<io::Error>,
    line: Vec<u8>,
}

/// The log of the operations, in the lines of `jepsen.log`.
struct OperationLog {
    out: Box<dyn Write + Send>,
    workers: usize,
    flush: bool,
    /// How much of the history is in it.
    written: usize,
    /// How much of it has left this process, and when that was looked at.
    flushed: usize,
    looked: Time,
    line: String,
}

/// How long an operation may wait for its way to the file: to write each takes the time of a call of
/// the kernel from the nodes that are tested.
const FLUSH: Duration = Duration::from_millis(100);

impl OperationLog {
    fn follow(&mut self, now: Time, history: &[Op]) -> io::Result<()> {
        for op in history.get(self.written..).unwrap_or_default() {
            self.line.clear();
            write_log_line(op, self.workers, &mut self.line);
            self.line.push('\n');
            self.out.write_all(self.line.as_bytes())?;
        }
        self.written = history.len();
        if self.flush && self.flushed < self.written && now - self.looked >= FLUSH {
            self.out.flush()?;
            (self.flushed, self.looked) = (self.written, now);
        }
        Ok(())
    }
}

impl Journal {
    /// A journal that keeps nothing.
    pub fn off() -> Journal {
        Journal {
            log: None,
            out: None,
            echo_sent: false,
            echo_received: false,
            error: None,
            line: Vec::new(),
        }
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

    /// Also writes each operation of the clients as it happens, to `out`. `flush` is for runs
    /// on the real clock: the operations are in the file even if the bench is killed, but for the
    /// last tenth of a second.
    #[must_use]
    pub fn log_operations(
        mut self,
        out: Box<dyn Write + Send>,
        workers: usize,
        flush: bool,
    ) -> Journal {
        self.log = Some(OperationLog {
            out,
            workers,
            flush,
            written: 0,
            flushed: 0,
            looked: Time::ZERO,
            line: String::new(),
        });
        self
    }

    /// Writes the events that were added to the history since the last call, at `now`. On the real
    /// clock it is to be called a few times a second even if there are none.
    pub fn follow(&mut self, now: Time, history: &[Op]) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.follow(now, history) {
            self.error.get_or_insert(error);
            self.log = None;
        }
    }

    /// Notes that `what` happened to message number `id`.
    pub fn note(&mut self, now: Time, what: &str, id: u64, packet: &Packet) {
        let Some(out) = &mut self.out else { return };
        self.line.clear();
        let (mut time, mut number) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (time, id) = (time.format(now.as_nanos()), number.format(id));
        for part in ["{\"time\":", time, ",\"event\":\"", what, "\",\"id\":", id, ","] {
            self.line.extend_from_slice(part.as_bytes());
        }
        packet.write_fields(&mut self.line);
        if (self.echo_sent && what == "send") || (self.echo_received && what == "recv") {
            // A reader that closed stderr does not want to see it.
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
        if let Some(log) = &mut self.log {
            log.out.flush()?;
        }
        self.error.take().map_or(Ok(()), Err)
    }
}
