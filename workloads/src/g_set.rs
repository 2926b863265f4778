//! G-set: a set that only grows.

use seaworthy::gossip::{Element, Elements, GrowSet};
use seaworthy::message::{Message, RpcError};
use seaworthy::node::{Context, DEFAULT_STREAM, Event, Workload};
use seaworthy::shell::gossip::Replicated;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::options::Options;
use crate::reply::{Done, not_supported};

/// The workload.
pub struct GSet {
    elements: Replicated<GrowSet>,
}

#[derive(Deserialize)]
struct Add {
    element: Box<RawValue>,
}

#[derive(Serialize)]
struct ReadOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    value: Elements<'a>,
}

impl GSet {
    /// The type of the messages between the nodes.
    pub const GOSSIP: &'static str = "g_set_gossip";

    /// The empty set.
    pub fn new(options: &Options) -> GSet {
        GSet { elements: Replicated::new(GSet::GOSSIP, options.gossip.clone()) }
    }

    fn answer(&mut self, cx: &mut Context<'_>, message: &Message) -> Result<(), RpcError> {
        let request = message.request();
        match message.body.kind.as_str() {
            "add" => {
                let add: Add = message.body.parse()?;
                let element = Element::from_raw(&add.element);
                if !self.elements.state().contains(&element) {
                    self.elements.add(cx, GrowSet::of(element));
                }
                self.elements.reply(cx, &request, &Done::of("add_ok"));
            }
            "read" => {
                let value = Elements(self.elements.state());
                self.elements.reply(cx, &request, &ReadOk { kind: "read_ok", value });
            }
            _ => not_supported(cx, message),
        }
        Ok(())
    }
}

impl Workload for GSet {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        for event in self.elements.handle(cx, event) {
            match event {
                Event::Start(mut recovered) => {
                    self.elements.start(cx, recovered.take(DEFAULT_STREAM));
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
