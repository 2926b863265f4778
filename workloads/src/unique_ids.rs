//! Unique ids: hands out ids that no node ever hands out again.
//!
//! An id is a string of three parts, `n1-9f86d081884c7d65-42`:
//!
//! * the node's id, which keeps nodes apart without a word between them;
//! * a *boot nonce*, 64 random bits drawn at start, which keeps the incarnations of one
//!   node apart;
//! * a counter, which keeps the ids of one incarnation apart.
//!
//! Why a nonce and not something that is kept on disk? A persisted epoch would be
//! unique only if the disk is: it fails with no data directory, with one that was
//! restored from a backup, and with two processes that were started by mistake with
//! the same id. The nonce survives all of them, and kills, and needs no fsync. A
//! clock is not used at all, so it may jump. The price is a probability: among a
//! million starts of the *same* node, two share a nonce with a chance below 3e-8.
//!
//! The id is a string because 128 bits do not fit the numbers of JSON readers,
//! many of which keep 53.
//!
//! Deliberately missing: ids in order of time. Nothing here asks for them, and an
//! order would need either a clock that can be trusted or coordination.

use rand_core::Rng;
use seaworthy::message::Message;
use seaworthy::node::{Context, Event, Workload};
use serde::Serialize;

use crate::planted;
use crate::reply::not_supported;

/// The workload.
#[derive(Clone, Debug, Default)]
pub struct UniqueIds {
    /// Everything of an id but the counter; set at start.
    prefix: String,
    issued: u64,
}

#[derive(Serialize)]
struct GenerateOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
}

impl Workload for UniqueIds {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Start(_) => self.start(cx),
            Event::Message(message) => match message.body.kind.as_str() {
                "generate" => self.generate(cx, &message),
                _ => not_supported(cx, &message),
            },
            Event::Reply { .. } | Event::Timer(_) | Event::Durable(_) => {}
        }
    }
}

impl UniqueIds {
    fn start(&mut self, cx: &mut Context<'_>) {
        let nonce = planted::nonce(cx.rng().next_u64());
        self.prefix = format!("{}-{nonce:016x}", cx.id());
        // A counter from an earlier incarnation would still be unique, but longer.
        self.issued = 0;
    }

    fn generate(&mut self, cx: &mut Context<'_>, message: &Message) {
        let id = format!("{}-{}", self.prefix, self.issued);
        self.issued += 1;
        cx.reply(&message.request(), &GenerateOk { kind: "generate_ok", id: &id });
    }
}
