//! A broadcast that forgets that networks lose messages, and how its bug is found.
//!
//! The node writes down each new message and passes it on to all others, once. It
//! survives kills; it is right as long as every message arrives.
//!
//! ```sh
//! cargo run --release -p seaworthy-bench --example naive_broadcast
//! ```
//!
//! prints the smallest run that loses a message, with its story: one client, one
//! message, one cut link. An argument is the seed to begin with.

// An example is there to print.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;

use seaworthy::message::Message;
use seaworthy::node::{Context, DEFAULT_STREAM, Event, Ticket, Workload};
use seaworthy::storage::Recovered;
use seaworthy_bench::explore::Explore;
use serde_json::json;

/// The node: the messages that it has seen.
#[derive(Default)]
pub(crate) struct NaiveBroadcast {
    seen: BTreeSet<i64>,
}

impl NaiveBroadcast {
    /// Learns a value that may be new. The ticket is durable when the value is.
    fn learn(&mut self, cx: &mut Context<'_>, message: &Message) -> Option<Ticket> {
        let text = message.body.field("message")?.get();
        let value: i64 = text.parse().ok()?;
        let ticket = cx.persist(text.as_bytes().to_vec());
        if self.seen.insert(value) {
            let peers: Vec<_> = cx.peers().cloned().collect();
            for peer in peers {
                // The bug: the sender never asks whether this has arrived.
                cx.send_after(ticket, &peer, &json!({"type": "forward", "message": value}));
            }
        }
        Some(ticket)
    }

    fn recover(&mut self, mut disk: Recovered) {
        for record in disk.take(DEFAULT_STREAM).records {
            self.seen.extend(serde_json::from_slice::<i64>(&record));
        }
    }
}

impl Workload for NaiveBroadcast {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let message = match event {
            Event::Start(disk) => return self.recover(disk),
            Event::Message(message) => message,
            _ => return,
        };
        match message.body.kind.as_str() {
            "broadcast" => {
                if let Some(ticket) = self.learn(cx, &message) {
                    let ok = json!({"type": "broadcast_ok"});
                    cx.reply_after(ticket, &message.request(), &ok);
                }
            }
            "forward" => drop(self.learn(cx, &message)),
            "read" => {
                cx.reply(&message.request(), &json!({"type": "read_ok", "messages": self.seen}));
            }
            _ => cx.reply(&message.request(), &json!({"type": "topology_ok"})),
        }
    }
}

fn main() {
    let seed = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let explore = Explore::new("broadcast", || Box::<NaiveBroadcast>::default());
    match explore.from(seed).seeds(200).run() {
        Ok(sums) => println!("{} runs, and nothing was found", sums.runs),
        Err(failed) => println!("{failed}"),
    }
}
