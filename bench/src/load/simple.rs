//! The workloads whose operations are one request each: echo, unique-ids,
//! broadcast, g-set and the two counters.

use std::collections::BTreeSet;

use serde_json::json;

use super::client::{Answer, Client, Completion, Errors, Step, json_from_edn, list_field};
use super::topology::neighbours;
use super::{Ask, Connection, Invocation, Load, Next};
use crate::config::RunConfig;
use crate::edn::Edn;

/// `echo`: the same back.
pub struct Echo;

impl Load for Echo {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let text = format!("Please echo {}", ask.draw.below(128));
        Next::Invoke(ask.any(), Invocation::new("echo", Edn::str(text)))
    }

    fn after_info(&self) -> Connection {
        Connection::Closed
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(Simple::Echo)
    }
}

/// `unique-ids`: never the same twice.
pub struct UniqueIds;

impl Load for UniqueIds {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        Next::Invoke(ask.any(), Invocation::new("generate", Edn::Nil))
    }

    fn after_info(&self) -> Connection {
        Connection::Kept
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(Simple::UniqueIds)
    }
}

/// The last reads: one on every worker.
struct LastReads {
    left: BTreeSet<usize>,
    /// Whether the history says that they are the last.
    is_marked: bool,
}

impl LastReads {
    fn marked(config: &RunConfig) -> LastReads {
        LastReads { left: (0..config.concurrency).collect(), is_marked: true }
    }

    fn next(&mut self, ask: &Ask<'_>) -> Next {
        if self.left.is_empty() {
            return Next::Done;
        }
        let Some(worker) = ask.free.iter().copied().find(|w| self.left.contains(w)) else {
            return Next::Pending;
        };
        self.left.remove(&worker);
        let read = Invocation::new("read", Edn::Nil);
        Next::Invoke(worker, if self.is_marked { read.last() } else { read })
    }
}

/// `broadcast` and `g-set`: an element that was added is in every later read.
pub struct Elements {
    /// The operation that adds one.
    f: &'static str,
    kind: Simple,
    next_element: i64,
    last_reads: LastReads,
    preparation: Vec<(usize, String, &'static str)>,
}

impl Elements {
    /// The load of a run of `broadcast`, whose nodes are told a topology first.
    pub fn broadcast(config: &RunConfig) -> Elements {
        let neighbours = neighbours(config.args.topology, config.nodes.len());
        let name = |i: &usize| json!(config.nodes[*i].as_str());
        let topology: serde_json::Map<_, _> = (0..config.nodes.len())
            .map(|i| {
                let around: serde_json::Value = neighbours[i].iter().map(name).collect();
                (config.nodes[i].to_string(), around)
            })
            .collect();
        let body = json!({"type": "topology", "topology": topology}).to_string();
        let preparation = (0..config.nodes.len()).map(|i| (i, body.clone(), "topology_ok"));
        Elements {
            f: "broadcast",
            kind: Simple::Broadcast,
            next_element: 0,
            last_reads: LastReads::marked(config),
            preparation: preparation.collect(),
        }
    }

    /// The load of a run of `g-set`. Maelstrom does not mark its last reads.
    pub fn g_set(config: &RunConfig) -> Elements {
        Elements {
            f: "add",
            kind: Simple::GSet,
            next_element: 0,
            last_reads: LastReads { is_marked: false, ..LastReads::marked(config) },
            preparation: Vec::new(),
        }
    }
}

impl Load for Elements {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let op = if ask.draw.chance(0.5) {
            Invocation::new("read", Edn::Nil)
        } else {
            self.next_element += 1;
            Invocation::new(self.f, Edn::Int(self.next_element - 1))
        };
        Next::Invoke(ask.any(), op)
    }

    fn next_last(&mut self, ask: &mut Ask<'_>) -> Next {
        self.last_reads.next(ask)
    }

    fn has_last_phase(&self) -> bool {
        true
    }

    fn after_info(&self) -> Connection {
        Connection::Closed
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(self.kind)
    }

