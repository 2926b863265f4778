//! The view and the requests of a workload while it handles an event.

use std::time::Duration;

use rand_core::Rng;
use serde::Serialize;

use super::core::Core;
use super::event::{Effect, Ticket, Token};
use crate::message::{NodeId, Packet, Request, RpcError, encode, encode_reply};
use crate::storage::{Write, WriteData};
use crate::time::Time;

/// Anything that serializes to a JSON object with a `type`.
pub trait Payload: Serialize {}
impl<T: Serialize> Payload for T {}

/// The stream that a workload's records go to, and under which `Start` hands them
/// back, unless a delegating workload chose another one ([`Context::scoped`]).
pub const DEFAULT_STREAM: &str = "state";

/// A node's view of itself and its world during one event, and the only way to
/// affect anything.
pub struct Context<'a> {
    core: &'a mut Core,
    effects: &'a mut Vec<Effect>,
    scope: u8,
    stream: &'static str,
}

impl<'a> Context<'a> {
    pub(super) fn new(core: &'a mut Core, effects: &'a mut Vec<Effect>) -> Context<'a> {
        Context { core, effects, scope: 0, stream: DEFAULT_STREAM }
    }

    /// This node's id.
    pub fn id(&self) -> &NodeId {
        &self.core.id
    }

    /// All nodes of the cluster, this one included, in the order `init` gave them.
    pub fn node_ids(&self) -> &[NodeId] {
        &self.core.node_ids
    }

    /// All nodes but this one.
    pub fn peers(&self) -> impl Iterator<Item = &NodeId> {
        self.core.node_ids.iter().filter(|n| **n != self.core.id)
    }

    /// The members the cluster starts with, if `init` named them (a proposed
    /// extension of the protocol); otherwise every node is a member.
    pub fn initial_member_ids(&self) -> Option<&[NodeId]> {
        self.core.initial_member_ids.as_deref()
    }

    /// Refuses to serve, during [`Event::Start`](super::Event::Start) only: the content of
    /// storage cannot be trusted. The effects of this event are dropped, and every
    /// request is answered with error 11 and `reason`.
    pub fn refuse(&mut self, reason: String) {
        self.core.refused = Some(reason);
    }

    /// The node's monotonic clock.
    pub fn now(&self) -> Time {
        self.core.now
    }

    /// The node's random numbers: from entropy in a process, from the run's seed
    /// in the simulation.
    pub fn rng(&mut self) -> &mut impl Rng {
        &mut self.core.rng
    }

    /// Sends a message that expects no answer.
    pub fn send(&mut self, dest: &NodeId, payload: &impl Payload) {
        let packet = self.packet(dest, encode(payload, None));
        self.effects.push(Effect::Send(packet));
    }

    /// Sends a message that expects no answer, once `ticket` is durable.
    pub fn send_after(&mut self, ticket: Ticket, dest: &NodeId, payload: &impl Payload) {
        let packet = self.packet(dest, encode(payload, None));
        self.effects.push(Effect::SendAfter(ticket, packet));
    }

    /// Answers a request. A request without `msg_id` cannot be answered and is not.
    pub fn reply(&mut self, request: &Request, payload: &impl Payload) {
        if let Some(packet) = self.reply_packet(request, payload) {
            self.effects.push(Effect::Send(packet));
        }
    }

    /// Answers a request once `ticket` is durable.
    pub fn reply_after(&mut self, ticket: Ticket, request: &Request, payload: &impl Payload) {
        if let Some(packet) = self.reply_packet(request, payload) {
            self.effects.push(Effect::SendAfter(ticket, packet));
        }
    }

    /// Refuses a request. A definite code ([`ErrorCode::is_definite`]) is a promise.
    ///
    /// [`ErrorCode::is_definite`]: crate::message::ErrorCode::is_definite
    pub fn error(&mut self, request: &Request, error: &RpcError) {
        self.reply(request, &ErrorPayload { kind: "error", error });
    }

    /// Sends a request. Exactly one [`Event::Reply`] with `token` follows, at the
    /// latest after `timeout`, unless the node dies first; later replies are dropped.
    ///
    /// [`Event::Reply`]: super::Event::Reply
    pub fn rpc(&mut self, dest: &NodeId, payload: &impl Payload, timeout: Duration, token: Token) {
        let msg_id = self.core.start_rpc(dest.clone(), timeout, token.in_scope(self.scope));
        let packet = self.packet(dest, encode(payload, Some(msg_id)));
        self.effects.push(Effect::Send(packet));
    }

    /// Sets the timer called `token`, replacing one of that name that is running.
    /// A delay of zero goes off when everything that has arrived so far is handled.
    pub fn set_timer(&mut self, token: Token, delay: Duration) {
        self.core.set_timer(token.in_scope(self.scope), delay);
    }

    /// Sets the timer called `token`, unless it is running already.
    pub fn set_timer_if_unset(&mut self, token: Token, delay: Duration) {
        if !self.core.has_timer(token.in_scope(self.scope)) {
            self.set_timer(token, delay);
        }
    }

    /// Stops the timer called `token`; nothing happens if it is not running.
    pub fn cancel_timer(&mut self, token: Token) {
        self.core.cancel_timer(token.in_scope(self.scope));
    }

    /// Appends a record to this workload's log. [`Event::Durable`] with the ticket
    /// (or a later one) follows once it is on stable storage.
    ///
    /// [`Event::Durable`]: super::Event::Durable
    pub fn persist(&mut self, record: Vec<u8>) -> Ticket {
        self.write(WriteData::Record(record))
    }

    /// Replaces this workload's log by a state that stands for all of it.
    pub fn checkpoint(&mut self, state: Vec<u8>) -> Ticket {
        self.write(WriteData::Checkpoint(state))
    }

    /// Remembers this place of this workload's log, for [`Context::checkpoint_at_mark`].
    pub fn mark(&mut self) -> Ticket {
        self.write(WriteData::Mark)
    }

    /// Replaces the part of this workload's log before the last mark by a state that stands for it.
    pub fn checkpoint_at_mark(&mut self, state: Vec<u8>) -> Ticket {
        self.write(WriteData::CheckpointAtMark(state))
    }

    /// A context for a part of this node: its timers and rpcs come back with
    /// tokens of `scope` ([`Token::unscope`]), its records go to `stream`.
    pub fn scoped(&mut self, scope: u8, stream: &'static str) -> Context<'_> {
        Context { core: self.core, effects: self.effects, scope, stream }
    }

    fn write(&mut self, data: WriteData) -> Ticket {
        let ticket = self.core.next_ticket();
        self.effects.push(Effect::Persist(ticket, Write { stream: self.stream, data }));
        ticket
    }

    fn packet(&self, dest: &NodeId, body: String) -> Packet {
        Packet { src: self.core.id.clone(), dest: dest.clone(), body }
    }

    fn reply_packet(&self, request: &Request, payload: &impl Payload) -> Option<Packet> {
        let body = encode_reply(payload, request.msg_id?);
        Some(self.packet(&request.src, body))
    }
}

#[derive(Serialize)]
struct ErrorPayload<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    error: &'a RpcError,
}
