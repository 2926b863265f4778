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
mod runtime;

use std::any::Any;

use crate::message::{Body, Message, NodeId, Packet, RpcError};
use crate::storage::{Recovered, Write};

pub use context::{Context, DEFAULT_STREAM, Payload};
pub use runtime::Node;

/// The logic of a node: a state machine over events.
pub trait Workload {
    /// Reacts to one event. Effects go into `cx`; they take place after the
    /// return, in the order in which they were asked for.
    fn handle(&mut self, cx: &mut Context<'_>, event: Event);

    /// Returns the engine inside, if there is one, for white-box checks: the
    /// [`Raft`](crate::raft::Raft) of a linearizable workload. The contract knows no
    /// engine; an inspector looks whether this is one that it knows.
    fn engine(&self) -> Option<&dyn Any> {
        None
    }
}

/// Something that happened to a node.
#[derive(Debug)]
pub enum Event {
    /// The node has its identity and its storage. Always the first event.
    Start(Recovered),
    /// A message that is not a reply.
    Message(Message),
    /// An rpc ended: a reply, the other side's error, or error 0 if none came in time.
    Reply {
        /// The token that the workload passed to [`Context::rpc`].
        token: Token,
        /// The reply's body, or the refusal.
        result: Result<Body, RpcError>,
    },
    /// A timer went off.
    Timer(Token),
    /// Everything up to and including this ticket is on stable storage.
    Durable(Ticket),
}

/// A workload's own name for a timer or an rpc. The top byte belongs to
/// [`Context::scoped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    const SCOPE_SHIFT: u32 = 56;

    /// The scope the token was issued in, and the token as its owner knows it.
    pub const fn unscope(self) -> (u8, Token) {
        ((self.0 >> Self::SCOPE_SHIFT) as u8, Token(self.0 & ((1 << Self::SCOPE_SHIFT) - 1)))
    }

    const fn in_scope(self, scope: u8) -> Token {
        assert!(self.0 >> Self::SCOPE_SHIFT == 0, "the top byte of a token is the scope's");
        Token(self.0 | (scope as u64) << Self::SCOPE_SHIFT)
    }
}

/// The number of something being persisted. Tickets become durable in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The input of a node, from its driver.
#[derive(Debug)]
pub enum Input {
    /// A message arrived.
    Message(Message),
    /// A line arrived that failed to parse.
    Malformed(crate::message::Malformed),
    /// Storage is open; the answer to [`Effect::Open`].
    Recovered(Recovered),
    /// Storage cannot be opened; the other answer to [`Effect::Open`].
    Unopened(String),
    /// Everything up to and including this ticket is on stable storage.
    Durable(Ticket),
    /// Time has passed; timers may be due.
    Tick,
}

/// A request of a node to its driver. Effects are carried out in order, except that
/// a [`Effect::SendAfter`] is held back until its ticket is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the storage of the node with this id, and answer with
    /// [`Input::Recovered`]. Asked once, at `init`.
    Open(NodeId),
    /// Send now.
    Send(Packet),
    /// Send once everything up to this ticket is on stable storage.
    SendAfter(Ticket, Packet),
    /// Make this durable, then answer with [`Input::Durable`].
    Persist(Ticket, Write),
}
