//! Logs as a replicated state machine.
//!
//! * `send` is a command. It is answered when the message is committed and this node
//!   has applied it, so a client that got an offset finds the message here at once.
//! * `poll` is answered by the node that is asked, from its applied entries, without
//!   asking other nodes: also in a minority, also without a leader. That is a prefix of
//!   each log, so nothing is skipped and nothing is shown that could be taken back; it
//!   may lag.
//! * `list_committed_offsets` is a query: it shows every commit that was acknowledged.
//! * `commit_offsets` is a command too. Clients commit after every poll that brought
//!   messages, often offsets that others have committed before them: a commit that changes
//!   nothing, because the same or more is committed already, is acknowledged at once, by
//!   any node.
//!
//! Deliberately missing: a commit that waits for a command to travel with. At 1000
//! operations a second a wait of 3 ms saved a twentieth of a message per operation,
//! and every poll that had to commit took 3 ms longer. `--batch-delay` is the place for
//! that trade, for all commands.

use std::any::Any;

use seaworthy::message::{Message, Request};
use seaworthy::node::{Context, Event, Workload};
use seaworthy::shell::raft::{self, Replica};
use serde_json::value::{RawValue, to_raw_value};

use super::logs::{Command, Logs};
use super::planted;
use super::protocol::{Ask, Offsets, PollOk};
use crate::options::Options;
use crate::reply::{Done, not_supported};

/// Clients of kafka wait for 5 seconds and then close their connection; a node that answers them
/// later is taken for one that writes to an address of its own invention. This leaves room for a
/// clock that is slow by 30 %, and for a flush.
const ANSWER_WITHIN_MS: u64 = 3300;

/// The workload.
pub struct Kafka {
    replica: Replica<Logs>,
}

impl Kafka {
    /// The type of messages between the nodes of this workload.
    pub const PEER: &'static str = "kafka:raft";

    /// A node that has not started yet.
    pub fn new(options: &Options) -> Kafka {
        let logs = Logs::new(options.retain);
        let answer_within_ms = Some(ANSWER_WITHIN_MS);
        let options = options.raft.clone();
        let options = raft::Options { read_your_writes: true, answer_within_ms, ..options };
        Kafka { replica: Replica::new(Kafka::PEER, logs, options) }
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
                    let logs = self.replica.machine();
                    // Guard: applied messages are committed, and no others are shown.
                    let ahead = planted::uncommitted(&self.replica);
                    let batch = ahead.as_ref().unwrap_or(logs).poll(&offsets);
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
        if self.replica.machine().covers(&offsets) {
            return cx.reply(&request, &Done::of("commit_offsets_ok"));
        }
        // Clients move on before they commit. One that is told that a commit certainly failed takes
        // the poll before it for a failure as well, and loses sight of the messages it has read.
        self.replica.submit_vaguely(cx, request, pack(&Command::Commit(offsets)));
    }
}

impl Workload for Kafka {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        if let Some(message) = self.replica.handle(cx, event) {
            self.serve(cx, &message);
        }
    }

    fn engine(&self) -> Option<&dyn Any> {
        self.replica.raft().map(|raft| raft as &dyn Any)
    }
}

fn pack(command: &Command<'_>) -> Box<RawValue> {
    to_raw_value(command).expect("commands are plain data")
}
