//! Logs as a replicated state machine.
//!
//! * `send` is a command. It is answered when the message is committed and this node
//!   has applied it, so whoever got an offset finds the message here at once.
//! * `poll` is answered by the node that is asked, from what it has applied, without
//!   asking anybody: also in a minority, also while nobody leads. That is a prefix of
//!   each log, so nothing is skipped and nothing is shown that could be taken back; it
//!   may lag.
//! * `list_committed_offsets` is a query: it shows every commit that was acknowledged.
//! * `commit_offsets` is a command too, but clients commit after every poll, and nobody
//!   waits for the result. What changes nothing, because the same or more is committed
//!   already, is acknowledged at once. Anything else waits a few milliseconds for a
//!   command that goes to the leader anyway, and goes with it; then it costs no message
//!   of its own. It is acknowledged when it is committed, like a `send`.

use std::time::Duration;

use seaworthy::message::{Message, Request};
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy::raft::Raft;
use seaworthy::replica::{self, Replica};
use serde_json::value::{RawValue, to_raw_value};

use super::logs::{Command, Logs};
use super::{Ask, Offsets, PollOk};
use crate::Options;
use crate::table::{Done, not_supported};

/// How long a commit waits for company.
const COMMIT_DELAY: Duration = Duration::from_millis(3);
/// The timer of the commits that wait. The replica's own have small numbers.
const COMMITS: Token = Token(1 << 32);

/// The workload.
pub struct Kafka {
    replica: Replica<Logs>,
    /// Commits that wait for company, oldest first.
    waiting: Vec<(Request, Offsets)>,
}

impl Kafka {
    /// The type of messages between the nodes of this workload.
    pub const PEER: &'static str = "kafka:raft";

    /// A node that has not started yet.
    pub fn new(options: &Options) -> Kafka {
        let logs = Logs::new(options.retain);
        let options = replica::Options { read_your_writes: true, ..options.replica() };
        Kafka { replica: Replica::new(Kafka::PEER, logs, options), waiting: Vec::new() }
    }

    /// The replica, for white-box checks.
    pub fn replica(&self) -> &Replica<Logs> {
        &self.replica
    }

    fn serve(&mut self, cx: &mut Context<'_>, message: &Message) {
        let request = message.request();
        match Ask::parse(message) {
            Ok(Ask::Send(key, msg)) => {
                self.replica.submit(cx, request, pack(&Command::Send(key, msg)));
            }
            Ok(Ask::Poll(offsets)) => {
                if !self.replica.refuse_outsider(cx, &request) {
                    let batch = self.replica.machine().poll(&offsets);
                    cx.reply(&request, &PollOk::new(batch));
                }
            }
            Ok(Ask::Commit(offsets)) => self.commit(cx, request, offsets),
            Ok(Ask::ListCommitted(keys)) => {
                let keys = to_raw_value(&keys).expect("strings are plain data");
                self.replica.query(cx, request, keys);
            }
            Ok(Ask::Other) => not_supported(cx, message),
            Err(error) => cx.error(&request, &error),
        }
    }

    fn commit(&mut self, cx: &mut Context<'_>, request: Request, offsets: Offsets) {
        if self.replica.refuse_outsider(cx, &request) {
            return;
        }
        if self.replica.machine().covers(&offsets) {
            return cx.reply(&request, &Done::of("commit_offsets_ok"));
        }
        self.waiting.push((request, offsets));
        cx.set_timer_if_unset(COMMITS, COMMIT_DELAY);
    }

    /// Gives the commits that wait to the replica. Each stays a command of its own, so
    /// that each is answered for itself; together they travel in one message.
    fn release(&mut self, cx: &mut Context<'_>) {
        cx.cancel_timer(COMMITS);
        for (request, offsets) in std::mem::take(&mut self.waiting) {
            // Somebody else may have committed as much in the meantime.
            if self.replica.machine().covers(&offsets) {
                cx.reply(&request, &Done::of("commit_offsets_ok"));
            } else {
                // Clients move on before they commit. One that is told that a commit
                // certainly failed takes the poll before it for a failure as well, and
                // loses sight of what it has read.
                self.replica.submit_vaguely(cx, request, pack(&Command::Commit(offsets)));
            }
        }
    }
}

impl Workload for Kafka {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let due = matches!(event, Event::Timer(COMMITS));
        if let Some(message) = self.replica.handle(cx, event) {
            self.serve(cx, &message);
        }
        if due || self.replica.is_collecting() && !self.waiting.is_empty() {
            self.release(cx);
        }
    }

    fn raft(&self) -> Option<&Raft> {
        self.replica.raft()
    }
}

fn pack(command: &Command<'_>) -> Box<RawValue> {
    to_raw_value(command).expect("commands are plain data")
}
