//! Broadcast: a message told to one node is read from all.
//!
//! The messages are a set that only grows, and the gossip engine does the rest.
//! Maelstrom's `topology` is acknowledged; it is followed with `--overlay topology` only,
//! because a hub needs fewer messages than any topology that Maelstrom proposes.

use std::collections::BTreeMap;

use seaworthy::gossip::{Element, Elements, GrowSet};
use seaworthy::message::{Message, NodeId, RpcError};
use seaworthy::node::{Context, DEFAULT_STREAM, Event, Workload};
use seaworthy::shell::gossip::Replicated;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::options::Options;
use crate::reply::{Done, not_supported};

/// The workload.
pub struct Broadcast {
    messages: Replicated<GrowSet>,
}

#[derive(Deserialize)]
struct Told {
    message: Box<RawValue>,
}

#[derive(Deserialize)]
struct Topology {
    topology: BTreeMap<NodeId, Vec<NodeId>>,
}

#[derive(Serialize)]
struct ReadOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    messages: Elements<'a>,
}

impl Broadcast {
    /// The type of the messages between the nodes.
    pub const GOSSIP: &'static str = "broadcast_gossip";

    /// A node that knows no message yet.
    pub fn new(options: &Options) -> Broadcast {
        Broadcast { messages: Replicated::new(Broadcast::GOSSIP, options.gossip.clone()) }
    }

    /// Answers a client: `broadcast` adds a message to the set, which the engine spreads.
    fn answer(&mut self, cx: &mut Context<'_>, message: &Message) -> Result<(), RpcError> {
        let request = message.request();
        match message.body.kind.as_str() {
            "broadcast" => {
                let told: Told = message.body.parse()?;
                let element = Element::from_raw(&told.message);
                if !self.messages.state().contains(&element) {
                    self.messages.add(cx, GrowSet::of(element));
                }
                self.messages.reply(cx, &request, &Done::of("broadcast_ok"));
            }
            "read" => {
                let messages = Elements(self.messages.state());
                self.messages.reply(cx, &request, &ReadOk { kind: "read_ok", messages });
            }
            "topology" => {
                let Topology { topology } = message.body.parse()?;
                self.messages.set_topology(cx, &topology);
                cx.reply(&request, &Done::of("topology_ok"));
            }
            _ => not_supported(cx, message),
        }
        Ok(())
    }
}

impl Workload for Broadcast {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        for event in self.messages.handle(cx, event) {
            match event {
                Event::Start(mut recovered) => {
                    self.messages.start(cx, recovered.take(DEFAULT_STREAM));
                }
                Event::Message(message) => {
                    if let Err(error) = self.answer(cx, &message) {
                        cx.error(&message.request(), &error);
                    }
                }
                Event::Reply { .. } | Event::Timer(_) | Event::Durable(_) => {}
            }
        }
    }
}
