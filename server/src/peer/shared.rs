//! The state that all connections of a server share, and how it introduces itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use seaworthy::raft::RaftId;

use super::welcome::Introduction;
use crate::engine::Handle;
use crate::gate::{Gate, Seldom};
use crate::node::{Hello, Lineage, Member, Reply, Request};
use crate::tls::Tls;

/// This server, as it introduces itself.
#[derive(Debug)]
pub struct Myself {
    /// Who it is.
    pub id: RaftId,
    /// How it is reached, its data and its life.
    pub member: Member,
    /// The lives that its data directory has seen.
    pub lineage: Lineage,
    /// How its cluster was founded.
    pub founding: u64,
    /// The token of that founding.
    pub token: String,
    /// Who founded it, with the addresses of then.
    pub founders: BTreeMap<String, Vec<String>>,
}

/// The state that the tasks of all connections share.
pub(super) struct Shared {
    pub(super) myself: Myself,
    pub(super) node: Handle,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) gate: Arc<Gate>,
    /// Lines that strangers can cause.
    pub(super) seldom: Seldom,
    /// The life of each server that was admitted last.
    lives: Mutex<BTreeMap<RaftId, u64>>,
}

impl Shared {
    pub(super) fn new(
        myself: Myself,
        node: Handle,
        tls: Option<Arc<Tls>>,
        gate: Arc<Gate>,
    ) -> Shared {
        let (lives, seldom) = (Mutex::default(), Seldom::default());
        Shared { myself, node, tls, gate, seldom, lives }
    }

    pub(super) fn hello(&self, to: RaftId) -> Hello {
        let Myself { id, member, lineage, founding, .. } = &self.myself;
        let (cluster, member, lineage) = (self.node.cluster_id(), member.clone(), lineage.clone());
        Hello { founding: *founding, cluster, from: *id, to, member, lineage }
    }

    pub(super) async fn introduction(&self) -> Introduction {
        let members = match self.node.ask(Request::Inspect).await {
            Reply::View(view) => view.members,
            _ => BTreeMap::new(),
        };
        Introduction {
            cluster: self.node.cluster_id(),
            token: self.myself.token.clone(),
            founders: self.myself.founders.clone(),
            members,
        }
    }

    /// Notes which life of a server is listened to.
    pub(super) fn note(&self, hello: &Hello) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.insert(hello.from, hello.member.nonce);
    }

    /// Whether that life is still listened to.
    pub(super) fn is_current(&self, hello: &Hello) -> bool {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.get(&hello.from) == Some(&hello.member.nonce)
    }
}
