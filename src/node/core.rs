//! A node's identity, clock, tickets, timers and requests, which the context lends to the
//! workload.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::event::{Ticket, Token};
use crate::message::NodeId;
use crate::time::Time;

/// The part of a node that the context lends to the workload.
pub(super) struct Core {
    pub(super) id: NodeId,
    pub(super) node_ids: Vec<NodeId>,
    pub(super) initial_member_ids: Option<Vec<NodeId>>,
    pub(super) now: Time,
    pub(super) rng: Pcg64Mcg,
    /// Why the workload refuses to serve.
    pub(super) refused: Option<String>,
    pub(super) next_msg_id: u64,
    pub(super) last_ticket: Ticket,
    pub(super) rpcs: BTreeMap<u64, Rpc>,
    pub(super) timers: BTreeMap<Token, Time>,
    /// Everything in `timers` and `rpcs` once more, by deadline.
    pub(super) deadlines: BTreeSet<(Time, Due)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Timer(Token),
    Rpc(u64),
}

pub(super) struct Rpc {
    pub(super) dest: NodeId,
    pub(super) token: Token,
    pub(super) deadline: Time,
}

impl Core {
    pub(super) fn new(seed: u64) -> Core {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        // Replies to an earlier incarnation of this node may still be on their way. A
        // random first id keeps them from matching a request of this one.
        let next_msg_id = 1 + (u64::from(rng.next_u32()) << 8);
        Core {
            id: NodeId::new(""),
            node_ids: Vec::new(),
            initial_member_ids: None,
            now: Time::ZERO,
            rng,
            refused: None,
            next_msg_id,
            last_ticket: Ticket(0),
            rpcs: BTreeMap::new(),
            timers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket.0 += 1;
        self.last_ticket
    }

    pub(super) fn start_rpc(&mut self, dest: NodeId, timeout: Duration, token: Token) -> u64 {
        let msg_id = self.next_msg_id;
        self.next_msg_id += 1;
        let deadline = self.now + timeout;
        self.rpcs.insert(msg_id, Rpc { dest, token, deadline });
        self.deadlines.insert((deadline, Due::Rpc(msg_id)));
        msg_id
    }

    pub(super) fn end_rpc(&mut self, msg_id: u64) -> Option<Rpc> {
        let rpc = self.rpcs.remove(&msg_id)?;
        self.deadlines.remove(&(rpc.deadline, Due::Rpc(msg_id)));
        Some(rpc)
    }

    pub(super) fn set_timer(&mut self, token: Token, delay: Duration) {
        self.cancel_timer(token);
        let at = self.now + delay;
        self.timers.insert(token, at);
        self.deadlines.insert((at, Due::Timer(token)));
    }

    pub(super) fn has_timer(&self, token: Token) -> bool {
        self.timers.contains_key(&token)
    }

    pub(super) fn cancel_timer(&mut self, token: Token) {
        if let Some(at) = self.timers.remove(&token) {
            self.deadlines.remove(&(at, Due::Timer(token)));
        }
    }

    pub(super) fn take_due(&mut self, also_now: bool) -> Vec<(Time, Due)> {
        let mut due = Vec::new();
        let is_due = |at: Time| at < self.now || (also_now && at == self.now);
        while let Some(first) = self.deadlines.first().filter(|(at, _)| is_due(*at)) {
            due.push(*first);
            self.deadlines.pop_first();
        }
        due
    }
}
