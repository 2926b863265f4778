//! Which nodes run, which have been heard out, and who owes an `init_ok`.

use std::collections::BTreeMap;

use seaworthy::message::NodeId;
use seaworthy::time::Time;

use super::event::Flight;
use crate::backend::NodeFault;
use crate::directory::Party;

/// How many messages that came while a node was down it still gets after its
/// restart (Maelstrom's behaviour).
const KEPT_WHILE_DOWN: usize = 10;

/// The state of every node as the bench sees it.
pub(super) struct Lifecycle {
    nodes: Vec<State>,
    /// Requests of the bench itself (init, preparation) that await their answer,
    /// by the address that asked.
    expected: BTreeMap<NodeId, Expected>,
    attempts: u64,
}

#[derive(Default)]
struct State {
    running: bool,
    mute: bool,
    paused: bool,
    /// When it was last started or resumed: its messages afterwards may answer requests of long
    /// before.
    revived: Time,
    while_down: Vec<Flight>,
    /// The current second, and the messages sent in it.
    second: u64,
    messages: u64,
    /// The requests that clients sent to it in that second.
    requests: u64,
    /// All messages it ever sent, and all it got from others.
    sent: u64,
    received: u64,
}

/// A node that sends more messages than this within a second is flooding, unless it answers: each
/// request of a client in that second excuses `FLOOD_PER_REQUEST`. Messages of other nodes do not:
/// two that answer each other for ever are a flood.
const FLOOD_PER_SECOND: u64 = 100_000;
const FLOOD_PER_REQUEST: u64 = 100;
/// So is one that sends more than this many, and this many for each it got: gossip
/// with hundreds of neighbours stays far below, and a loop without end gets there
/// however slow the machine is. Messages to itself excuse nothing, or a loop that sends them would
/// be a flood on fast machines only.
const FLOOD_UNASKED: u64 = 10_000;
const FLOOD_PER_RECEIVED: u64 = 1_000;

/// An answer that the bench waits for.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) node: usize,
    pub(super) kind: &'static str,
    pub(super) attempt: u64,
}

impl Lifecycle {
    pub(super) fn new(nodes: usize) -> Lifecycle {
        let nodes = (0..nodes).map(|_| State::default()).collect();
        Lifecycle { nodes, expected: BTreeMap::new(), attempts: 0 }
    }

    pub(super) fn is_running(&self, node: usize) -> bool {
        self.nodes[node].running
    }

    pub(super) fn is_mute(&self, node: usize) -> bool {
        self.nodes[node].mute
    }

    pub(super) fn mute(&mut self, node: usize) {
        self.nodes[node].mute = true;
    }

    /// Notes a start; returns the messages that waited for the node, to be delivered after `init`.
    /// A new process is heard, whatever the last one did.
    pub(super) fn started(&mut self, node: usize, now: Time) -> Vec<Flight> {
        let state = &mut self.nodes[node];
        (state.running, state.mute, state.revived) = (true, false, now);
        std::mem::take(&mut state.while_down)
    }

    /// Whether a request of this time met a node that the bench had killed or stopped, so
    /// that being late with the answer is the bench's doing.
    pub(super) fn is_excused(&self, node: usize, asked: Time) -> bool {
        asked < self.nodes[node].revived
    }

    pub(super) fn killed(&mut self, node: usize) {
        self.nodes[node].running = false;
        self.nodes[node].paused = false;
        // A request for this incarnation's answer is never answered.
        self.expected.retain(|_, e| e.node != node);
    }

    /// Passes a message through to a running node; keeps the first few for one
    /// that is down.
    pub(super) fn admit(&mut self, node: usize, flight: Flight) -> Option<Flight> {
        let state = &mut self.nodes[node];
        if state.running {
            state.received += u64::from(flight.src != Party::Node(node));
            state.requests += u64::from(flight.src == Party::Client);
            return Some(flight);
        }
        if state.while_down.len() < KEPT_WHILE_DOWN {
            state.while_down.push(flight);
        }
        None
    }

    /// Counts a message a node sends; says so if that makes it a flood.
    pub(super) fn count_message(&mut self, node: usize, now: Time) -> Result<(), NodeFault> {
        let state = &mut self.nodes[node];
        let second = now.as_millis() / 1000;
        if state.second != second {
            (state.second, state.messages) = (second, 0);
            state.requests = 0;
        }
        state.messages += 1;
        state.sent += 1;
        let unasked = state.sent > FLOOD_UNASKED + FLOOD_PER_RECEIVED * state.received;
        let excused = FLOOD_PER_REQUEST * state.requests;
        if state.messages > FLOOD_PER_SECOND + excused || unasked {
            return Err(NodeFault::Flood { sent: state.sent, received: state.received });
        }
        Ok(())
    }

    /// Notes that `address` awaits a `kind` from `node`; returns the attempt's
    /// number for its deadline.
    pub(super) fn expect(&mut self, address: NodeId, node: usize, kind: &'static str) -> u64 {
        self.attempts += 1;
        self.expected.insert(address, Expected { node, kind, attempt: self.attempts });
        self.attempts
    }

