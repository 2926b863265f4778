//! Members come and go: the nemesis that asks a cluster to change itself.
//!
//! A change is a request like any other (`add_member`, `remove_member`, a proposed
//! extension of the protocol), sent to a random node. It may be refused, or lost with
//! a leader; while faults go on, that is left alone. When they are over every
//! node is to be a member again, and the bench asks until each of them is.

use std::collections::VecDeque;
use std::time::Duration;

use seaworthy::message::{Message, NodeId, Packet};
use serde_json::json;

use super::seed::{Draw, Seed};
use super::{Event, World};
use crate::arm::Cluster;

/// How long the bench waits for an answer before it asks another node.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long after a refusal it asks again.
const RETRY: Duration = Duration::from_millis(200);

/// What the bench wants of the members.
pub(super) struct Membership {
    draw: Draw,
    /// Nodes that are to be members again, the first one being asked for.
    restore: VecDeque<usize>,
    /// The request that is out for the first of them.
    asked: Option<NodeId>,
    attempts: u64,
}

impl Membership {
    pub(super) fn new(seed: Seed) -> Membership {
        let draw = seed.stream("membership", 0);
        Membership { draw, restore: VecDeque::new(), asked: None, attempts: 0 }
    }

    pub(super) fn expects(&self, address: &NodeId) -> bool {
        self.asked.as_ref() == Some(address)
    }
}

impl<C: Cluster> World<C> {
    /// Asks a random node for a change, and cares no further.
    pub(super) fn request_change(&mut self, kind: &str, node: usize) {
        let _ = self.send_change(kind, node);
    }

    /// Every node is to be a member again.
    pub(super) fn restore_members(&mut self) {
        self.membership.restore = (0..self.config.nodes.len()).collect();
        self.ask_for_member();
    }

    fn send_change(&mut self, kind: &str, node: usize) -> NodeId {
        let src = self.clients.new_address();
        let asked = self.membership.draw.below(self.config.nodes.len());
        let dest = self.config.nodes[asked].clone();
        let body = json!({"type": kind, "node_id": self.config.nodes[node], "msg_id": 1});
        self.outgoing.push_back(Packet { src: src.clone(), dest, body: body.to_string() });
        src
    }

    fn ask_for_member(&mut self) {
        let Some(node) = self.membership.restore.front().copied() else { return };
        self.membership.asked = Some(self.send_change("add_member", node));
        self.ask_again_in(PATIENCE);
    }

    fn ask_again_in(&mut self, delay: Duration) {
        self.membership.attempts += 1;
        let attempt = self.membership.attempts;
        self.queue.push(self.now + delay, Event::Membership(attempt));
    }

    /// The moment to ask again has come, unless an answer came first.
    pub(super) fn membership_due(&mut self, attempt: u64) {
        if attempt == self.membership.attempts {
            self.ask_for_member();
        }
    }

    /// An answer to the request that is out.
    pub(super) fn membership_answered(&mut self, packet: Packet) {
        self.membership.asked = None;
        let done = Message::from_packet(packet).is_ok_and(|m| m.body.kind == "add_member_ok");
        if done {
            self.membership.restore.pop_front();
            self.ask_for_member();
        } else {
            self.ask_again_in(RETRY);
        }
    }
}
