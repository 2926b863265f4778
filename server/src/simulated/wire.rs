//! Messages between simulated servers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use seaworthy::message::Body;
use seaworthy::raft::{RaftId, Term};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::node::{Hello, Node, votes};

/// The type of a [`Parcel`].
pub(super) const PARCEL: &str = "parcel";
/// The type of a [`Refused`].
pub(super) const REFUSED: &str = "refused";

/// Bytes of a node, with the introduction of their sender.
pub(super) struct Parcel {
    pub(super) hello: Hello,
    pub(super) bytes: Vec<u8>,
}

/// A server will never be listened to in this life.
pub(super) struct Refused {
    /// The random number of the life that was refused.
    pub(super) nonce: u64,
    /// It was removed from the cluster.
    pub(super) has_left: bool,
    pub(super) why: String,
}

/// A message: binary fields as base64 of postcard, so that a 64-bit number survives JSON.
#[derive(Serialize)]
pub(super) struct Packed {
    #[serde(rename = "type")]
    kind: &'static str,
    data: String,
    why: String,
    /// The votes in the data once more, in the notation that the bench's invariants read
    /// (`seaworthy::shell::raft::promises`).
    m: Vec<(Term, Value)>,
}

impl Parcel {
    pub(super) fn packed(node: &Node, founding: u64, to: RaftId, bytes: Vec<u8>) -> Packed {
        let cluster = node.cluster().unwrap_or(0);
        let (member, lineage) = (node.member().clone(), node.lineage().clone());
        let hello = Hello { founding, cluster, from: node.id(), to, member, lineage };
        let vote = |(term, is_candidacy)| match is_candidacy {
            true => (term, json!({"v": [false, false, [0, 0]]})),
            false => (term, json!({"V": [false, true]})),
        };
        let m = votes(&bytes).into_iter().map(vote).collect();
        Packed { kind: PARCEL, data: pack(&(hello, bytes)), why: String::new(), m }
    }

    pub(super) fn read(body: &Body) -> Option<Parcel> {
        let (hello, bytes) = unpack(body)?;
        Some(Parcel { hello, bytes })
    }
}

impl Packed {
    /// Of a server that the bench does not look into.
    pub(super) fn without_votes(self) -> Packed {
        Packed { m: Vec::new(), ..self }
    }
}

impl Refused {
    pub(super) fn packed(nonce: u64, has_left: bool, why: String) -> Packed {
        Packed { kind: REFUSED, data: pack(&(nonce, has_left)), why, m: Vec::new() }
    }

    pub(super) fn read(body: &Body) -> Option<Refused> {
        let why = serde_json::from_str(body.field("why")?.get()).ok()?;
        let (nonce, has_left) = unpack(body)?;
        Some(Refused { nonce, has_left, why })
    }
}

fn pack(data: &impl Serialize) -> String {
    BASE64_STANDARD.encode(postcard::to_allocvec(data).expect("plain data"))
}

fn unpack<T: for<'a> Deserialize<'a>>(body: &Body) -> Option<T> {
    let text: String = serde_json::from_str(body.field("data")?.get()).ok()?;
    postcard::from_bytes(&BASE64_STANDARD.decode(text).ok()?).ok()
}
