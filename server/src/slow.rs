//! Slow requests, and what they waited for.
//!
//! A request can wait for the node's thread (queue), for a flush of the log here (fsync), for a
//! leader (election), and for other servers (quorum). The engine notes the first three when they
//! take long; a request that took long then names those that happened while it waited, and
//! otherwise the quorum.

// It is the shell's business how long something took by the clock.
#![allow(clippy::disallowed_methods)]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gate::Seldom;
use crate::node::Request;

/// A longer wait is worth a line, as in etcd.
pub const SLOW: Duration = Duration::from_millis(100);

/// The last long waits of each kind.
#[derive(Debug, Default)]
pub struct Slow {
    queue: Last,
    flush: Last,
    election: Last,
    lines: Seldom,
}

/// When a wait ended, and how long it took.
type Last = Mutex<Option<(Instant, Duration)>>;

fn note(last: &Last, took: Duration) {
    if took > SLOW {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), took));
    }
}

impl Slow {
    /// A request waited so long for the node's thread.
    pub fn queued(&self, took: Duration) {
        note(&self.queue, took);
    }

    /// A flush of the log took so long.
    pub fn flushed(&self, took: Duration) {
        note(&self.flush, took);
    }

    /// A leader was found, after so long without one.
    pub fn elected(&self, took: Duration) {
        note(&self.election, took);
    }

    /// Writes a line about a request that was answered now, if it was slow: one a second at most.
    pub fn answered(&self, kind: Kind, began: Instant) {
        let took = began.elapsed();
        if took > SLOW && kind.is_told() {
            let waits = self.waits_since(began);
            self.lines
                .tell(|| format!("{kind} took {} ms: it waited for {waits}", took.as_millis()));
        }
    }

    /// The long waits that ended after `began`.
    fn waits_since(&self, began: Instant) -> String {
        let kinds = [("queue", &self.queue), ("fsync", &self.flush), ("election", &self.election)];
        let waits = kinds.iter().filter_map(|(name, last)| {
            let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, took) = last.filter(|(ended, _)| *ended >= began)?;
            Some(format!("{name} {} ms", took.as_millis()))
        });
        let waits: Vec<String> = waits.collect();
        match waits.is_empty() {
            true => "the quorum".to_owned(),
            false => waits.join(", "),
        }
    }
}

/// The kinds of requests that are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A write, and its length in bytes.
    Write(usize),
    /// A linearizable read.
    Read,
    /// A question about a lease.
    Lease,
    /// A look at this server, which waits for no other.
    Local,
}

impl Kind {
    /// The kind of a request.
    pub fn of(request: &Request) -> Kind {
        match request {
            Request::Write(command) => Kind::Write(command.len()),
            Request::Read => Kind::Read,
            Request::Lease(..) => Kind::Lease,
            _ => Kind::Local,
        }
    }

    fn is_told(self) -> bool {
        self != Kind::Local
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Write(bytes) => write!(f, "a write of {bytes} bytes"),
            Kind::Read => f.write_str("a linearizable read"),
            Kind::Lease => f.write_str("a question about a lease"),
            Kind::Local => f.write_str("a look at this server"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_request_names_the_waits_that_fell_into_it() {
        let slow = Slow::default();
        let began = Instant::now();
        assert_eq!(slow.waits_since(began), "the quorum");
        slow.queued(SLOW);
        assert_eq!(slow.waits_since(began), "the quorum", "that was not long");
        slow.flushed(Duration::from_millis(430));
        slow.elected(Duration::from_millis(1200));
        assert_eq!(slow.waits_since(began), "fsync 430 ms, election 1200 ms");
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(slow.waits_since(Instant::now()), "the quorum");
    }
}
