//! Which server runs on which simulated node.
//!
//! The id of a server tells the node, so that parcels find it, and how often the node was added.

use std::collections::BTreeMap;

use seaworthy::raft::RaftId;

/// The bits of an id that tell the node; the rest tells how often it was added.
const PLACE_BITS: u32 = 16;

/// The node of a server, by its place in the list of all.
pub(super) fn place_of(id: RaftId) -> usize {
    (id.0 & ((1 << PLACE_BITS) - 1)) as usize - 1
}

/// The servers that run on the nodes, for the operator's eyes alone.
#[derive(Debug, Default)]
pub(super) struct Invitations {
    /// The last server of each node that was told of to the cluster, and the cluster.
    servers: BTreeMap<usize, (RaftId, u64)>,
    /// How often each node was added.
    additions: BTreeMap<usize, u64>,
}

impl Invitations {
    /// The server that is to run on a node, and the cluster it was added to, unless it is a founder.
    pub(super) fn server(&self, place: usize) -> (RaftId, Option<u64>) {
        match self.servers.get(&place) {
            Some((id, cluster)) => (*id, Some(*cluster)),
            None => (RaftId(place as u64 + 1), None),
        }
    }

    /// Whether a change was ever asked for.
    pub(super) fn is_any(&self) -> bool {
        !self.additions.is_empty()
    }

    /// The id of the server that is to be added to a node next.
    pub(super) fn next_id(&mut self, place: usize) -> RaftId {
        let additions = self.additions.entry(place).or_default();
        *additions += 1;
        RaftId((*additions << PLACE_BITS) | (place as u64 + 1))
    }

    /// A server was added: it is to be started. False if it was, or a later one.
    pub(super) fn invite(&mut self, id: RaftId, cluster: u64) -> bool {
        let place = place_of(id);
        let is_later = self.server(place).0 < id;
        if is_later {
            self.servers.insert(place, (id, cluster));
        }
        is_later
    }
}
