//! Everything at once: the node that was not told which workload it serves.
//!
//! Maelstrom's challenges run a binary without arguments, so this is the default. A
//! part is created when the first message that belongs to it arrives, or at
//! start if storage holds a stream of its name; until then it costs nothing and,
//! more important, sends nothing. Each part runs in a scope of its own: its
//! timers and rpcs come back with its number, its records go to its stream.
//!
//! Deliberately missing: sharing anything between parts.

use std::collections::BTreeMap;

use seaworthy::message::Message;
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy::storage::{Log, Recovered};

use crate::table::{not_supported, own_log};
use crate::{Entry, Options};

/// The workload that serves every workload of a table.
pub struct Everything {
    table: &'static [Entry],
    options: Options,
    /// Who serves a type of message, as places in the table; most types have one.
    owners: BTreeMap<&'static str, Vec<usize>>,
    /// By place in the table; none if it has not been needed yet.
    parts: Vec<Option<Box<dyn Workload + Send>>>,
}

impl Everything {
    /// Serves the workloads of `table`, all configured by `options`.
    ///
    /// # Panics
    /// If the table has more than 255 rows, which is how many scopes there are.
    pub fn new(table: &'static [Entry], options: Options) -> Everything {
        assert!(table.len() <= usize::from(u8::MAX), "a scope is one byte");
        let mut owners: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
        for (place, entry) in table.iter().enumerate() {
            for kind in entry.serves {
                owners.entry(kind).or_default().push(place);
            }
        }
        let parts = table.iter().map(|_| None).collect();
        Everything { table, options, owners, parts }
    }

    fn receive(&mut self, cx: &mut Context<'_>, message: Message) {
        let Some(place) = self.route(&message) else {
            return not_supported(cx, &message);
        };
        if self.parts[place].is_none() {
            self.start_part(cx, place, Log::default());
        }
        self.forward(cx, place, Event::Message(message));
    }

    /// Whose message this is.
    fn route(&self, message: &Message) -> Option<usize> {
        match self.owners.get(message.body.kind.as_str())?.as_slice() {
            [owner] => Some(*owner),
            owners => self.route_shared(owners, message),
        }
    }

    /// Whose message this is if several workloads know its type. A bare `read`
    /// says nothing about itself, so it goes to the one this cluster has used
    /// before, or else to the first of the table.
    fn route_shared(&self, owners: &[usize], message: &Message) -> Option<usize> {
        if let Some(name) = named_by_shape(message) {
            return owners.iter().copied().find(|place| self.table[*place].name == name);
        }
        let used = owners.iter().find(|place| self.parts[**place].is_some());
        used.or(owners.first()).copied()
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
        self.forward(cx, place, own_log(log));
    }

    fn forward(&mut self, cx: &mut Context<'_>, place: usize, event: Event) {
        // Scope 0 is the node's own.
        let scope = u8::try_from(place + 1).expect("the table was measured");
        if let Some(part) = &mut self.parts[place] {
            part.handle(&mut cx.scoped(scope, self.table[place].name), event);
        }
    }
}

impl Workload for Everything {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Start(recovered) => self.start_all_stored(cx, recovered),
            Event::Message(message) => self.receive(cx, message),
            Event::Reply { token, result } => {
                let (place, token) = place_of(token);
                self.forward(cx, place, Event::Reply { token, result });
            }
            Event::Timer(token) => {
                let (place, token) = place_of(token);
                self.forward(cx, place, Event::Timer(token));
            }
            // Tickets are the node's, so a part also hears of tickets of others. It
            // learns nothing wrong by that: what it wrote earlier is durable too.
            Event::Durable(ticket) => {
                for place in 0..self.parts.len() {
                    self.forward(cx, place, Event::Durable(ticket));
                }
            }
        }
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

/// Who asked for what comes back under `token`, and its own name for it.
fn place_of(token: Token) -> (usize, Token) {
    let (scope, token) = token.unscope();
    let place = usize::from(scope).checked_sub(1).expect("only parts set timers and send rpcs");
    (place, token)
}
