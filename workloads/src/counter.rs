//! Counters: g-counter, which only grows, and pn-counter, which also shrinks.
//!
//! Both are totals by author, an author being one incarnation of one node, so no total is
//! ever issued twice. A delta is an integer of 64 bits. The g-counter refuses
//! a negative one as malformed (error 12): its readers rely on a value that never
//! shrinks.

use seaworthy::gossip::Counter as Totals;
use seaworthy::message::{ErrorCode, Message, RpcError};
use seaworthy::node::{Context, DEFAULT_STREAM, Event, Workload};
use seaworthy::shell::gossip::Replicated;
use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::planted;
use crate::reply::{Done, not_supported};

/// The workload.
pub struct Counter {
    totals: Replicated<Totals>,
    /// Whether it may only grow.
    grow_only: bool,
}

#[derive(Deserialize)]
struct Add {
    delta: i64,
}

#[derive(Serialize)]
pub(crate) struct ReadOk {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) value: i128,
}

impl Counter {
    /// The type of the messages between the nodes of a g-counter.
    pub const GROW_ONLY_GOSSIP: &'static str = "g_counter_gossip";
    /// The type of the messages between the nodes of a pn-counter.
    pub const GOSSIP: &'static str = "pn_counter_gossip";

    /// A counter at zero that only grows.
    pub fn grow_only(options: &Options) -> Counter {
        let totals = Replicated::new(Counter::GROW_ONLY_GOSSIP, options.gossip.clone());
        Counter { totals, grow_only: true }
    }

    /// A counter at zero.
    pub fn new(options: &Options) -> Counter {
        Counter {
            totals: Replicated::new(Counter::GOSSIP, options.gossip.clone()),
            grow_only: false,
        }
    }

    fn answer(&mut self, cx: &mut Context<'_>, message: &Message) -> Result<(), RpcError> {
        let request = message.request();
        match message.body.kind.as_str() {
            "add" => {
                let delta = delta(message, self.grow_only)?;
                self.add(cx, delta)?;
                self.totals.reply(cx, &request, &Done::of("add_ok"));
            }
            "read" => {
                let value = self.totals.state().value();
                self.totals.reply(cx, &request, &ReadOk { kind: "read_ok", value });
            }
            _ => not_supported(cx, message),
        }
        Ok(())
    }

    fn add(&mut self, cx: &mut Context<'_>, delta: i64) -> Result<(), RpcError> {
        if delta == 0 {
            return Ok(());
        }
        let author = planted::author(self.totals.author());
        let change = self.totals.state().added(author, delta);
        let full = || RpcError::new(ErrorCode::ABORT, "the total of this node exceeds 64 bits");
        self.totals.add(cx, change.ok_or_else(full)?);
        Ok(())
    }
}

/// Reads the delta of an `add`.
///
/// # Errors
/// Error 12 if it is not an integer of 64 bits, or negative although `grow_only`.
pub(crate) fn delta(message: &Message, grow_only: bool) -> Result<i64, RpcError> {
    let Add { delta } = message.body.parse()?;
    if grow_only && delta < 0 {
        let why = "malformed add: this counter only grows";
        return Err(RpcError::new(ErrorCode::MALFORMED_REQUEST, why));
    }
    Ok(delta)
}

impl Workload for Counter {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        for event in self.totals.handle(cx, event) {
            match event {
                Event::Start(mut recovered) => {
                    self.totals.start(cx, recovered.take(DEFAULT_STREAM));
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
