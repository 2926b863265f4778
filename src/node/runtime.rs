//! The shell around a workload: identity, replies, timers, tickets, bad input.

use std::any::Any;

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::core::{Core, Due};
use super::event::{Effect, Event, Input};
use super::workload::Workload;
use crate::message::{ErrorCode, Malformed, Message, NodeId, Request, RpcError};
use crate::storage::Recovered;
use crate::time::Time;

/// A node: a workload and everything every workload needs. Pure; one value, one
/// thread, no locks.
pub struct Node {
    core: Core,
    state: State,
    workload: Box<dyn Workload + Send>,
}

enum State {
    /// Nothing but `init` is understood yet.
    Fresh,
    /// Storage is being opened; input waits, because the workload has no state and
    /// no answer may precede `init_ok`.
    Opening {
        init: Request,
        waiting: Vec<Input>,
    },
    Running,
    /// The content of storage cannot be served; the reason.
    Refused(String),
}

#[derive(Deserialize)]
struct Init {
    node_id: NodeId,
    node_ids: Vec<NodeId>,
    #[serde(default)]
    initial_member_ids: Option<Vec<NodeId>>,
}

#[derive(Serialize)]
struct InitOk {
    #[serde(rename = "type")]
    kind: &'static str,
}

const INIT_OK: InitOk = InitOk { kind: "init_ok" };

impl Node {
    /// A node that waits for its `init`. `seed` feeds [`Context::rng`]; it must
    /// differ from start to start, or ids repeat.
    pub fn new(workload: Box<dyn Workload + Send>, seed: u64) -> Node {
        Node { core: Core::new(seed), state: State::Fresh, workload }
    }