    fn preparation(&self) -> Vec<(usize, String, &'static str)> {
        self.preparation.clone()
    }
}

/// `g-counter` and `pn-counter`: a sum of deltas.
pub struct Counter {
    smallest_delta: i64,
    last_reads: LastReads,
}

impl Counter {
    /// The workload of a run, with deltas from `smallest_delta` to 4.
    pub fn new(config: &RunConfig, smallest_delta: i64) -> Counter {
        Counter { smallest_delta, last_reads: LastReads::marked(config) }
    }
}

impl Load for Counter {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        // One generator for both, as Maelstrom has it: g-counter drops the adds
        // with negative deltas, so it reads twice as often as it adds.
        let op = loop {
            if ask.draw.chance(0.5) {
                break Invocation::new("read", Edn::Nil);
            }
            let delta = ask.draw.between(-5, 4);
            if delta >= self.smallest_delta {
                break Invocation::new("add", Edn::Int(delta));
            }
        };
        Next::Invoke(ask.any(), op)
    }

    fn next_last(&mut self, ask: &mut Ask<'_>) -> Next {
        self.last_reads.next(ask)
    }

    fn has_last_phase(&self) -> bool {
        true
    }

    fn after_info(&self) -> Connection {
        Connection::Closed
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(CounterClient)
    }
}

/// The client of all of them but the counters.
#[derive(Clone, Copy)]
enum Simple {
    Echo,
    UniqueIds,
    Broadcast,
    GSet,
}

impl Client for Simple {
    fn invoke(&mut self, op: &Invocation) -> Step {
        let value = json_from_edn(&op.value);
        Step::request(&match op.f.as_str() {
            "echo" => json!({"type": "echo", "echo": value}),
            "generate" => json!({"type": "generate"}),
            "broadcast" => json!({"type": "broadcast", "message": value}),
            "add" => json!({"type": "add", "element": value}),
            _ => json!({"type": "read"}),
        })
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        let value = match op.f.as_str() {
            "echo" => {
                body.expect("echo_ok", &["echo"])?;
                whole_reply(body)
            }
            "generate" => {
                body.expect("generate_ok", &["id"])?;
                body.edn("id")
            }
            "broadcast" => {
                body.expect("broadcast_ok", &[])?;
                op.value.clone()
            }
            "add" => {
                body.expect("add_ok", &[])?;
                op.value.clone()
            }
            _ => {
                let name = if matches!(self, Simple::GSet) { "value" } else { "messages" };
                body.expect("read_ok", &[name])?;
                list_field(body, name)?
            }
        };
        Ok(Step::Complete(Completion::ok(value)))
    }

    fn errors(&self, op: &Invocation) -> Errors {
        match self {
            Simple::Broadcast if op.f == "read" => Errors::Idempotent,
            Simple::Broadcast | Simple::UniqueIds | Simple::Echo => Errors::Handled,
            Simple::GSet => Errors::Unhandled,
        }
    }
}

/// An echo's result is the whole body of the reply, as Maelstrom records it.
fn whole_reply(body: &Answer) -> Edn {
    let mut entries = Vec::new();
    for name in body.field_names().chain(["in_reply_to", "msg_id", "type"]) {
        if body.field(name).is_some() {
            entries.push((Edn::keyword(name), body.edn(name)));
        }
    }
    Edn::Map(entries)
}

struct CounterClient;

impl Client for CounterClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        Step::request(&match op.f.as_str() {
            "add" => json!({"type": "add", "delta": json_from_edn(&op.value)}),
            _ => json!({"type": "read"}),
        })
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        if op.f == "add" {
            body.expect("add_ok", &[])?;
            return Ok(Step::Complete(Completion::ok(op.value.clone())));
        }
        body.expect("read_ok", &["value"])?;
        match body.edn("value") {
            value @ Edn::Int(_) => Ok(Step::Complete(Completion::ok(value))),
            _ => Err("value is not an integer".into()),
        }
    }

    fn errors(&self, _op: &Invocation) -> Errors {
        Errors::Unhandled
    }
}
