//! The notes that are taken about a traced request while it is served: numbers, and waits.
//!
//! The request's task carries them, so that no function on the way has to know of traces.

// A wait has a beginning and an end by the clock.
#![allow(clippy::disallowed_methods)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::slow::{Kind, Last, Slow, Stages};

/// A request that asks the node more often (a lock that waits long) is told with its first waits.
const WAITS_MAX: usize = 32;

tokio::task_local! {
    static RECORD: Arc<Record>;
}

/// The notes about one request.
#[derive(Debug, Default)]
pub struct Record {
    facts: Mutex<Facts>,
}

/// The content of a record.
#[derive(Debug, Default)]
pub struct Facts {
    /// Numbers by name. Of a name that was noted twice the last one counts.
    pub numbers: Vec<(&'static str, i64)>,
    /// The waits for the node.
    pub waits: Vec<Wait>,
}

/// A wait for the node's answer.
#[derive(Debug)]
pub struct Wait {
    /// The kind of question.
    pub kind: Kind,
    /// When it was put in the queue of the node's thread.
    pub began: Instant,
    /// When the thread took it out.
    pub taken: Option<Instant>,
    /// When the turn began in which it was answered: then a quorum had confirmed it.
    pub turn: Option<Instant>,
    /// When the answer was there.
    pub ended: Instant,
    /// The flushes of the log here that ended meanwhile.
    pub flushes: Vec<(Instant, Instant)>,
    /// The long election that ended meanwhile.
    pub election: Last,
}

impl Record {
    /// The content; it is empty afterwards.
    pub fn take(&self) -> Facts {
        std::mem::take(&mut self.facts())
    }

    /// Notes that the node has answered now.
    pub fn answered(&self, kind: Kind, began: Instant, stages: &Stages, slow: &Slow) {
        let mut facts = self.facts();
        if let Kind::Write(bytes) = kind {
            facts.numbers.push(("seaworthy.write_bytes", i64::try_from(bytes).unwrap_or(i64::MAX)));
        }
        if facts.waits.len() < WAITS_MAX {
            facts.waits.push(Wait {
                kind,
                began,
                taken: stages.taken(),
                turn: stages.turn(),
                ended: Instant::now(),
                flushes: slow.flushes_since(began),
                election: slow.election_since(began),
            });
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record of the request that this task serves, if it is traced.
pub fn current() -> Option<Arc<Record>> {
    // A build without traces asks no task.
    if !cfg!(feature = "otlp") {
        return None;
    }
    RECORD.try_with(Arc::clone).ok()
}

/// Notes a number of the request that this task serves.
pub fn note(name: &'static str, number: impl TryInto<i64>) {
    if let Some(record) = current() {
        record.facts().numbers.push((name, number.try_into().unwrap_or(i64::MAX)));
    }
}

/// Serves a request with a record.
#[cfg(feature = "otlp")]
pub(super) fn with<F: Future>(record: Arc<Record>, work: F) -> impl Future<Output = F::Output> {
    RECORD.scope(record, work)
}
