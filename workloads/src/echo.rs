//! Echo: answers each message with its own content.
//!
//! The smallest complete workload: it has no state, so it survives everything. The
//! value is never parsed. It travels as the text it came in, so numbers beyond 64
//! bits and floats of any spelling come back exactly as they were sent.

use seaworthy::message::{ErrorCode, Message, RpcError};
use seaworthy::node::{Context, Event, Workload};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::reply::not_supported;

/// The workload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

#[derive(Serialize)]
struct EchoOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    echo: &'a RawValue,
}

impl Workload for Echo {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Event::Message(message) = event else { return };
        match message.body.kind.as_str() {
            "echo" => echo(cx, &message),
            _ => not_supported(cx, &message),
        }
    }
}

fn echo(cx: &mut Context<'_>, message: &Message) {
    match message.body.field("echo") {
        Some(echo) => cx.reply(&message.request(), &EchoOk { kind: "echo_ok", echo }),
        None => {
            let error = RpcError::new(ErrorCode::MALFORMED_REQUEST, "an echo needs a field echo");
            cx.error(&message.request(), &error);
        }
    }
}
