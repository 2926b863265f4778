//! All workloads at once: the node that was not told which workload it serves.
//!
//! Maelstrom's challenges run a binary without arguments, so this is the default. A part
//! is created when the first message that belongs to it arrives, or at start if storage
//! holds a stream of its name; until then it costs nothing and, more important, sends
//! nothing. A bare `read` that arrives before anything else waits until this node or
//! another knows the cluster's workload. Each part runs in a scope of its own: its
//! timers and rpcs come back with its number, its records go to its stream.
//!
//! Deliberately missing: sharing anything between parts.

use std::any::Any;
use std::collections::BTreeMap;

use seaworthy::message::{Body, Message, RpcError};
use seaworthy::node::{Context, Event, Workload};
use seaworthy::storage::{Log, Recovered};

use crate::entry::{Entry, start_with};
use crate::options::Options;
use crate::pending_reads::{self, Parts, PendingReads};
use crate::reply::not_supported;

/// The workload that serves every workload of a table.
pub struct AllWorkloads {
    table: &'static [Entry],
    options: Options,
    /// The workloads that serve a type of message, as places in the table; most types have one.
    owners: BTreeMap<&'static str, Vec<usize>>,
    /// By place in the table; none if it has not been needed yet.
    parts: Vec<Option<Box<dyn Workload + Send>>>,
    /// Reads that wait until this node knows their workload.
    pending_reads: PendingReads,
}

/// The workload that a message belongs to.
enum Owner {
    Part(usize),
    /// One of several, not known which.
    Unknown,
    None,
}

impl AllWorkloads {
    /// Serves the workloads of `table`, all configured by `options`.
    ///
    /// # Panics
    /// If the table has more than 255 rows, which is how many scopes there are.
    pub fn new(table: &'static [Entry], options: Options) -> AllWorkloads {
        assert!(table.len() <= usize::from(u8::MAX), "a scope is one byte");
        let mut owners: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
        for (place, entry) in table.iter().enumerate() {
            for kind in entry.serves {
                owners.entry(kind).or_default().push(place);
            }
        }
        let parts = table.iter().map(|_| None).collect();
        AllWorkloads { table, options, owners, parts, pending_reads: PendingReads::default() }
    }

    fn receive(&mut self, cx: &mut Context<'_>, message: Message) {
        if message.body.kind == pending_reads::ASK {
            return cx.reply(&message.request(), &self.known_parts());
        }
        match self.route(&message) {
            Owner::None => not_supported(cx, &message),
            Owner::Unknown => self.pending_reads.hold(cx, message),
            Owner::Part(place) => {
                self.need_part(cx, place);
                self.forward(cx, place, Event::Message(message));
            }
        }
    }

    fn route(&self, message: &Message) -> Owner {
        match self.owners.get(message.body.kind.as_str()).map(Vec::as_slice) {
            None => Owner::None,
            Some([owner]) => Owner::Part(*owner),
            Some(owners) => self.route_shared(owners, message),
        }
    }

    /// Whose message this is if several workloads know its type. A bare `read`
    /// says nothing about itself, so it goes to the one this cluster has used.
    fn route_shared(&self, owners: &[usize], message: &Message) -> Owner {
        if let Some(name) = named_by_shape(message) {
            let owner = owners.iter().find(|place| self.table[**place].name == name);
            return owner.map_or(Owner::None, |place| Owner::Part(*place));
        }
        let used = owners.iter().find(|place| self.parts[**place].is_some());
        used.map_or(Owner::Unknown, |place| Owner::Part(*place))
    }

    /// Returns the workloads that this node knows the cluster to use.
    fn known_parts(&self) -> Parts {
        let used = self.table.iter().zip(&self.parts).filter(|(_, part)| part.is_some());
        Parts { kind: "parts_ok", parts: used.map(|(entry, _)| entry.name.to_owned()).collect() }
    }

    /// Takes another node's answer about the workloads that the cluster uses.
    fn learn_parts(&mut self, cx: &mut Context<'_>, answer: Result<Body, RpcError>) {
        let parts: Result<Parts, RpcError> = answer.and_then(|body| body.parse());
        let answered = parts.is_ok();
        if let Ok(Parts { parts, .. }) = parts {
            for name in parts {
                if let Some(place) = self.table.iter().position(|entry| entry.name == name) {
                    self.need_part(cx, place);
                }
            }
        }
        self.pending_reads.pause(cx, answered);
    }

    fn need_part(&mut self, cx: &mut Context<'_>, place: usize) {
        if self.parts[place].is_some() {
            return;
        }
        self.start_part(cx, place, Log::default());
        for read in self.pending_reads.release() {
            self.receive(cx, read);
        }
    }

    /// Events of this node itself, which is scope 0.
    fn handle_own(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Reply { token: pending_reads::REPLY, result } => self.learn_parts(cx, result),
            Event::Timer(pending_reads::TIMER) => self.pending_reads.ask(cx),
            event => unreachable!("no workload asked for {event:?}"),
        }
    }

    fn start_all_stored(&mut self, cx: &mut Context<'_>, mut recovered: Recovered) {
        for (place, entry) in self.table.iter().enumerate() {
            let log = recovered.take(entry.name);
            if !log.is_empty() {
                self.start_part(cx, place, log);
            }
        }
    }

    fn start_part(&mut self, cx: &mut Context<'_>, place: usize, log: Log) {
        self.parts[place] = Some((self.table[place].build)(&self.options));
        self.forward(cx, place, start_with(log));
    }

    fn dispatch(&mut self, cx: &mut Context<'_>, scope: u8, event: Event) {
        match usize::from(scope).checked_sub(1) {
            None => self.handle_own(cx, event),
            Some(place) => self.forward(cx, place, event),
        }
    }

    fn forward(&mut self, cx: &mut Context<'_>, place: usize, event: Event) {
        // Scope 0 is the node's own.
        let scope = u8::try_from(place + 1).expect("the table was measured");
        if let Some(part) = &mut self.parts[place] {
            part.handle(&mut cx.scoped(scope, self.table[place].name), event);
        }
    }
}

impl Workload for AllWorkloads {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Start(recovered) => self.start_all_stored(cx, recovered),
            Event::Message(message) => self.receive(cx, message),
            Event::Reply { token, result } => {
                let (scope, token) = token.unscope();
                self.dispatch(cx, scope, Event::Reply { token, result });
            }
            Event::Timer(token) => {
                let (scope, token) = token.unscope();
                self.dispatch(cx, scope, Event::Timer(token));
            }
            // Tickets are the node's, so a part also hears of tickets of others. It
            // learns nothing wrong by that: its own earlier writes are durable too.
            Event::Durable(ticket) => {
                for place in 0..self.parts.len() {
                    self.forward(cx, place, Event::Durable(ticket));
                }
            }
        }
    }

    fn engine(&self) -> Option<&dyn Any> {
        self.parts.iter().flatten().find_map(|part| part.engine())
    }
}

/// The workload whose request has this shape, where the type alone does not tell. A
/// pn-counter does all that a g-counter does, so it takes every delta.
fn named_by_shape(message: &Message) -> Option<&'static str> {
    let has = |field| message.body.field(field).is_some();
    match message.body.kind.as_str() {
        "add" if has("element") => Some("g-set"),
        "add" => Some("pn-counter"),
        "read" if has("key") => Some("lin-kv"),
        _ => None,
    }
}
