//! Which nodes run, which have been heard out, and who owes an `init_ok`.

use std::collections::BTreeMap;

use seaworthy::message::NodeId;
use seaworthy::time::Time;

use super::Flight;
use crate::arm::NodeFault;

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
    while_down: Vec<Flight>,
    /// The current second, and the messages sent in it.
    second: u64,
    messages: u64,
    /// All messages it ever sent and got.
    sent: u64,
    received: u64,
}

/// A node that sends more messages than this within a second is flooding.
const FLOOD_PER_SECOND: u64 = 100_000;
/// So is one that sends more than this many, and this many for each it got: gossip
/// with hundreds of neighbours stays far below, and a loop without end gets there
/// however slow the machine is.
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

    /// Notes a start; returns what waited for the node, to be delivered after `init`.
    pub(super) fn started(&mut self, node: usize) -> Vec<Flight> {
        self.nodes[node].running = true;
        std::mem::take(&mut self.nodes[node].while_down)
    }

    pub(super) fn killed(&mut self, node: usize) {
        self.nodes[node].running = false;
        // Whoever waits for this life's answer waits in vain.
        self.expected.retain(|_, e| e.node != node);
    }

    /// Passes a message through to a running node; keeps the first few for one
    /// that is down.
    pub(super) fn admit(&mut self, node: usize, flight: Flight) -> Option<Flight> {
        let state = &mut self.nodes[node];
        if state.running {
            state.received += 1;
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
        }
        state.messages += 1;
        state.sent += 1;
        let unasked = state.sent > FLOOD_UNASKED + FLOOD_PER_RECEIVED * state.received;
        if state.messages > FLOOD_PER_SECOND || unasked {
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

    /// Takes out what `address` was waiting for.
    pub(super) fn answered(&mut self, address: &NodeId) -> Option<Expected> {
        self.expected.remove(address)
    }

    /// Takes out the wait with this attempt's number, if it still goes on.
    pub(super) fn missed(&mut self, attempt: u64) -> Option<Expected> {
        let address = self.expected.iter().find(|(_, e)| e.attempt == attempt)?.0.clone();
        self.expected.remove(&address)
    }

    /// Gives up every wait for this node.
    pub(super) fn forget(&mut self, node: usize) {
        self.expected.retain(|_, e| e.node != node);
    }

    /// Whether the bench waits for nobody.
    pub(super) fn all_answered(&self) -> bool {
        self.expected.is_empty()
    }
}
