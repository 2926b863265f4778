//! Nodes begin: the bench starts them, asks them, and gives up on those that do not answer.

use std::time::Duration;

use seaworthy::message::Packet;
use serde_json::json;

use super::event::Event;
use super::state::World;
use crate::backend::{Cluster, NodeFault};
use crate::load::answer::Answer;

/// How long the answer to a workload's preparation (`topology`) may take, a request like any
/// other.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client of the bench's own still exists after it got its answer. In Maelstrom
/// its closing and a node's next line race; a second `init_ok` at once is heard there as
/// often as not.
const LINGER: Duration = Duration::from_millis(100);

impl<C: Cluster> World<C> {
    pub(super) fn start_node(&mut self, node: usize) {
        if self.lifecycle.is_running(node) {
            return;
        }
        let waiting = self.lifecycle.started(node, self.now);
        self.with_cluster(|c, now, out| c.start(now, node, out));
        let body = json!({
            "type": "init",
            "node_id": self.config.nodes[node],
            "node_ids": self.config.nodes,
            "msg_id": 1,
        });
        self.ask_node(node, body.to_string(), "init_ok");
        // The init enters the queue first, then the messages that were sent while the node was
        // down.
        self.route_all();
        for flight in waiting {
            self.queue.push(self.now, Event::Deliver(Box::new(flight)));
        }
    }

    /// Sends a request of the bench's own to a node and waits for the answer.
    pub(super) fn ask_node(&mut self, node: usize, body: String, expected: &'static str) {
        let src = self.clients.new_address();
        let dest = self.config.nodes[node].clone();
        let attempt = self.lifecycle.expect(src.clone(), node, expected);
        self.queue.push(self.now + self.patience(expected), Event::Deadline(attempt));
        self.outgoing.push_back(Packet { src, dest, body });
    }

    /// A message to the client of the bench's own request; its number was 1.
    pub(super) fn answered(&mut self, packet: &Packet) {
        let answer = match Answer::parse(&packet.body) {
            Ok(answer) if answer.answers(1) => answer,
            Ok(answer) => return self.note_stray(packet, answer.astray(1)),
            Err(e) => return self.note_stray(packet, Some(format!("a message: {e}"))),
        };
        let Some(expected) = self.lifecycle.answered(&packet.dest) else { return };
        self.clients.close(&packet.dest, self.now + LINGER);
        let reason = if let Some(error) = answer.refusal() {
            format!("it answered with the error {} {}", error.name, error.text)
        } else if expected.kind == "init_ok" && answer.kind().as_deref() == Some("init_ok") {
            // Of this answer Maelstrom looks at nothing but the type.
            return;
        } else {
            match answer.expect(expected.kind, &[]) {
                Ok(()) => return,
                Err(reason) => reason,
            }
        };
        self.blame(expected.node, NodeFault::NoInit { reason });
    }

    pub(super) fn miss_deadline(&mut self, attempt: u64) {
        if let Some(expected) = self.lifecycle.missed(attempt) {
            let seconds = self.patience(expected.kind).as_secs_f64();
            let why = self.why_unheard(expected.node);
            let reason = format!("no {} within {seconds} s{why}", expected.kind);
            self.blame(expected.node, NodeFault::NoInit { reason });
        }
    }

    /// Returns why a node may not have answered, as the end of a sentence.
    fn why_unheard(&self, node: usize) -> String {
        if let Some(hint) = self.hints.iter().find(|hint| hint.node == self.config.nodes[node]) {
            return format!("; it {}", hint.text);
        }
        let Some(printed) = self.cluster.printed(node) else { return String::new() };
        match printed.unfinished {
            Some(rest) => format!(
                "; its stdout ends in a line that has no end. A message ends with a newline, and \
                 is flushed; {} bytes came, the last of them: {rest}",
                printed.bytes
            ),
            None if printed.bytes == 0 => "; not a byte came on its stdout. If it printed an \
                 answer, that waits in its own buffer: flush stdout after each message"
                .to_owned(),
            None => format!("; {} bytes came on its stdout, but no answer", printed.bytes),
        }
    }

    /// How long the bench waits for an answer of this type.
    fn patience(&self, kind: &str) -> Duration {
        if kind == "init_ok" { self.config.init_timeout } else { PREPARE_TIMEOUT }
    }
}