    /// Handles one input at time `now`, leaving the effects in `effects`. Timers
    /// that are overdue go off first, so time never runs backwards for a workload.
    /// Those that are due at this very moment wait for an [`Input::Tick`], so that a
    /// timer without delay goes off when everything that arrived with the event that
    /// set it is handled.
    pub fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.core.now = self.core.now.max(now);
        self.fire_due(matches!(input, Input::Tick), effects);
        self.handle(input, effects);
    }

    fn handle(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match (&mut self.state, input) {
            (State::Opening { waiting, .. }, input @ (Input::Message(_) | Input::Malformed(_))) => {
                waiting.push(input);
            }
            (_, Input::Tick) => {}
            (_, Input::Malformed(malformed)) => self.refuse_malformed(malformed, effects),
            (_, Input::Message(message)) => self.receive(message, effects),
            (_, Input::Recovered(recovered)) => self.start(recovered, effects),
            (_, Input::Unopened(why)) => self.refuse_start(why, effects),
            (_, Input::Durable(ticket)) => {
                assert!(ticket <= self.core.last_ticket, "durable before it was written");
                self.dispatch(Event::Durable(ticket), effects);
            }
        }
    }

    fn start(&mut self, recovered: Recovered, effects: &mut Vec<Effect>) {
        let opening = std::mem::replace(&mut self.state, State::Running);
        let State::Opening { init, waiting } = opening else {
            panic!("storage was recovered without having been asked for");
        };
        let before = effects.len();
        self.dispatch(Event::Start(recovered), effects);
        if let Some(why) = self.core.refused.take() {
            effects.truncate(before);
            self.state = State::Opening { init, waiting };
            return self.refuse_start(why, effects);
        }
        Context::new(&mut self.core, effects).reply(&init, &INIT_OK);
        waiting.into_iter().for_each(|input| self.handle(input, effects));
    }

    /// Answers `init`, and everything after it, with the reason why nothing is served.
    fn refuse_start(&mut self, why: String, effects: &mut Vec<Effect>) {
        tracing::error!(node = %self.core.id, "this node serves nothing: {why}");
        (self.core.timers, self.core.rpcs) = Default::default();
        self.core.deadlines.clear();
        let opening = std::mem::replace(&mut self.state, State::Refused(why));
        let State::Opening { init, waiting } = opening else {
            panic!("storage was opened without having been asked for");
        };
        let id = self.core.id.clone();
        self.refuse(&init, id, &self.refusal(), effects);
        waiting.into_iter().for_each(|input| self.handle(input, effects));
    }

    fn refusal(&self) -> RpcError {
        let State::Refused(why) = &self.state else { panic!("this node refuses to serve") };
        RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, why.clone())
    }

    /// When the node next wants an [`Input::Tick`] if nothing else happens.
    pub fn next_deadline(&self) -> Option<Time> {
        self.core.deadlines.first().map(|(at, _)| *at)
    }

    /// Returns the workload's engine if it is an `E`, for white-box checks.
    pub fn engine<E: Any>(&self) -> Option<&E> {
        self.workload.engine()?.downcast_ref()
    }

    fn dispatch(&mut self, event: Event, effects: &mut Vec<Effect>) {
        self.workload.handle(&mut Context::new(&mut self.core, effects), event);
    }

    fn fire_due(&mut self, also_now: bool, effects: &mut Vec<Effect>) {
        // Only timers that were due on entry: a timer that sets itself to zero must not
        // keep the node from its input.
        for (at, what) in self.core.take_due(also_now) {
            let event = match what {
                // An earlier handler in this loop may have stopped or moved it.
                Due::Timer(token) if self.core.timers.get(&token) == Some(&at) => {
                    self.core.timers.remove(&token);
                    Event::Timer(token)
                }
                Due::Timer(_) => continue,
                Due::Rpc(msg_id) => {
                    let Some(rpc) = self.core.rpcs.remove(&msg_id) else { continue };
                    let text = format!("no reply from {} in time", rpc.dest);
                    let result = Err(RpcError::new(ErrorCode::TIMEOUT, text));
                    Event::Reply { token: rpc.token, result }
                }
            };
            self.dispatch(event, effects);
        }
    }

    fn receive(&mut self, message: Message, effects: &mut Vec<Effect>) {
        if message.body.kind == "init" && message.body.in_reply_to.is_none() {
            return self.init(message, effects);
        }
        if matches!(self.state, State::Fresh) {
            let why = format!("{} before init", message.body.kind);
            let error = RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, why);
            return self.refuse(&message.request(), message.dest, &error, effects);
        }
        if matches!(self.state, State::Refused(_)) {
            // Guard: answers are not answered, or two such nodes would never stop.
            let asks = message.body.in_reply_to.is_none();
            let (error, id) = (self.refusal(), self.core.id.clone());
            return if asks {
                self.refuse(&message.request(), id, &error, effects)
            };
        }
        match message.body.in_reply_to {
            Some(msg_id) => self.receive_reply(msg_id, message, effects),
            None => self.dispatch(Event::Message(message), effects),
        }
    }

    fn receive_reply(&mut self, msg_id: u64, message: Message, effects: &mut Vec<Effect>) {
        let msg_id = self.core.plant_reply_order(msg_id, &message.src);
        // Late, repeated and foreign replies match nothing and end here.
        let expected = self.core.rpcs.get(&msg_id).is_some_and(|rpc| rpc.dest == message.src);
        if !expected {
            tracing::debug!(src = %message.src, msg_id, "dropped a reply that matches no request");
            return;
        }
        let rpc = self.core.end_rpc(msg_id).expect("it was there a line ago");
        let result = message.body.as_error().map_or(Ok(message.body), Err);
        self.dispatch(Event::Reply { token: rpc.token, result }, effects);
    }

    fn init(&mut self, message: Message, effects: &mut Vec<Effect>) {
        let request = message.request();
        let init: Init = match message.body.parse() {
            Ok(init) => init,
            Err(error) => return self.refuse(&request, message.dest, &error, effects),
        };
        if !init.node_ids.contains(&init.node_id) {
            let why = format!("malformed init: {} is not among the node_ids", init.node_id);
            let error = RpcError::new(ErrorCode::MALFORMED_REQUEST, why);
            return self.refuse(&request, message.dest.clone(), &error, effects);
        }
        if matches!(self.state, State::Fresh) {
            self.core.id = init.node_id;
            self.core.node_ids = init.node_ids;
            self.core.initial_member_ids = init.initial_member_ids;
            self.state = State::Opening { init: request, waiting: Vec::new() };
            effects.push(Effect::Open(self.core.id.clone()));
        } else if matches!(self.state, State::Refused(_)) {
            let (error, id) = (self.refusal(), self.core.id.clone());
            self.refuse(&request, id, &error, effects);
        } else if init.node_id == self.core.id && init.node_ids == self.core.node_ids {
            // The same init again is a retry: the first answer was lost.
            Context::new(&mut self.core, effects).reply(&request, &INIT_OK);
        } else {
            let why = format!("already initialised as {}", self.core.id);
            let error = RpcError::new(ErrorCode::PRECONDITION_FAILED, why);
            self.refuse(&request, self.core.id.clone(), &error, effects);
        }
    }

    fn refuse_malformed(&mut self, malformed: Malformed, effects: &mut Vec<Effect>) {
        tracing::warn!(reason = malformed.reason, "skipped a line that failed to parse");
        let Some(request) = malformed.request else { return };
        // Before init this node has no id to answer under.
        if !matches!(self.state, State::Fresh) {
            let error = RpcError::new(ErrorCode::MALFORMED_REQUEST, malformed.reason);
            self.refuse(&request, self.core.id.clone(), &error, effects);
        }
    }

    /// Answers with an error in the name of `own`, the address that was written to.
    fn refuse(&mut self, to: &Request, own: NodeId, error: &RpcError, out: &mut Vec<Effect>) {
        let id = std::mem::replace(&mut self.core.id, own);
        Context::new(&mut self.core, out).error(to, error);
        self.core.id = id;
    }
}
