//! A counter over the service `seq-kv`, as the challenge states it.
//!
//! `seq-kv` is only sequentially consistent: it may answer from the past, even
//! right after another client's write was acknowledged. But it cannot let a
//! compare-and-set succeed from a value that was already replaced. So everything here,
//! *reads included*, is a successful cas of one key from one value that never
//! occurred before to the next: each carries a tag that is used once. Why that is right:
//!
//! * *Fresh.* The successes form one chain, each built on the one before. A cas that
//!   was acknowledged before mine was invoked cannot come after mine in the chain: it
//!   was built on a value that was known then, and mine did not exist yet.
//! * *Exactly once.* If no answer comes, the same cas is sent again; the value it
//!   starts from never returns, so it takes effect at most once, however late. If
//!   it is refused, a read tells whether the present value bears its tag. If not, the
//!   value it started from is gone, and the same additions go into a new cas. A read
//!   from the past can only mislead into a cas that fails.
//!
//! The value holds a total and a tag for each node: `{"n0":[5,"9f-3"]}`. Requests that
//! arrive while a cas is under way share the next one.
//!
//! The node that succeeds knows the value, and could build the next cas on it at once, while
//! the others have to read first: under load one node would win for seconds. So if requests
//! wait it gives the others the time of a few attempts, at random, before the next.
//!
//! Deliberately missing: availability without the service. Requests then wait.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng;
use seaworthy::message::{Body, ErrorCode, Message, NodeId, Request, RpcError};
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy::time::Time;
use serde::{Deserialize, Serialize};

use crate::counter::{ReadOk, delta};
use crate::reply::{Done, not_supported};

const SERVICE: &str = "seq-kv";
const KEY: &str = "counter";
const CAS: Token = Token(0);
const READ: Token = Token(1);
const RETRY: Token = Token(2);
const TURN: Token = Token(3);
const TIMEOUT: Duration = Duration::from_millis(1000);
/// Before asking again a service that refused for a reason of its own.
const PAUSE: Duration = Duration::from_millis(100);

/// After a success, others have the time of so many attempts at most. A loser needs two,
/// a read and a cas.
const TURN_ATTEMPTS: u32 = 4;

/// Total and tag of each node.
type Value = BTreeMap<NodeId, (i128, String)>;

/// The workload.
pub struct SeqCounter {
    grow_only: bool,
    boot: u64,
    tags: u64,
    /// The latest value seen; none if the key has not been seen.
    seen: Option<Value>,
    queue: Vec<Work>,
    flight: Option<Flight>,
    /// It is the others' turn.
    yields: bool,
}

/// A client's request.
struct Work {
    request: Request,
    /// None for a read.
    delta: Option<i64>,
}

/// A cas that has not succeeded yet, and whom it serves.
struct Flight {
    from: Option<Value>,
    to: Value,
    work: Vec<Work>,
    /// When it was last sent.
    sent: Time,
}

#[derive(Serialize)]
struct Cas<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    key: &'static str,
    from: &'a Option<Value>,
    to: &'a Value,
    create_if_not_exists: bool,
}

#[derive(Serialize)]
struct Read {
    #[serde(rename = "type")]
    kind: &'static str,
    key: &'static str,
}

#[derive(Deserialize)]
struct ValueIs {
    value: Value,
}

