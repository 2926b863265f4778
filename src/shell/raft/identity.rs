//! Whose log this is, and whether this node may be counted.
//!
//! A cluster has no command that founds it, so its identity comes out of its own log: the
//! nonce of the first session that the log opened. It is random, the same on every replica
//! that applied it, and decided once, as everything in a log is. It travels with every
//! bundle. A bundle of another cluster is dropped, on both sides.
//!
//! The log also tells which nodes have ever taken part: those that opened a session. A node
//! that none is known of is told so (`new`), and believes that it begins. A node opens its
//! session when its disk holds a term; so one that is known and begins with nothing has lost
//! something, and was not only killed before anything of its own was durable.
//!
//! A node that may have lost its promises *abstains*: it receives the log, and is
//! counted for nothing. It knows that from its storage, or because it begins with nothing
//! although another node knows that it has taken part. It takes part again once the session that it
//! opened in this incarnation is applied here: see [`Raft::readmit`](crate::raft::Raft::readmit)
//! and `docs/storage.md`.

use super::machine::StateMachine;
use super::standing::ClusterId;
use super::state::Replica;
use crate::message::NodeId;
use crate::node::Context;
use crate::raft::{RaftId, Term};

impl<S: StateMachine> Replica<S> {
    /// Whether the sender of a bundle is of this cluster. If this node has no past, and
    /// the sender knows of one, this node has lost it.
    pub(super) fn admit(
        &mut self,
        cx: &Context<'_>,
        from: RaftId,
        name: &NodeId,
        theirs: Option<ClusterId>,
        is_new: bool,
    ) -> bool {
        let own = self.standing.cluster;
        let Some(started) = &mut self.started else { return false };
        match (own, theirs) {
            (Some(own), Some(theirs)) if own != theirs => {
                // Said once: they will go on sending.
                if started.foreign.insert(from, theirs) != Some(theirs) {
                    tracing::error!("{}", mixed_up(cx.id(), own, name, theirs));
                }
                return false;
            }
            (None, Some(theirs))
                if started.is_blank && !is_new && started.raft.term() == Term::ZERO =>
            {
                tracing::warn!(
                    "{} begins with nothing, but {name} knows that it has taken part in \
                     cluster {theirs}: it abstains until it has caught up",
                    cx.id()
                );
                started.raft.abstain();
                self.standing.abstains = true;
                self.standing_changed = true;
            }
            _ => {}
        }
        started.foreign.remove(&from);
        true
    }

    /// The log has opened a session, the first one perhaps, with this nonce.
    pub(super) fn session_opened(&mut self, cx: &Context<'_>, nonce: u64, origin: RaftId) {
        if self.standing.cluster.is_none() {
            self.standing.cluster = Some(ClusterId::of_first_session(nonce));
            self.standing_changed = true;
        }
        self.known.insert(origin);
        let Some(started) = &mut self.started else { return };
        let own = origin == started.id && started.client.has_nonce(nonce);
        if own && started.raft.is_abstaining() {
            tracing::warn!("{} has caught up, and takes part again", cx.id());
            started.raft.readmit();
            self.standing.abstains = false;
            self.standing_changed = true;
        }
    }

    /// Returns why this node has no leader, if others are of another cluster.
    pub(super) fn cut_off(&self, cx: &Context<'_>) -> Option<String> {
        let started = self.started.as_ref()?;
        let (id, theirs) = started.foreign.first_key_value()?;
        if started.raft.status().leader.is_some() {
            return None;
        }
        let place = usize::try_from(id.0).ok()?.checked_sub(1)?;
        Some(mixed_up(cx.id(), self.standing.cluster?, started.ids.get(place)?, *theirs))
    }
}

/// Why a node does not start whose cluster cannot bring it back.
pub(super) fn alone(why: &str) -> String {
    format!(
        "what this node acknowledged is missing, and without it the others are no quorum that \
         could bring it back: {why}. Give it the directory as it was; or remove the directories \
         of all nodes, and the records beside them, to begin a new cluster with nothing in it"
    )
}

fn mixed_up(own: &NodeId, cluster: ClusterId, other: &NodeId, theirs: ClusterId) -> String {
    format!(
        "the data directory of {own} is of cluster {cluster}, that of {other} is of cluster \
         {theirs}: neither listens to the other. Give each node the directory that it used in \
         this cluster; or remove the directory and the record beside it on the nodes that do \
         not belong, one after the other, and let them catch up"
    )
}
