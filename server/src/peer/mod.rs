//! Connections to the other servers: TCP, with TLS where their URLs say so.
//!
//! Each server dials each other one twice: once for control (votes, heartbeats, answers,
//! short appends) and once for bulk, so that no snapshot is in the way of a heartbeat. A
//! connection carries parcels from the server that dialled it, and nothing back but the
//! answer to the greeting.
//!
//! ```text
//! dialler    magic 8 | version u16 | frame of `Hello`
//! listener   frame of `Welcome`
//! dialler    frame*                     each a parcel
//!
//! frame      length u32 | crc u32 | payload
//! ```
//!
//! Integers are little-endian; the CRC (CRC-32/ISO-HDLC) covers the payload. Both sides
//! check the other's [`Hello`](crate::node::Hello): nothing is sent to, or taken from, a
//! server that is refused.
//!
//! A lane to a server is bounded in bytes, and drops parcels that do not fit: Raft sends
//! again, and a slow server must not hold up the others. Names are resolved anew at each
//! dial. No byte that comes in here is trusted: a failed check closes the connection.

mod accept;
mod dial;
mod frame;
mod introduction;
mod lane;
mod shared;
mod welcome;

use std::collections::BTreeMap;
use std::sync::Arc;

use seaworthy::raft::RaftId;
use tokio::net::TcpListener;
use tokio::runtime::Handle as Runtime;

pub use self::introduction::ask;
use self::lane::Lane;
pub use self::shared::Myself;
use self::shared::Shared;
pub use self::welcome::Introduction;
use crate::engine::{Handle, Outbox};
use crate::gate::Gate;
use crate::node::{Class, Member};
use crate::tls::Tls;

/// How this server and the others reach each other.
pub struct Endpoint {
    /// Where others are listened for, and whether with TLS.
    pub listeners: Vec<(TcpListener, bool)>,
    /// Certificates, if any URL asks for TLS.
    pub tls: Option<Arc<Tls>>,
    /// The places for connections of others.
    pub gate: Arc<Gate>,
}

/// The lanes to all other servers.
pub struct Peers {
    shared: Arc<Shared>,
    runtime: Runtime,
    lanes: BTreeMap<RaftId, [Lane; 2]>,
}

impl Peers {
    /// Begins to listen for the others, and to dial `members`.
    pub fn start(
        myself: Myself,
        node: Handle,
        Endpoint { listeners, tls, gate }: Endpoint,
        members: &BTreeMap<RaftId, Member>,
    ) -> Peers {
        let shared = Arc::new(Shared::new(myself, node, tls, gate));
        let runtime = Runtime::current();
        for (listener, has_tls) in listeners {
            runtime.spawn(accept::listen(shared.clone(), listener, has_tls));
        }
        if members.len() > 1 {
            runtime.spawn(dial::look_at_myself(shared.clone()));
        }
        let mut peers = Peers { shared, runtime, lanes: BTreeMap::new() };
        peers.set_members(members);
        peers
    }
}

impl Outbox for Peers {
    fn send(&mut self, to: RaftId, class: Class, bytes: Vec<u8>) {
        let Some(lanes) = self.lanes.get(&to) else { return };
        let lane = &lanes[usize::from(class == Class::Bulk)];
        if !lane.send(bytes) {
            let dropped = &self.shared.node.metrics.peer_dropped;
            dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn set_members(&mut self, members: &BTreeMap<RaftId, Member>) {
        // One that has left may still have to be told: its lanes end with its connections, and are
        // dropped at the next change.
        self.lanes.retain(|id, lanes| members.contains_key(id) || lanes[0].has_address());
        for lane in self.lanes.iter().filter(|(id, _)| !members.contains_key(id)) {
            lane.1.iter().for_each(Lane::forget_address);
        }
        let own = self.shared.myself.id;
        for (id, member) in members.iter().filter(|(id, _)| **id != own) {
            self.meet(*id, member);
        }
    }
}

impl Peers {
    /// Begins to dial a server, if it is new, and learns where it is.
    fn meet(&mut self, id: RaftId, member: &Member) {
        let (shared, runtime) = (&self.shared, &self.runtime);
        let lanes = self.lanes.entry(id).or_insert_with(|| {
            [Class::Control, Class::Bulk].map(|class| {
                let (lane, end) = lane::lane(class);
                runtime.spawn(dial::keep_connected(shared.clone(), id, class, end));
                lane
            })
        });
        for lane in lanes {
            lane.set_address(&member.name, &member.peer_urls);
        }
    }
}