impl SeqCounter {
    /// A counter whose nodes have not spoken to the service yet.
    pub fn new(grow_only: bool) -> SeqCounter {
        SeqCounter {
            grow_only,
            boot: 0,
            tags: 0,
            seen: None,
            queue: Vec::new(),
            flight: None,
            yields: false,
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>, message: &Message) -> Result<(), RpcError> {
        let delta = match message.body.kind.as_str() {
            "add" => Some(delta(message, self.grow_only)?),
            "read" => None,
            _ => {
                not_supported(cx, message);
                return Ok(());
            }
        };
        self.queue.push(Work { request: message.request(), delta });
        if self.flight.is_none() && !self.yields {
            self.take_off(cx, Vec::new());
        }
        Ok(())
    }

    /// Begins a cas for `work` and everything that waits.
    fn take_off(&mut self, cx: &mut Context<'_>, mut work: Vec<Work>) {
        work.append(&mut self.queue);
        if work.is_empty() {
            return;
        }
        let from = self.seen.clone();
        let mut to = from.clone().unwrap_or_default();
        self.tags += 1;
        let own = to.entry(cx.id().clone()).or_default();
        own.0 += work.iter().filter_map(|w| w.delta).map(i128::from).sum::<i128>();
        own.1 = format!("{:x}-{}", self.boot, self.tags);
        self.flight = Some(Flight { from, to, work, sent: cx.now() });
        self.send(cx);
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        let Some(Flight { from, to, sent, .. }) = &mut self.flight else { return };
        *sent = cx.now();
        let cas = Cas { kind: "cas", key: KEY, from, to, create_if_not_exists: true };
        cx.rpc(&SERVICE.into(), &cas, TIMEOUT, CAS);
    }

    fn cas_ended(&mut self, cx: &mut Context<'_>, result: Result<Body, RpcError>) {
        match result {
            Ok(_) => {
                self.seen = self.flight.as_ref().map(|flight| flight.to.clone());
                self.land(cx);
            }
            Err(e) if e.code == ErrorCode::PRECONDITION_FAILED => self.look(cx),
            Err(e) if e.code == ErrorCode::TIMEOUT => self.send(cx),
            Err(_) => cx.set_timer(RETRY, PAUSE),
        }
    }

    fn look(&self, cx: &mut Context<'_>) {
        cx.rpc(&SERVICE.into(), &Read { kind: "read", key: KEY }, TIMEOUT, READ);
    }

    /// The cas was refused; `result` is the value, perhaps a past one.
    fn read_ended(&mut self, cx: &mut Context<'_>, result: Result<Body, RpcError>) {
        match result.and_then(|body| body.parse()) {
            Ok(ValueIs { value }) => {
                let tag = |value: &Value| value.get(cx.id()).map(|own| own.1.clone());
                let done = self.flight.as_ref().is_some_and(|f| tag(&f.to) == tag(&value));
                self.seen = Some(value);
                if done {
                    return self.land(cx);
                }
                let work = self.flight.take().map(|flight| flight.work).unwrap_or_default();
                self.take_off(cx, work);
            }
            Err(e) if e.code == ErrorCode::TIMEOUT => self.look(cx),
            // Also if the key does not exist: that answer is from the past.
            Err(_) => cx.set_timer(RETRY, PAUSE),
        }
    }

    /// The cas has taken effect, and `seen` is its value or a later one.
    fn land(&mut self, cx: &mut Context<'_>) {
        let Some(Flight { work, sent, .. }) = self.flight.take() else { return };
        let value = self.seen.iter().flat_map(BTreeMap::values).map(|own| own.0).sum();
        for Work { request, delta } in work {
            match delta {
                Some(_) => cx.reply(&request, &Done::of("add_ok")),
                None => cx.reply(&request, &ReadOk { kind: "read_ok", value }),
            }
        }
        let attempt = cx.now() - sent;
        if self.queue.is_empty() || attempt.is_zero() {
            return self.take_off(cx, Vec::new());
        }
        let share = f64::from(cx.rng().next_u32()) / f64::from(u32::MAX);
        self.yields = true;
        cx.set_timer(TURN, (attempt * TURN_ATTEMPTS).mul_f64(share));
    }
}

impl Workload for SeqCounter {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Start(_) => self.boot = cx.rng().next_u64(),
            Event::Message(message) => {
                if let Err(error) = self.accept(cx, &message) {
                    cx.error(&message.request(), &error);
                }
            }
            Event::Reply { token: CAS, result } => self.cas_ended(cx, result),
            Event::Reply { result, .. } => self.read_ended(cx, result),
            Event::Timer(TURN) => {
                self.yields = false;
                self.take_off(cx, Vec::new());
            }
            // The refused cas may have taken effect before: the same cas again tells.
            Event::Timer(_) => self.send(cx),
            Event::Durable(_) => {}
        }
    }
}
