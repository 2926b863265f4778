//! The services a run offers to nodes: `lin-kv`, `seq-kv`, `lww-kv`, `lin-tso`.
//!
//! Source: Maelstrom's `doc/services.md` and the behaviour of its services. A
//! service is an address in the network that answers requests one at a time; what
//! distinguishes the three stores is which of their past or diverging states a
//! request is answered from.

mod kv;

use seaworthy::message::{Body, ErrorCode, Packet, RpcError, encode_reply};
use serde::Serialize;

use crate::world::seed::{Draw, Seed};
use kv::{Eventual, Linearizable, Sequential, Store};

/// The services' addresses, in the order of their indexes.
pub const NAMES: [&str; 4] = ["lin-kv", "seq-kv", "lww-kv", "lin-tso"];

/// All services of a run.
pub struct Services {
    stores: [Box<dyn Store>; 3],
    next_timestamp: u64,
    draw: Draw,
}

#[derive(Serialize)]
struct TsOk {
    #[serde(rename = "type")]
    kind: &'static str,
    ts: u64,
}

#[derive(Serialize)]
struct ErrorReply<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    error: &'a RpcError,
}

impl Services {
    /// Services that hold nothing yet.
    pub fn new(seed: Seed) -> Services {
        Services {
            stores: [
                Box::<Linearizable>::default(),
                Box::<Sequential>::default(),
                Box::<Eventual>::default(),
            ],
            next_timestamp: 0,
            draw: seed.stream("services", 0),
        }
    }

    /// Answers one request to the service with this index. Anything that is no
    /// request (a reply, a message without `msg_id`) gets no answer.
    pub fn handle(&mut self, service: usize, request: &Packet) -> Option<Packet> {
        let body: Body = serde_json::from_str(&request.body).ok()?;
        if body.in_reply_to.is_some() {
            return None;
        }
        let msg_id = body.msg_id?;
        let text = match self.answer(service, request, &body) {
            Ok(json) => with_reply_to(json, msg_id),
            Err(error) => encode_reply(&ErrorReply { kind: "error", error: &error }, msg_id),
        };
        let (src, dest) = (request.dest.clone(), request.src.clone());
        Some(Packet { src, dest, body: text })
    }

    fn answer(
        &mut self,
        service: usize,
        request: &Packet,
        body: &Body,
    ) -> Result<serde_json::Value, RpcError> {
        if let Some(store) = self.stores.get_mut(service) {
            let operation = kv::Operation::parse(body)?;
            return store.apply(request.src.as_str(), &operation, &mut self.draw);
        }
        if body.kind != "ts" {
            let text = format!("{} does not know {}", NAMES[service], body.kind);
            return Err(RpcError::new(ErrorCode::NOT_SUPPORTED, text));
        }
        let ts = self.next_timestamp;
        self.next_timestamp += 1;
        Ok(serde_json::to_value(TsOk { kind: "ts_ok", ts }).expect("plain data"))
    }
}

fn with_reply_to(json: serde_json::Value, msg_id: u64) -> String {
    encode_reply(&json, msg_id)
}
