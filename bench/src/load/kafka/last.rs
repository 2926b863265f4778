//! The last operations of kafka: each worker starts anew and polls everything.
//!
//! Each worker crashes, is assigned to all keys from the beginning, and polls about
//! five times a second until it has seen the last message of every key. A node that
//! has lost messages would keep it waiting for ever, so there is a limit. A worker
//! whose assignment or connection is lost on the way is assigned again.

use std::time::Duration;

use seaworthy::time::Time;

use super::operations::{Offsets, each_offset, key_name, poll, raise};
use crate::edn::Edn;
use crate::history::OpType;
use crate::load::client::Completion;
use crate::load::{Ask, Invocation, Next};

/// How long workers go on polling.
const LIMIT: Duration = Duration::from_secs(10);
/// Mean time between two polls of a worker, in seconds.
const POLL_INTERVAL_S: f64 = 0.2;
/// How long a poll waits for messages in Jepsen's tests of Kafka. Maelstrom's client
/// does not look at it, but its histories have it.
const POLL_MS: i64 = 1000;

/// The next operation of a worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Crash,
    Assign,
    Poll,
    Done,
}

struct Worker {
    stage: Stage,
    due: Time,
    seen: Offsets,
}

/// The last operations of all workers.
pub(super) struct LastPolls {
    known: Offsets,
    workers: Vec<Worker>,
    end: Time,
}

impl LastPolls {
    /// Begins `now`; `known` are the offsets that each worker has to see.
    pub(super) fn new(known: Offsets, workers: usize, now: Time) -> LastPolls {
        let worker = |_| Worker { stage: Stage::Crash, due: now, seen: Offsets::new() };
        LastPolls { known, workers: (0..workers).map(worker).collect(), end: now + LIMIT }
    }

    pub(super) fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        if ask.now >= self.end || self.workers.iter().all(|w| w.stage == Stage::Done) {
            return Next::Done;
        }
        let working = ask.free.iter().filter(|w| self.workers[**w].stage != Stage::Done);
        let Some(index) = working.copied().min_by_key(|w| self.workers[*w].due) else {
            return Next::Pending;
        };
        let worker = &mut self.workers[index];
        if worker.due > ask.now {
            return Next::Sleep(worker.due.min(self.end));
        }
        let op = match worker.stage {
            Stage::Crash => Invocation::new("crash", Edn::Nil),
            Stage::Assign => {
                let keys = Edn::vector(self.known.keys().copied().map(key_name));
                let from_beginning = ("seek-to-beginning?".into(), Edn::Bool(true));
                Invocation { extra: vec![from_beginning], ..Invocation::new("assign", keys) }
            }
            Stage::Poll | Stage::Done => {
                let pause = Duration::from_secs_f64(2.0 * ask.draw.unit() * POLL_INTERVAL_S);
                worker.due = ask.now + pause;
                Invocation { extra: vec![("poll-ms".into(), Edn::Int(POLL_MS))], ..poll() }
            }
        };
        Next::Invoke(index, op)
    }

    pub(super) fn completed(&mut self, worker: usize, op: &Invocation, completion: &Completion) {
        let worker = &mut self.workers[worker];
        let ok = completion.kind == OpType::Ok;
        let seen_all = |seen: &Offsets| self.known.iter().all(|(k, o)| seen.get(k) >= Some(o));
        worker.stage = match op.f.as_str() {
            "poll" if ok => {
                each_offset(&completion.value, |k, offset| raise(&mut worker.seen, k, offset));
                if seen_all(&worker.seen) { Stage::Done } else { Stage::Poll }
            }
            // The client forgets its position only if the outcome is unknown.
            "poll" if completion.kind == OpType::Fail => Stage::Poll,
            "assign" if ok => Stage::Poll,
            _ => Stage::Assign,
        };
    }
}
