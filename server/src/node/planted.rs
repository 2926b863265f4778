//! The bugs that can be planted in the node (see [`planted`](crate::planted)). Each function
//! does nothing, or returns its first argument, unless its bug is planted.

use seaworthy::raft::{Restored, Sessions};

use super::envelope::Expire;
use super::lease::ENDS_AT_ONCE;
use super::machine::{MAX_SESSIONS, Machine, SESSION_WINDOW};
use super::members::Roles;
use super::record::Written;
use super::wire::Parcel;
use super::{Effect, Node};
use crate::planted::{Mutant, is};

/// Forgets which writes were carried out, if there was a snapshot.
pub(super) fn restarted(mut machine: Machine, restored: &Restored) -> Machine {
    if is(Mutant::ForgetSessions) && restored.snapshot.is_some() {
        machine.sessions = Sessions::new(MAX_SESSIONS, SESSION_WINDOW);
    }
    machine
}

/// Leaves out of a snapshot who was removed.
pub(super) fn written(mut roles: Roles) -> Roles {
    if is(Mutant::SnapshotWithoutRemoved) {
        roles.removed.clear();
    }
    roles
}

impl Node {
    /// Counts the last record as durable already.
    pub(super) fn plant_unflushed(&mut self) {
        if is(Mutant::CountUnflushed)
            && let Some((persist, _)) = self.tickets.pop_back()
        {
            self.raft.persisted(persist);
        }
    }

    /// Takes a state for that of the last entry applied by now.
    pub(super) fn plant_ahead(&self, written: Written) -> Written {
        match is(Mutant::SnapshotAhead) {
            true => Written { index: self.raft.status().applied.max(written.index), ..written },
            false => written,
        }
    }

    /// Has the leader end leases whose time is over by the clock of this deposed one; whether it
    /// goes on to measure their time.
    pub(super) fn reigns_on(&mut self) -> bool {
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
