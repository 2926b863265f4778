//! The node contract: events in, effects out.
//!
//! A [`Workload`] is a state machine. It is handed one [`Event`] at a time and
//! answers by leaving effects in its [`Context`]; it owns no thread, no clock, no
//! socket and no file. A [`Node`] is the thin, equally pure shell around one
//! workload that every driver shares: it answers `init`, matches replies to
//! requests, keeps the timers, gives tickets to writes, and turns bad input
//! into the protocol's errors. A driver feeds it [`Input`]s and carries out its
//! [`Effect`]s; killing a node is dropping the value, restarting it is building a
//! new one from its storage.
//!
//! Durability is in the types: a message that must not leave before a record is on stable
//! storage is an [`Effect::SendAfter`], which names the ticket it waits for.
//!
//! A whole node, fed by hand as a driver feeds it:
//!
//! ```
//! use seaworthy::message::Message;
//! use seaworthy::node::{Context, Effect, Event, Input, Node, Workload};
//! use seaworthy::storage::Recovered;
//! use seaworthy::time::Time;
//! use serde_json::value::RawValue;
//!
//! struct Echo;
//!
//! #[derive(serde::Serialize)]
//! struct EchoOk<'a> {
//!     r#type: &'static str,
//!     echo: &'a RawValue,
//! }
//!
//! impl Workload for Echo {
//!     fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
//!         let Event::Message(message) = event else { return };
//!         let Some(echo) = message.body.field("echo") else { return };
//!         cx.reply(&message.request(), &EchoOk { r#type: "echo_ok", echo });
//!     }
//! }
//!
//! let mut node = Node::new(Box::new(Echo), 7);
//! let mut step = |input| {
//!     let mut effects = Vec::new();
//!     node.step(Time::ZERO, input, &mut effects);
//!     effects
//! };
//! let message = |body: &str| {
//!     let line = format!(r#"{{"src":"c1","dest":"n0","body":{body}}}"#);
//!     Input::Message(Message::from_line(line.as_bytes()).expect("a message"))
//! };
//!
//! let init = r#"{"type":"init","msg_id":1,"node_id":"n0","node_ids":["n0"]}"#;
//! assert_eq!(step(message(init)), [Effect::Open("n0".into())]);
//! let effects = step(Input::Recovered(Recovered::default()));
//! let [Effect::Send(packet)] = &effects[..] else { panic!("{effects:?}") };
//! assert_eq!(packet.body, r#"{"type":"init_ok","in_reply_to":1}"#);
//!
//! let effects = step(message(r#"{"type":"echo","msg_id":2,"echo":[1.50]}"#));
//! let [Effect::Send(packet)] = &effects[..] else { panic!("{effects:?}") };
//! assert_eq!(packet.body, r#"{"type":"echo_ok","echo":[1.50],"in_reply_to":2}"#);
//! ```
//!
//! Deliberately missing: cancellation of an rpc (ignore its token), streams of
//! replies (the protocol has one reply a request), and several workloads in one
//! node (a workload that delegates does that; see [`Context::scoped`]).

mod context;
mod core;
mod event;
mod planted;
mod runtime;
mod workload;

pub use context::{Context, DEFAULT_STREAM, Payload};
pub use event::{Effect, Event, Input, Ticket, Token};
pub use runtime::Node;
pub use workload::Workload;
