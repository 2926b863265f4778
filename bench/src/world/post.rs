//! Messages on their way: from a node to the network, and from there into the queue.

use seaworthy::message::{NodeId, Packet};
use seaworthy::time::Time;

use super::addresses::Standing;
use super::event::{Event, Flight, Phase};
use super::state::{Blame, Hint, World};
use crate::backend::{Cluster, NodeFault, Outbox, Output, shorten};
use crate::directory::Party;

impl<C: Cluster> World<C> {
    pub(super) fn with_cluster(&mut self, f: impl FnOnce(&mut C, Time, &mut Outbox)) {
        let mut out = Outbox::default();
        f(&mut self.cluster, self.now, &mut out);
        self.absorb(out);
    }

    pub(super) fn absorb(&mut self, out: Outbox) {
        for (node, output) in out.outputs {
            match output {
                Output::Send(packet) => self.accept(node, packet),
                Output::Fault(fault) => self.blame(node, fault),
            }
        }
        for (node, at) in out.wakes {
            self.queue.push(at.max(self.now), Event::Wake(node));
        }
    }

    /// Checks a node's messages, as Maelstrom does: after one message to or from an
    /// address that does not exist the node is mute. It may well send in the name of
    /// another node or of a client, as nodes that forward requests do.
    fn accept(&mut self, node: usize, packet: Packet) {
        if self.lifecycle.is_mute(node) {
            return;
        }
        let body = || shorten(&packet.body, 200);
        // Nearly all messages are sent in the node's own name.
        if packet.src != self.config.nodes[node] && self.standing(&packet.src) == Standing::Unknown
        {
            let (src, body) = (packet.src.to_string(), body());
            return self.blame(node, NodeFault::UnknownSource { src, body });
        }
        for address in [&packet.dest, &packet.src] {
            if let Standing::Closed(asked_last) = self.standing(address)
                && let asked = self.clients.given_up(address, &packet.body).unwrap_or(asked_last)
                && !self.lifecycle.is_excused(node, asked)
            {
                if self.cluster.may_answer_late() {
                    return;
                }
                let (client, body) = (address.to_string(), body());
                return self.blame(node, NodeFault::LateReply { client, body });
            }
        }
        if self.standing(&packet.dest) == Standing::Unknown {
            let (dest, body) = (packet.dest.to_string(), body());
            return self.blame(node, NodeFault::UnknownDestination { dest, body });
        }
        match self.lifecycle.count_message(node, self.now) {
            Ok(()) => self.outgoing.push_back(packet),
            Err(flood) => self.blame(node, flood),
        }
    }

    /// Whether an address exists. Nodes and services are always there.
    fn standing(&self, address: &NodeId) -> Standing {
        match self.directory.find(address) {
            Some(Party::Client) => self.clients.standing(address, self.now),
            Some(Party::Node(_) | Party::Service(_)) => Standing::Open,
            None => Standing::Unknown,
        }
    }

    pub(super) fn blame(&mut self, node: usize, fault: NodeFault) {
        if self.lifecycle.is_mute(node) {
            return;
        }
        self.lifecycle.mute(node);
        self.cluster.mute(node);
        let last_lines = self.cluster.last_lines(node);
        let last_printed = self.cluster.printed(node).unwrap_or_default().lines;
        let name = self.config.nodes[node].clone();
        self.blames.push(Blame { node: name, fault, last_lines, last_printed });
        self.give_up_on(node);
    }

    /// Notes why a message to a client was taken for no answer, once for each node.
    pub(super) fn note_stray(&mut self, packet: &Packet, why: Option<String>) {
        let Some(why) = why else { return };
        let is_known = self.hints.iter().any(|hint| hint.node == packet.src);
        if !is_known && matches!(self.directory.find(&packet.src), Some(Party::Node(_))) {
            let text = format!("sent {} {why}: {}", packet.dest, shorten(&packet.body, 200));
            self.hints.push(Hint { node: packet.src.clone(), text });
        }
    }

    pub(super) fn route_all(&mut self) {
        while let Some(packet) = self.outgoing.pop_front() {
            self.route(packet);
        }
    }

    fn route(&mut self, packet: Packet) {
        let (Some(src), Some(dest)) =
            (self.directory.find(&packet.src), self.directory.find(&packet.dest))
        else {
            unreachable!("both addresses were checked when the message was accepted");
        };
        let id = self.messages;
        self.messages += 1;
        self.journal.note(self.now, "send", id, &packet);
        let (first, second) = self.network.send(self.now, src, dest);
        if let Some(delay) = second {
            let flight = Flight { id, src, dest, packet: packet.clone() };
            self.queue.push(self.now + delay, Event::Deliver(Box::new(flight)));
        }
        let Some(delay) = first else {
            return self.journal.note(self.now, "drop", id, &packet);
        };
        let flight = Flight { id, src, dest, packet };
        self.queue.push(self.now + delay, Event::Deliver(Box::new(flight)));
    }

    /// A node is mute: the bench does not wait for it any more, and a test that has not
    /// begun never will.
    fn give_up_on(&mut self, node: usize) {
        self.lifecycle.forget(node);
        if matches!(self.phase, Phase::Init | Phase::Prepare) {
            self.phase = Phase::Over;
        }
    }
}
