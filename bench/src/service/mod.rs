//! The services a run offers to nodes: `lin-kv`, `seq-kv`, `lww-kv`, `lin-tso`.
//!
//! Source: Maelstrom's `doc/services.md` and `maelstrom.service`. A service is an address
//! in the network that answers requests one at a time; what distinguishes the three
//! stores is which of their past or diverging states a request is answered from.

mod kv;
mod request;

use seaworthy::message::Packet;

use crate::world::seed::{Draw, Seed};
use kv::{Eventual, Linearizable, Sequential, Store};
use request::{Answer, Fields, Operation};

/// The services' addresses, in the order of their indexes.
pub const NAMES: [&str; 4] = ["lin-kv", "seq-kv", "lww-kv", "lin-tso"];

/// All services of a run.
pub struct Services {
    stores: [Box<dyn Store>; 3],
    next_timestamp: u64,
    draw: Draw,
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

    /// Answers one request to the service with this index. A message of a type that the
    /// service does not know gets no answer, as in Maelstrom.
    pub fn handle(&mut self, service: usize, request: &Packet) -> Option<Packet> {
        let fields = Fields::parse(&request.body)?;
        let body = self.answer(service, request, &fields)?.reply_to(&fields);
        let (src, dest) = (request.dest.clone(), request.src.clone());
        Some(Packet { src, dest, body })
    }

    fn answer(&mut self, service: usize, request: &Packet, fields: &Fields<'_>) -> Option<Answer> {
        if let Some(store) = self.stores.get_mut(service) {
            let operation = Operation::parse(fields)?;
            return Some(store.apply(request.src.as_str(), &operation, &mut self.draw));
        }
        if fields.kind()? != "ts" {
            return None;
        }
        let ts = self.next_timestamp;
        self.next_timestamp += 1;
        Some(Answer::Timestamp(ts))
    }
}

#[cfg(test)]
mod tests;
