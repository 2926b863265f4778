//! The services of a run: servers of the bench's own, at addresses that nodes may ask.
//!
//! [`maelstrom`] are the four that every challenge has unless it says otherwise: `lin-kv`,
//! `seq-kv`, `lww-kv`, `lin-tso` (source: Maelstrom's `doc/services.md` and `maelstrom.service`). A
//! service answers requests one at a time; the three stores differ in which of their past or
//! diverging states a request is answered from.

mod kv;
mod request;

use seaworthy::message::{NodeId, Packet};

use crate::directory::SERVICES;
use crate::seed::{Draw, Seed};
use kv::{Eventual, Linearizable, Sequential, Store};
use request::{Answer, Fields, Operation};

/// A server of the bench's own.
pub trait Service {
    /// The body of the answer to a request, a JSON object with `in_reply_to`; `None` for no
    /// answer, as to a message of a type that the service does not know.
    fn answer(&mut self, request: &Packet, draw: &mut Draw) -> Option<String>;
}

/// A service and the address at which it is asked.
pub type Named = (&'static str, Box<dyn Service>);

/// All services of a run.
pub struct Services {
    services: Vec<Named>,
    draw: Draw,
}

impl Services {
    /// These services, which draw their random numbers from a stream of their own.
    pub fn new(seed: Seed, services: Vec<Named>) -> Services {
        Services { services, draw: seed.stream("services", 0) }
    }

    /// Their addresses, in the order of their indexes.
    pub fn names(&self) -> Vec<&'static str> {
        self.services.iter().map(|(name, _)| *name).collect()
    }

    /// Answers one request to the service with this index.
    pub fn handle(&mut self, service: usize, request: &Packet) -> Option<Packet> {
        let (_, service) = &mut self.services[service];
        let body = service.answer(request, &mut self.draw)?;
        let (src, dest): (NodeId, NodeId) = (request.dest.clone(), request.src.clone());
        Some(Packet { src, dest, body })
    }
}

/// Maelstrom's services, which hold nothing yet.
pub fn maelstrom() -> Vec<Named> {
    let services: [Box<dyn Service>; 4] = [
        Box::<Kept<Linearizable>>::default(),
        Box::<Kept<Sequential>>::default(),
        Box::<Kept<Eventual>>::default(),
        Box::<Timestamps>::default(),
    ];
    SERVICES.into_iter().zip(services).collect()
}

/// A store as a service.
#[derive(Default)]
struct Kept<S>(S);

impl<S: Store> Service for Kept<S> {
    fn answer(&mut self, request: &Packet, draw: &mut Draw) -> Option<String> {
        let fields = Fields::parse(&request.body)?;
        let operation = Operation::parse(&fields)?;
        let answer = self.0.apply(request.src.as_str(), &operation, draw);
        Some(answer.reply_to(&fields))
    }
}

/// Counts from 0.
#[derive(Default)]
struct Timestamps {
    next: u64,
}

impl Service for Timestamps {
    fn answer(&mut self, request: &Packet, _draw: &mut Draw) -> Option<String> {
        let fields = Fields::parse(&request.body)?;
        if fields.kind()? != "ts" {
            return None;
        }
        let ts = self.next;
        self.next += 1;
        Some(Answer::Timestamp(ts).reply_to(&fields))
    }
}

#[cfg(test)]
mod tests;
