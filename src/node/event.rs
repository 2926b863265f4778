//! The values that go into a node and come out of it.

use crate::message::{Body, Malformed, Message, NodeId, Packet, RpcError};
use crate::storage::{Recovered, Write};

/// Something that happened to a node.
#[derive(Debug)]
pub enum Event {
    /// The node has its identity and its storage. Always the first event.
    Start(Recovered),
    /// A message that is not a reply.
    Message(Message),
    /// An rpc ended: a reply, the other side's error, or error 0 if none came in time.
    Reply {
        /// The token that the workload passed to [`Context::rpc`](super::Context::rpc).
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
/// [`Context::scoped`](super::Context::scoped).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    const SCOPE_SHIFT: u32 = 56;

    /// The scope the token was issued in, and the token as its owner knows it.
    pub const fn unscope(self) -> (u8, Token) {
        ((self.0 >> Self::SCOPE_SHIFT) as u8, Token(self.0 & ((1 << Self::SCOPE_SHIFT) - 1)))
    }

    pub(super) const fn in_scope(self, scope: u8) -> Token {
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
    Malformed(Malformed),
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