    pub(super) fn expects(&self, address: &NodeId) -> bool {
        self.expected.contains_key(address)
    }

    /// Takes out the answer that `address` was waiting for.
    pub(super) fn answered(&mut self, address: &NodeId) -> Option<Expected> {
        self.expected.remove(address)
    }

    /// Notes that a node is stopped. Its overdue answers can wait.
    pub(super) fn paused(&mut self, node: usize) {
        self.nodes[node].paused = self.nodes[node].running;
    }

    /// Notes that a node goes on; returns the attempts whose time begins anew.
    pub(super) fn resumed(&mut self, node: usize, now: Time) -> Vec<u64> {
        if !std::mem::take(&mut self.nodes[node].paused) {
            return Vec::new();
        }
        self.nodes[node].revived = now;
        let owed = self.expected.values_mut().filter(|e| e.node == node);
        owed.map(|expected| {
            self.attempts += 1;
            expected.attempt = self.attempts;
            self.attempts
        })
        .collect()
    }

    /// Takes out the wait with this attempt's number, if it still goes on.
    pub(super) fn missed(&mut self, attempt: u64) -> Option<Expected> {
        let is_late = |e: &Expected| e.attempt == attempt && !self.nodes[e.node].paused;
        let address = self.expected.iter().find(|(_, e)| is_late(e))?.0.clone();
        self.expected.remove(&address)
    }

    /// Gives up every wait for this node.
    pub(super) fn forget(&mut self, node: usize) {
        self.expected.retain(|_, e| e.node != node);
    }

    /// Whether the bench waits for no answer.
    pub(super) fn all_answered(&self) -> bool {
        self.expected.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use seaworthy::message::Packet;

    use super::*;

    #[test]
    fn a_node_that_is_stopped_owes_its_init_ok_later() {
        let mut lifecycle = Lifecycle::new(2);
        for node in 0..2 {
            lifecycle.started(node, Time::ZERO);
        }
        let first = lifecycle.expect("c0".into(), 0, "init_ok");
        let other = lifecycle.expect("c1".into(), 1, "init_ok");
        lifecycle.paused(0);
        assert!(lifecycle.missed(first).is_none(), "it cannot answer");
        assert!(lifecycle.missed(other).is_some(), "this one could");
        let again = lifecycle.resumed(0, Time::ZERO);
        assert!(lifecycle.missed(first).is_none(), "its time begins anew");
        assert_eq!(again.len(), 1);
        assert_eq!(lifecycle.missed(again[0]).map(|e| e.node), Some(0));
        assert!(lifecycle.resumed(0, Time::ZERO).is_empty());
    }

    #[test]
    fn what_was_asked_of_a_node_that_was_stopped_is_answered_late() {
        let mut lifecycle = Lifecycle::new(1);
        let at = Time::from_millis;
        lifecycle.started(0, Time::ZERO);
        assert!(!lifecycle.is_excused(0, Time::ZERO), "it ran all the time");
        lifecycle.paused(0);
        lifecycle.resumed(0, at(9000));
        assert!(lifecycle.is_excused(0, at(100)));
        assert!(!lifecycle.is_excused(0, at(9000)));
        lifecycle.mute(0);
        lifecycle.killed(0);
        lifecycle.started(0, at(20_000));
        assert!(lifecycle.is_excused(0, at(9000)) && !lifecycle.is_mute(0));
    }

    /// A message to node 0.
    fn flight(src: Party) -> Flight {
        let packet = Packet { src: "x".into(), dest: "n0".into(), body: "{}".into() };
        Flight { id: 1, src, dest: Party::Node(0), packet }
    }

    #[test]
    fn talking_to_itself_is_a_flood_at_any_speed() {
        // Sends a message a millisecond, and gets as many from `src`.
        let may_send = |src: Party| {
            let mut lifecycle = Lifecycle::new(2);
            lifecycle.started(0, Time::ZERO);
            (0..=FLOOD_UNASKED).all(|at_ms| {
                lifecycle.admit(0, flight(src));
                lifecycle.count_message(0, Time::from_millis(at_ms)).is_ok()
            })
        };
        assert!(!may_send(Party::Node(0)));
        assert!(may_send(Party::Node(1)), "it may well answer its neighbour");
    }

    #[test]
    fn answers_are_no_flood_however_many() {
        let mut lifecycle = Lifecycle::new(1);
        lifecycle.started(0, Time::ZERO);
        for _ in 0..2 * FLOOD_PER_SECOND {
            lifecycle.admit(0, flight(Party::Client));
            assert_eq!(lifecycle.count_message(0, Time::ZERO), Ok(()));
        }
        let mut next = || lifecycle.count_message(0, Time::from_millis(1000));
        assert!((0..=FLOOD_PER_SECOND).any(|_| next().is_err()), "no request came in");
    }
}
