//! Members come and go: the nemesis that asks a cluster to change itself.
//!
//! A change is a request like any other (`add_member`, `remove_member`, and
//! `change_members` for several at once, a proposed extension of the protocol), sent to a
//! random node. It may be refused, or lost with a leader; while faults go on, that is
//! left alone. When they are over every node is to be a member again, and the bench asks
//! until each of them is. What was answered is compared with what happened (see
//! `members`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use seaworthy::message::{Message, NodeId, Packet, RpcError};
use seaworthy::time::Time;
use serde_json::json;

use super::members::{Answer, Request, lies};
use super::{Event, World};
use crate::backend::{Cluster, Members};
use crate::seed::{Draw, Seed};

/// How long the bench waits for an answer before it asks another node.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long after a refusal it asks again.
const RETRY: Duration = Duration::from_millis(200);

/// How often several nodes are changed at once.
const TOGETHER: f64 = 0.5;

/// What the bench wants of the members.
pub(super) struct Membership {
    draw: Draw,
    /// Nodes that were asked to leave and not asked to come back.
    away: BTreeSet<usize>,
    /// Nodes that are to be members again, group by group, the first being asked for.
    restore: VecDeque<BTreeSet<usize>>,
    /// The request that is out for the first of them.
    asked: Option<NodeId>,
    attempts: u64,
    requests: Vec<Request>,
    /// The requests without an answer, by where it is to go.
    open: BTreeMap<NodeId, usize>,
    /// The members as they were committed, and since when.
    seen: Vec<(Time, Members)>,
}

impl Membership {
    pub(super) fn new(seed: Seed) -> Membership {
        let draw = seed.stream("membership", 0);
        Membership {
            draw,
            away: BTreeSet::new(),
            restore: VecDeque::new(),
            asked: None,
            attempts: 0,
            requests: Vec::new(),
            open: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    pub(super) fn expects(&self, address: &NodeId) -> bool {
        self.open.contains_key(address)
    }

    /// The cluster has committed to these members.
    pub(super) fn note(&mut self, now: Time, members: Members) {
        self.seen.push((now, members));
    }

    /// What was answered that is not so.
    pub(super) fn lies(&self) -> Vec<String> {
        lies(&self.requests, &self.seen)
    }

    /// Who is to come and who is to go, if `node` is to go; often others as well.
    fn choose(&mut self, node: usize, nodes: usize) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut add, mut remove) = (BTreeSet::new(), BTreeSet::from([node]));
        if self.draw.chance(TOGETHER) {
            if nodes > 3 {
                remove.insert(self.draw.below(nodes));
            }
            add = self.away.difference(&remove).copied().collect();
        }
        self.away.retain(|node| !add.contains(node));
        self.away.extend(&remove);
        (add, remove)
    }
}

/// What an answer to a request says.
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
        let _ = self.send_change(add, remove);
    }

    /// Every node is to be a member again.
    pub(super) fn restore_members(&mut self) {
        let nodes = 0..self.config.nodes.len();
        let membership = &mut self.membership;
        membership.away.clear();
        membership.restore = match membership.draw.chance(TOGETHER) {
            true => VecDeque::from([nodes.collect()]),
            false => nodes.map(|node| BTreeSet::from([node])).collect(),
        };
        self.ask_for_member();
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
        } else {
            self.ask_again_in(RETRY);
        }
    }
}
