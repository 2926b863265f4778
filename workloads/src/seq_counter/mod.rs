//! A counter over the service `seq-kv`, as the challenge states it.
//!
//! `seq-kv` is only sequentially consistent: it may answer from the past, even
//! right after another client's write was acknowledged. But it cannot let a
//! compare-and-set succeed from a value that was already replaced. So everything here,
//! *reads included*, is a successful cas of one key from one value that never
//! occurred before to the next: each changes an entry to one with a tag that is used once. Why
//! that is right:
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
//! The value holds a total and a tag for each node. Requests that arrive while a cas is under
//! way share the next one.
//!
//! Nodes that compete for the key starve each other: the one that succeeds knows the value
//! and can build on it at once, the others have to read first. So one node, the first that
//! answers, carries out the others' changes with its own (the combining of Hendler and others,
//! "Flat Combining", 2010). A change names the entry that it starts from, so it is safe that a
//! node that got no answer tries the same change itself. That happens if the combiner is dead
//! or cut off; then there are rivals, and after a success a node leaves them some time.
//!
//! Deliberately missing: availability without the service. Requests then wait.

mod batch;
mod change;
mod flight;

use std::time::Duration;

use rand_core::Rng;
use seaworthy::message::{Message, NodeId, Request, RpcError};
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy::time::Time;

use self::change::{COMBINE, Change, Value};
use crate::counter::{ReadOk, delta};
use crate::reply::{Done, not_supported};

const SERVICE: &str = "seq-kv";
const KEY: &str = "counter";
const CAS: Token = Token(0);
const READ: Token = Token(1);
const RETRY: Token = Token(2);
const TURN: Token = Token(3);
const LOOK: Token = Token(4);
const REFRESH: Token = Token(5);
/// The tokens of requests to combiners start here: one for each change.
const JOINS: u64 = 1 << 32;
const TIMEOUT: Duration = Duration::from_millis(1000);
/// Before asking again a service that refused for a reason of its own.
const PAUSE: Duration = Duration::from_millis(100);

/// After a success, rivals have the time of so many attempts at most. A loser needs two, a
/// read and a cas; it succeeds if the time between two others' cas is one attempt.
const TURN_ATTEMPTS: u32 = 2;

/// The workload.
pub struct SeqCounter {
    grow_only: bool,
    boot: u64,
    tags: u64,
    /// The latest value seen; none if the key has not been seen.
    seen: Option<Value>,
    /// Requests that wait for the next batch.
    queue: Vec<Work>,
    batch: Option<Batch>,
    /// Other nodes' changes that this node is to carry out.
    guests: Vec<Guest>,
    flight: Option<Flight>,
    /// It is the rivals' turn.
    yields: bool,
    /// Nodes that did not answer, and until when they are not asked.
    suspects: Vec<(NodeId, Time)>,
    /// How long a combiner takes, smoothed.
    join_time: Option<Duration>,
}

/// A client's request.
struct Work {
    request: Request,
    /// None for a read.
    delta: Option<i64>,
}

/// Clients' requests that share one change of this node's entry.
struct Batch {
    work: Vec<Work>,
    change: Change,
    by: By,
    /// The request to the combiner for this change.
    join: Token,
    /// When it was sent.
    sent: Time,
    /// The cas under way carries it.
    is_aboard: bool,
}

/// The node that carries out a batch.
enum By {
    Combiner(NodeId),
    Itself,
}

/// Another node's change.
struct Guest {
    request: Request,
    node: NodeId,
    change: Change,
    /// The cas under way carries it, or shows why it cannot be taken.
    is_aboard: bool,
}

/// A cas that has not succeeded yet.
struct Flight {
    from: Option<Value>,
    to: Value,
    /// When it was last sent.
    sent: Time,
    /// How many before it were refused.
    losses: u32,
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
            batch: None,
            guests: Vec::new(),
            flight: None,
            yields: false,
            suspects: Vec::new(),
            join_time: None,
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>, message: &Message) -> Result<(), RpcError> {
        let delta = match message.body.kind.as_str() {
            "add" => Some(delta(message, self.grow_only)?),
            "read" => None,
            COMBINE if cx.peers().any(|peer| *peer == message.src) => {
                let (change, request) = (message.body.parse()?, message.request());
                self.guests.push(Guest {
                    request,
                    node: message.src.clone(),
                    change,
                    is_aboard: false,
                });
                self.take_off(cx, 0);
                return Ok(());
            }
            _ => {
                not_supported(cx, message);
                return Ok(());
            }
        };
        self.queue.push(Work { request: message.request(), delta });
        self.begin_batch(cx);
        Ok(())
    }

    /// The batch was taken, and `value` was the counter's then or later.
    fn answer(&mut self, cx: &mut Context<'_>, value: i128) {
        let Some(Batch { work, .. }) = self.batch.take() else { return };
        for Work { request, delta } in work {
            match delta {
                Some(_) => cx.reply(&request, &Done::of("add_ok")),
                None => cx.reply(&request, &ReadOk { kind: "read_ok", value }),
            }
        }
        self.begin_batch(cx);
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
            Event::Reply { token, result } if token.0 >= JOINS => self.joined(cx, token, result),
            Event::Reply { token: REFRESH, .. } | Event::Durable(_) => {}
            Event::Reply { result, .. } => self.read_ended(cx, result),
            Event::Timer(TURN) => {
                self.yields = false;
                self.take_off(cx, 0);
            }
            Event::Timer(LOOK) => self.look(cx),
            // The refused cas may have taken effect before: the same cas again tells.
            Event::Timer(_) => self.send(cx),
        }
    }
}
