//! The addresses of a run: nodes, services, clients.

use std::collections::BTreeMap;

use seaworthy::message::NodeId;

/// The addresses of Maelstrom's services, which no node may take.
pub const SERVICES: [&str; 4] = ["lin-kv", "seq-kv", "lww-kv", "lin-tso"];

/// Who sits at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The node with this index.
    Node(usize),
    /// A client: of a worker, or of the bench itself.
    Client,
    /// A service, by index into the services.
    Service(usize),
}

/// The names a run knows: nodes by index, services, and everything of the form
/// `c<number>` as a client.
#[derive(Clone, Debug)]
pub struct Directory {
    parties: BTreeMap<NodeId, Party>,
}

impl Directory {
    /// The directory of these nodes and services.
    pub fn new(nodes: &[NodeId], services: &[&str]) -> Directory {
        let nodes = nodes.iter().enumerate().map(|(i, n)| (n.clone(), Party::Node(i)));
        let services =
            services.iter().enumerate().map(|(i, s)| (NodeId::new(s), Party::Service(i)));
        // Services last: a node cannot take a service's name.
        Directory { parties: nodes.chain(services).collect() }
    }

    /// The holder of `id`, if there is one. Any number can be a client's: clients that have
    /// gone still get late replies, which is not a fault of the node.
    pub fn find(&self, id: &NodeId) -> Option<Party> {
        if let Some(party) = self.parties.get(id) {
            return Some(*party);
        }
        let digits = id.as_str().strip_prefix('c')?;
        let client = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        client.then_some(Party::Client)
    }
}
