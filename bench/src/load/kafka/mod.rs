//! `kafka`: logs that are sent to and polled.
//!
//! The operations are single reads and writes as `MicroOps` makes them: a write is a
//! `send`, a read a `poll` of whatever the worker is assigned to. Now and then a
//! worker is assigned to other keys instead, or crashes and loses its place. At the
//! end each worker starts anew and polls everything from the beginning
//! (in `last`), so that every acknowledged message has been looked for.
//!
//! Source: Jepsen's `jepsen.tests.kafka` as Maelstrom configures it: no transactions,
//! `assign` and no `subscribe`, clients that crash.

mod client;
mod last;
mod operations;
#[cfg(test)]
mod tests;

use std::time::Duration;

use seaworthy::time::Time;

use self::client::KafkaClient;
pub(crate) use self::client::message;
use self::last::LastPolls;
use self::operations::{Offsets, each_offset, key_name, poll, raise};
use super::client::{Client, Completion};
use super::micro_ops::{MicroOp, MicroOps};
use super::{Ask, Connection, Invocation, Load, Next};
use crate::config::RunConfig;
use crate::edn::Edn;
use crate::history::OpType;

/// One in so many operations is preceded by an assignment to its key.
const OPS_PER_ASSIGN: usize = 64;
/// One in so many assignments is widened by all keys with messages that were never polled.
const ASSIGNS_PER_WIDE_ONE: usize = 3;
/// Mean time between two crashes of one worker, in seconds.
const CRASH_INTERVAL_S: f64 = 30.0;

/// The workload; see the module.
pub struct Kafka {
    micro_ops: MicroOps,
    upcoming: Option<MicroOp>,
    workers: usize,
    next_crash: Time,
    sent: Offsets,
    polled: Offsets,
    last: Option<LastPolls>,
}

impl Kafka {
    /// The workload of a run.
    ///
    /// # Errors
    /// If a flag leaves no operation to make.
    pub fn new(config: &RunConfig) -> Result<Kafka, String> {
        Ok(Kafka {
            micro_ops: MicroOps::new(&config.args)?,
            upcoming: None,
            workers: config.concurrency,
            next_crash: Time::ZERO,
            sent: Offsets::new(),
            polled: Offsets::new(),
            last: None,
        })
    }

    fn next_op(&mut self, ask: &mut Ask<'_>) -> Invocation {
        if ask.now >= self.next_crash {
            let mean = CRASH_INTERVAL_S / self.workers as f64;
            let pause = Duration::from_secs_f64(2.0 * ask.draw.unit() * mean);
            self.next_crash = ask.now + pause;
            return Invocation::new("crash", Edn::Nil);
        }
        let upcoming = self.upcoming.take().unwrap_or_else(|| self.micro_ops.next(ask.draw));
        if ask.draw.below(OPS_PER_ASSIGN) == 0 {
            self.upcoming = Some(upcoming);
            return self.assign(upcoming.key, ask.draw.below(ASSIGNS_PER_WIDE_ONE) == 0);
        }
        match upcoming.write {
            None => poll(),
            Some(value) => {
                let mop = [Edn::keyword("send"), key_name(upcoming.key), Edn::Int(value)];
                Invocation::new("send", Edn::vector([Edn::vector(mop)]))
            }
        }
    }

    fn assign(&self, key: i64, wide: bool) -> Invocation {
        let unseen = |&(key, offset): &(&i64, &i64)| self.polled.get(key) < Some(offset);
        let mut keys = vec![key];
        if wide {
            keys.extend(self.sent.iter().filter(unseen).map(|(key, _)| *key));
            keys.sort_unstable();
            keys.dedup();
        }
        Invocation::new("assign", Edn::vector(keys.into_iter().map(key_name)))
    }
}

impl Load for Kafka {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let op = self.next_op(ask);
        Next::Invoke(ask.any(), op)
    }

    fn next_last(&mut self, ask: &mut Ask<'_>) -> Next {
        let (sent, polled, workers) = (&self.sent, &self.polled, self.workers);
        let last = self.last.get_or_insert_with(|| {
            let mut known = sent.clone();
            polled.iter().for_each(|(key, offset)| raise(&mut known, *key, *offset));
            LastPolls::new(known, workers, ask.now)
        });
        last.next(ask)
    }

    fn has_last_phase(&self) -> bool {
        true
    }

    fn completed(&mut self, worker: usize, op: &Invocation, completion: &Completion) {
        if completion.kind == OpType::Ok {
            let offsets = if op.f == "send" { &mut self.sent } else { &mut self.polled };
            each_offset(&completion.value, |key, offset| raise(offsets, key, offset));
        }
        if let Some(last) = &mut self.last {
            last.completed(worker, op, completion);
        }
    }

    fn after_info(&self) -> Connection {
        Connection::Closed
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(KafkaClient::default())
    }
}
