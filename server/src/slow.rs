//! Slow requests, and what they waited for.
//!
//! A request can wait for the node's thread (queue), for a flush of the log here (fsync), for a
//! leader (election), and for other servers (quorum). The engine notes the first three when they
//! take long; a request that took long then names those that happened while it waited, and
//! otherwise the quorum. Traces (`crate::traces`) tell the waits of every request that they follow, by the
//! same notes.

// It is the shell's business how long something took by the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::gate::Seldom;
use crate::node::Request;

/// A longer wait is worth a line, as in etcd.
pub const SLOW: Duration = Duration::from_millis(100);

/// The last long waits of each kind.
#[derive(Debug, Default)]
pub struct Slow {
    queue: Mutex<Last>,
    flush: Mutex<Last>,
    election: Mutex<Last>,
    lines: Seldom,
    /// Whether every flush is kept, for traces.
    keeps_flushes: AtomicBool,
    flushes: Mutex<VecDeque<(Instant, Instant)>>,
}

/// When a wait ended, and how long it took.
pub type Last = Option<(Instant, Duration)>;

/// How many flushes are kept: those of a request that is slow, even on a fast disk.
const FLUSHES_MAX: usize = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(last: &Mutex<Last>, took: Duration) {
    if took > SLOW {
        *lock(last) = Some((Instant::now(), took));
    }
}

fn since(last: &Mutex<Last>, began: Instant) -> Last {
    lock(last).filter(|(ended, _)| *ended >= began)
}

impl Slow {
    /// A request waited so long for the node's thread.
    pub fn queued(&self, took: Duration) {
        note(&self.queue, took);
    }

    /// A flush of the log took so long.
    pub fn flushed(&self, took: Duration) {
        note(&self.flush, took);
        if self.keeps_flushes.load(Ordering::Relaxed) {
            let ended = Instant::now();
            let mut flushes = lock(&self.flushes);
            if flushes.len() == FLUSHES_MAX {
                flushes.pop_front();
            }
            flushes.push_back((ended.checked_sub(took).unwrap_or(ended), ended));
        }
    }

    /// Keeps every flush from now on.
    pub fn keep_flushes(&self) {
        self.keeps_flushes.store(true, Ordering::Relaxed);
    }

    /// The flushes that ended after `began`, with their beginnings.
    pub fn flushes_since(&self, began: Instant) -> Vec<(Instant, Instant)> {
        let flushes = lock(&self.flushes);
        flushes.iter().filter(|(_, ended)| *ended >= began).copied().collect()
    }

    /// The long election that ended after `began`.
    pub fn election_since(&self, began: Instant) -> Last {
        since(&self.election, began)
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
            let (_, took) = since(last, began)?;
            Some(format!("{name} {} ms", took.as_millis()))
        });
        let waits: Vec<String> = waits.collect();
        match waits.is_empty() {
            true => "the quorum".to_owned(),
            false => waits.join(", "),
        }
    }
}

/// When the node's thread came to a request, for its trace.
#[derive(Debug, Default)]
pub struct Stages {
    taken: OnceLock<Instant>,
    turn: OnceLock<Instant>,
}

impl Stages {
    /// The thread takes the request out of its queue now.
    pub fn take(&self) {
        let _ = self.taken.set(Instant::now());
    }

    /// The request is answered, in a turn of the thread that began at this moment.
    pub fn answer(&self, turn: Instant) {
        let _ = self.turn.set(turn);
    }

    /// When the request was taken out of the queue.
    pub fn taken(&self) -> Option<Instant> {
        self.taken.get().copied()
    }

    /// The beginning of the turn in which it was answered. A request that is answered at once was taken
    /// within that turn.
    pub fn turn(&self) -> Option<Instant> {
        let turn = self.turn.get().copied()?;
        Some(self.taken().map_or(turn, |taken| turn.max(taken)))
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
        assert_eq!(slow.flushes_since(began), [], "no trace asked for them");
        assert_eq!(slow.waits_since(began), "fsync 430 ms, election 1200 ms");
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(slow.waits_since(Instant::now()), "the quorum");
    }

    #[test]
    fn flushes_are_kept_for_traces_and_bounded() {
        let slow = Slow::default();
        slow.keep_flushes();
        let began = Instant::now();
        (0..2 * FLUSHES_MAX).for_each(|_| slow.flushed(Duration::from_millis(1)));
        let kept = slow.flushes_since(began);
        assert_eq!(kept.len(), FLUSHES_MAX);
        assert!(kept.iter().all(|(began, ended)| *ended - *began == Duration::from_millis(1)));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(slow.flushes_since(Instant::now()), []);
    }
}
