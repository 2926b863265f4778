//! Bugs that change several parts of a node at once.

use crate::node::envelope::Expire;
use crate::node::lease::ENDS_AT_ONCE;
use crate::node::record::Written;
use crate::node::wire::Parcel;
use crate::node::{Effect, Node};
use crate::planted::{Mutant, is};

impl Node {
    /// Counts the last record as durable already.
    pub(in crate::node) fn plant_unflushed(&mut self) {
        if is(Mutant::CountUnflushed)
            && let Some((persist, _)) = self.tickets.pop_back()
        {
            self.raft.persisted(persist);
        }
    }

    /// Takes a state for that of the last entry applied by now.
    pub(in crate::node) fn plant_ahead(&self, written: Written) -> Written {
        match is(Mutant::SnapshotAhead) {
            true => Written { index: self.raft.status().applied.max(written.index), ..written },
            false => written,
        }
    }

    /// Whether a linearizable read shows the state at hand.
    pub(in crate::node) fn reads_at_once(&self) -> bool {
        is(Mutant::ReadLocal)
            || is(Mutant::ReadDeposed)
                && self.leases.reign.is_some()
                && self.raft.leader().is_none_or(|leader| leader == self.me)
    }

    /// Has the leader end leases whose time is over by the clock of this deposed one; whether it
    /// goes on to measure their time.
    pub(in crate::node) fn reigns_on(&mut self) -> bool {
        if is(Mutant::ReadDeposed) {
            return self.raft.leader().is_none();
        }
        if !is(Mutant::DeposedEnds) {
            return false;
        }
        if let Some((_, deadlines)) = &mut self.leases.reign
            && let Some(leader) = self.raft.leader()
        {
            let ended = deadlines.ended(self.now, ENDS_AT_ONCE);
            deadlines.proposed(&ended);
            if !ended.is_empty() {
                let commands = vec![Expire { ended }.encode()];
                let (class, bytes) = Parcel { commands, ..Parcel::default() }.encode();
                self.effects.push(Effect::Send(leader, class, bytes));
            }
        }
        true
    }
}
