//! The requests by which the bench changes the members of a cluster.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use seaworthy::message::{Message, NodeId, Packet, RpcError};
use serde_json::json;

use super::event::Event;
use super::members::{Answer, Request};
use super::membership::TOGETHER;
use super::state::World;
use crate::backend::Cluster;

/// How long the bench waits for an answer before it asks another node.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long after a refusal it asks again.
const RETRY: Duration = Duration::from_millis(200);

/// Reads the answer to a request.
fn read(packet: Packet) -> Answer {
    let Ok(message) = Message::from_packet(packet) else { return Answer::Unknown };
    match message.body.kind.as_str() {
        "add_member_ok" | "remove_member_ok" | "change_members_ok" => Answer::Ok,
        "error" => match message.body.parse::<RpcError>() {
            Ok(error) if error.code.is_definite() => Answer::Refused,
            _ => Answer::Unknown,
        },
        _ => Answer::Unknown,
    }
}

impl<C: Cluster> World<C> {
    /// Asks a random node to have `node` removed, perhaps with others, and cares no further.
    pub(super) fn request_removal(&mut self, node: usize) {
        let (add, remove) = self.membership.choose(node, self.config.nodes.len());
        self.membership.wants_all = false;
        let _ = self.send_change(add, remove);
    }

    /// Every node is to be a member again.
    pub(super) fn restore_members(&mut self) {
        let nodes = 0..self.config.nodes.len();
        let membership = &mut self.membership;
        membership.away.clear();
        membership.wants_all = true;
        membership.restore = match membership.draw.chance(TOGETHER) {
            true => VecDeque::from([nodes.collect()]),
            false => nodes.map(|node| BTreeSet::from([node])).collect(),
        };
        self.ask_for_member();
    }

    /// Asks once more for nodes that have left since.
    pub(super) fn restore_missing(&mut self) {
        let missing = self.membership.missing(self.config.nodes.len());
        if !missing.is_empty() {
            self.membership.restore.push_back(missing);
            self.ask_again_in(RETRY);
        }
    }

    fn send_change(&mut self, add: BTreeSet<usize>, remove: BTreeSet<usize>) -> NodeId {
        let src = self.clients.new_address();
        let nodes = &self.config.nodes;
        let membership = &mut self.membership;
        let dest = nodes[membership.draw.below(nodes.len())].clone();
        let names = |set: &BTreeSet<usize>| set.iter().map(|n| &nodes[*n]).collect::<Vec<_>>();
        let body = match (&names(&add)[..], &names(&remove)[..]) {
            ([node], []) => json!({"type": "add_member", "node_id": node, "msg_id": 1}),
            ([], [node]) => json!({"type": "remove_member", "node_id": node, "msg_id": 1}),
            (add, remove) => {
                json!({"type": "change_members", "add": add, "remove": remove, "msg_id": 1})
            }
        };
        membership.open.insert(src.clone(), membership.requests.len());
        membership.requests.push(Request { add, remove, sent: self.now, answer: None });
        self.outgoing.push_back(Packet { src: src.clone(), dest, body: body.to_string() });
        src
    }

    fn ask_for_member(&mut self) {
        let Some(nodes) = self.membership.restore.front().cloned() else { return };
        self.membership.asked = Some(self.send_change(nodes, BTreeSet::new()));
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

    /// An answer to a request.
    pub(super) fn membership_answered(&mut self, packet: Packet) {
        let membership = &mut self.membership;
        let is_awaited = membership.asked.as_ref() == Some(&packet.dest);
        let place = membership.open.remove(&packet.dest);
        let answer = read(packet);
        if let Some(request) = place.and_then(|place| membership.requests.get_mut(place)) {
            request.answer = Some((self.now, answer));
        }
        if !is_awaited {
            return;
        }
        membership.asked = None;
        if answer == Answer::Ok {
            membership.restore.pop_front();
            self.ask_for_member();
            self.restore_missing();
        } else {
            self.ask_again_in(RETRY);
        }
    }
}
