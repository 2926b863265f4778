//! The client side of each challenge: the operations, their requests, and the replies that count.
//!
//! A [`Load`] is Jepsen's generator and client in one: it decides which
//! operation a free worker invokes next, and a [`Client`] turns an operation into
//! requests and replies into a completion. Both are pure. The checkers are apart,
//! in [`crate::check`].
//!
//! Source: Maelstrom's `doc/workloads.md` and its generators.

pub mod answer;
pub mod client;
pub mod kafka;
pub mod lin_kv;
mod micro_ops;
mod omit;
mod op;
pub mod simple;
#[cfg(test)]
mod testing;
mod topology;
pub mod txn;

use std::time::Duration;

use seaworthy::time::Time;

pub use client::{Client, Completion, Reply, Step};
pub use omit::omitting;
pub use op::Invocation;

use crate::seed::Draw;

/// The facts that a generator is told when it is asked for an operation.
pub struct Ask<'a> {
    /// Workers that are free, in order.
    pub free: &'a [usize],
    /// The process each worker runs as, by worker.
    pub processes: &'a [u64],
    /// Time since the test began.
    pub now: Time,
    /// The generator's random numbers.
    pub draw: &'a mut Draw,
}

impl Ask<'_> {
    /// A random free worker.
    pub fn any(&mut self) -> usize {
        *self.draw.pick(self.free)
    }
}

/// The answer of a generator.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This worker invokes this.
    Invoke(usize, Invocation),
    /// Nothing now; ask again when a worker becomes free.
    Pending,
    /// Nothing before this time.
    Sleep(Time),
    /// Nothing any more in this phase.
    Done,
}

/// The fate of a worker's connection when an operation ended as `info`. It takes effect before the
/// worker's next operation, as in Jepsen's interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The worker goes on with it (Jepsen's `Reusable`).
    Kept,
    /// The worker opens another one, and an answer to the old one is a message to an address
    /// that does not exist.
    Closed,
}

/// A client's usual patience (Maelstrom's default RPC timeout).
pub const PATIENCE: Duration = Duration::from_millis(5000);

/// The generator and client of one challenge.
pub trait Load {
    /// The next operation of the main phase. `ask.free` is not empty.
    fn next(&mut self, ask: &mut Ask<'_>) -> Next;

    /// The next operation of the last phase, after the recovery. `ask.free` is not
    /// empty. Asked only if [`Load::has_last_phase`].
    fn next_last(&mut self, _ask: &mut Ask<'_>) -> Next {
        Next::Done
    }

    /// Whether the test ends with a recovery and last operations.
    fn has_last_phase(&self) -> bool {
        false
    }

    /// Sees each completion, for generators that depend on them.
    fn completed(&mut self, _worker: usize, _op: &Invocation, _completion: &Completion) {}

    /// Returns the fate of a worker's connection when an operation ended as `info`.
    fn after_info(&self) -> Connection {
        Connection::Kept
    }

    /// How long a client waits for a reply.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// A client for a worker that (re)opens its connection.
    fn client(&self) -> Box<dyn Client>;

    /// Bodies to send to each node, in order of nodes, before the operations
    /// begin, and the type of the reply each must give.
    fn preparation(&self) -> Vec<(usize, String, &'static str)> {
        Vec::new()
    }
}
