//! Reads that do not name their workload.
//!
//! A `read` without a key may mean broadcast's messages, a set or a counter. A node
//! that was never told anything cannot know, and must not guess: it holds the read
//! and asks the other nodes, one at a time, which workloads this cluster uses. In a cluster
//! in which some node was told something that takes a round trip or two; on a node that
//! was told something itself it never happens and costs nothing.
//!
//! It does not hold the read for ever: if every client began with a read, and waited,
//! no node would ever be told anything. Once all other nodes have said that they do not
//! know either, a read of half a second's age is refused, which for a read is a certain and
//! harmless answer. While a node cannot be reached, that node may know, and a partition may
//! end: then the read is held for a few seconds.

use std::time::Duration;

use seaworthy::message::{ErrorCode, Message, NodeId, RpcError};
use seaworthy::node::{Context, Token};
use seaworthy::time::Time;
use serde::{Deserialize, Serialize};

/// The request of a node that does not know which workloads the cluster uses.
pub(crate) const ASK: &str = "parts";
/// Names the rpc, in the scope of the node itself.
pub(crate) const REPLY: Token = Token(0);
/// Names the timer between two questions.
pub(crate) const TIMER: Token = Token(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long to wait before asking the next node.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a read is held at least, and if all others know nothing.
const MIN_HOLD: Duration = Duration::from_millis(500);
/// How long it is held at most. Its client waits for 5 s, and a set or counter that has just
/// been started waits for the first word of another node, too.
const MAX_HOLD: Duration = Duration::from_millis(2500);

/// The reads that wait.
#[derive(Debug, Default)]
pub(crate) struct PendingReads {
    /// When each came, and the read.
    reads: Vec<(Time, Message)>,
    /// How many questions were asked.
    asked: usize,
    /// How many of the last questions were answered, one after the other, by nodes that
    /// know nothing either.
    in_vain: usize,
    /// Whether a question or a pause is under way.
    busy: bool,
}

#[derive(Serialize)]
struct Ask {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// The answer: the names of the workloads that a node has served.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parts {
    #[serde(rename = "type", skip_deserializing)]
    pub(crate) kind: &'static str,
    pub(crate) parts: Vec<String>,
}

impl PendingReads {
    /// Keeps a read until its workload is known.
    pub(crate) fn hold(&mut self, cx: &mut Context<'_>, read: Message) {
        self.reads.push((cx.now(), read));
        if !self.busy {
            self.ask(cx);
        }
    }

    /// Asks the next node, unless no read waits any more.
    pub(crate) fn ask(&mut self, cx: &mut Context<'_>) {
        self.give_up(cx);
        let peers: Vec<NodeId> = cx.peers().cloned().collect();
        self.busy = !self.reads.is_empty();
        if !self.busy {
            return;
        }
        if peers.is_empty() {
            return cx.set_timer(TIMER, PATIENCE);
        }
        let peer = &peers[self.asked % peers.len()];
        self.asked += 1;
        cx.rpc(peer, &Ask { kind: ASK }, PATIENCE, REPLY);
    }

    /// Notes whether the last question was answered, and asks another after a pause.
    pub(crate) fn pause(&mut self, cx: &mut Context<'_>, answered: bool) {
        self.in_vain = if answered { self.in_vain + 1 } else { 0 };
        cx.set_timer(TIMER, PAUSE);
    }

    /// Takes out the reads, now that their workload is known.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = Message> + use<> {
        std::mem::take(&mut self.reads).into_iter().map(|(_, read)| read)
    }

    fn give_up(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        let hold = if self.in_vain >= cx.peers().count() { MIN_HOLD } else { MAX_HOLD };
        for (_, read) in self.reads.extract_if(.., |(came, _)| *came + hold <= now) {
            let why = "this node was not told anything yet that says what it is used for";
            let error = RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, why);
            cx.error(&read.request(), &error);
        }
    }
}
