//! How a simulated server stands with the others.

use std::sync::PoisonError;

use seaworthy::node::Context;

use super::wire::Parcel;
use super::{FOUNDING, Running};

impl Running {
    /// Tells all others who it is, as a real server does when it dials them, if it has no leader and no
    /// vote to ask for one: it may have been removed, and none of them has a reason to tell it.
    pub(super) fn introduce(&self, cx: &mut Context<'_>) {
        let (raft, me) = (self.node.raft(), self.node.id());
        if raft.leader().is_some() || raft.configuration().1.is_voter(me) {
            return;
        }
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, name) in self.nodes.iter().enumerate() {
            let (id, _) = ledger.invitations.server(place);
            if id != me {
                cx.send(name, &Parcel::packed(&self.node, FOUNDING, id, Vec::new()));
            }
        }
    }

    /// Whether the bench may hold this server to its promises.
    pub(super) fn is_counted(&self) -> bool {
        !self.disk.is_doubtful || self.has_joined()
    }

    /// Whether this server knows that it was removed.
    pub(super) fn has_left(&self) -> bool {
        self.node.machine().roles.removed.contains(&self.node.id())
    }

    /// Whether the log has opened the session of this life.
    pub(super) fn has_joined(&self) -> bool {
        let known = self.node.machine().members.get(&self.node.id());
        known.is_some_and(|member| member.nonce == self.node.member().nonce)
    }
}
