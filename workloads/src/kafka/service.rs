//! Logs in the service `lin-kv`, as the challenge states it.
//!
//! A log is stored in chunks: `log/KEY/0` holds the first 64 messages, and so on. A message is in
//! the log when a compare-and-set of its chunk, from its contents to these and more, has succeeded;
//! its place in the chunk is its offset. So the service decides on the meaning of an offset, for
//! every writer, and a stored message never changes.
//!
//! * *Exactly once.* A chunk only grows, so the value that a cas starts from never returns: it
//!   takes effect at most once, however late. If no answer comes it is sent again; if it
//!   is refused, the chunk tells by the writer's tag whether it took effect before. If
//!   not, it never will, and its messages go into a new one. A send that is passed on
//!   names the incarnation that it is meant for, which takes each once; so it makes no
//!   difference if the network delivers it twice or much later. A send that names no
//!   incarnation is only a question: it is never taken, and so nothing is in doubt if no
//!   answer comes.
//! * *Few failures.* One node writes a key, as long as it can be reached: the others
//!   pass their sends on to it, and sends that arrive during a cas share the next one. If it
//!   was not heard lately it is asked first; if it does not answer, others write for
//!   themselves until it does.
//! * *Polls* show messages that this node knows to be in the service. Its knowledge of a
//!   key is at most [`FRESH`] old, or [`FRESH_OWN`] if it writes the key itself; otherwise it
//!   looks, and a poll that would be empty waits for that.
//! * *Committed offsets* are kept by each node for itself, under `committed/NODE`, so
//!   that no two nodes write one key; to list them is to read all of these and take the
//!   largest.
//!
//! Deliberately missing: retention, because other nodes rely on the messages in the
//! service; and an answer without the service, but for polls of known messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::Rng;
use seaworthy::message::{Body, ErrorCode, Message, NodeId, Request, RpcError};
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::calls::{self, Awaited, Calls, Cas, Forwarded, Read, SERVICE, TIMEOUT};
use super::chunks::{Chunk, Topic, log_key};
use super::commits::Commits;
use super::logs::poll;
use super::protocol::{Ask, Batch, Offsets, PollOk, SendOk};
use crate::reply::not_supported;

/// How long the node that writes a key may take. It asks the service in the meantime.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(3);
/// For how long a node that did not answer is not asked again.
const SUSPICION: Duration = Duration::from_secs(2);
/// For how long a node that answered is believed to be there.
const TRUST: Duration = Duration::from_secs(2);
/// How long the answer to a question may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How old a node's knowledge of a key may be when it is polled.
pub const FRESH: Duration = Duration::from_millis(50);
/// The same for a key that this node writes.
pub const FRESH_OWN: Duration = Duration::from_secs(1);
/// How many sends of other nodes are remembered: more than can be delivered while one
/// of them is repeated.
const TAKEN_MAX: usize = 1 << 16;
/// The workload.
#[derive(Default)]
pub struct ServiceKafka {
    /// Tells this incarnation from others.
    boot: u64,
    /// The incarnations of other nodes, and when each last answered.
    incarnations: BTreeMap<NodeId, (u64, Time)>,
    /// Sends of other nodes that were taken in this incarnation, and in which order.
    taken: BTreeSet<(NodeId, Option<u64>)>,
    taken_order: VecDeque<(NodeId, Option<u64>)>,
    tags: u64,
    topics: BTreeMap<String, Topic>,
    commits: Commits,
    /// Polls that wait for keys to be read.
    polls: Vec<WaitingPoll>,
    /// Nodes that did not answer, and until when they are not asked.
    suspects: BTreeMap<NodeId, Time>,
    calls: Calls,
}

struct WaitingPoll {
    request: Request,
    offsets: Offsets,
    keys: BTreeSet<String>,
}

/// A send passed on to the node that writes its key.
#[derive(Serialize)]
struct Forward<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    key: &'a str,
    msg: &'a RawValue,
    /// The incarnation of the receiver, as far as the sender knows.
    #[serde(rename = "life")]
    incarnation: Option<u64>,
}

/// Refuses a send that was meant for another incarnation of this node.
#[derive(Serialize)]
struct OtherIncarnation {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "life")]
    incarnation: u64,
}

impl ServiceKafka {
    /// The type of sends passed on between nodes.
    pub const FORWARD: &'static str = "kafka:send";

    fn serve(&mut self, cx: &mut Context<'_>, message: &Message) -> Result<(), RpcError> {
        let request = message.request();
        if message.body.kind == ServiceKafka::FORWARD {
            #[derive(Deserialize)]
            struct PassedOn {
                key: String,
                msg: Box<RawValue>,
                #[serde(rename = "life")]
                incarnation: Option<u64>,
            }
            let PassedOn { key, msg, incarnation } = message.body.parse()?;
            if incarnation != Some(self.boot) {
                cx.reply(
                    &request,
                    &OtherIncarnation { kind: "kafka:other_life", incarnation: self.boot },
                );
            } else if self.note_request(&request) {
                self.write(cx, request, key, msg);
            }
            return Ok(());
        }
        match Ask::parse(message)? {
            Ask::Send(key, msg) => self.send(cx, request, key, msg.to_owned()),
            Ask::Poll(offsets) => self.poll(cx, request, offsets),
            Ask::Commit(offsets) => self.commits.commit(cx, &mut self.calls, request, offsets),
            Ask::ListCommitted(keys) => self.commits.list(cx, &mut self.calls, request, keys),
            Ask::Other => not_supported(cx, message),
        }
        Ok(())
    }

    /// Notes a request of another node. Returns whether it comes for the first time.
    fn note_request(&mut self, request: &Request) -> bool {
        let name = (request.src.clone(), request.msg_id);
        if !self.taken.insert(name.clone()) {
            return false;
        }
        self.taken_order.push_back(name);
        if self.taken_order.len() > TAKEN_MAX {
            self.taken_order.pop_front().map(|oldest| self.taken.remove(&oldest));
        }
        true
    }

    /// Passes a send on to the node that writes its key, or does it here.
    fn send(&mut self, cx: &mut Context<'_>, request: Request, key: String, msg: Box<RawValue>) {
        let (to, now) = (owner(cx, &key).clone(), cx.now());
        if to == *cx.id() {
            return self.write(cx, request, key, msg);
        }
        let kind = ServiceKafka::FORWARD;
        if let Some(until) = self.suspects.get_mut(&to) {
            if now >= *until {
                *until = now + SUSPICION;
                let token = self.calls.expect(Awaited::Question(to.clone()));
                let question = Forward { kind, key: &key, msg: &msg, incarnation: None };
                cx.rpc(&to, &question, QUESTION_TIMEOUT, token);
            }
            return self.write(cx, request, key, msg);
        }
        let incarnation = self.incarnations.get(&to).filter(|(_, heard)| now - *heard < TRUST);
        let incarnation = incarnation.map(|(incarnation, _)| *incarnation);
        let forward = Forward { kind, key: &key, msg: &msg, incarnation };
        let timeout = if incarnation.is_some() { FORWARD_TIMEOUT } else { QUESTION_TIMEOUT };
        let (key, message) = (key.clone(), msg.clone());
        let forwarded = Forwarded { request, key, message, to: to.clone(), incarnation };
        let token = self.calls.expect(Awaited::Forward(forwarded));
        cx.rpc(&to, &forward, timeout, token);
    }

    /// Notes that a node has answered, in this incarnation if it is known.
    fn note_heard(&mut self, cx: &Context<'_>, node: &NodeId, incarnation: Option<u64>) {
        self.suspects.remove(node);
        if let Some(incarnation) = incarnation {
            self.incarnations.insert(node.clone(), (incarnation, cx.now()));
        }
    }

    fn forwarded(
        &mut self,
        cx: &mut Context<'_>,
        Forwarded { request, key, message, to, incarnation }: Forwarded,
        result: Result<Body, RpcError>,
    ) {
        let is_silent = result.as_ref().is_err_and(|error| error.code == ErrorCode::TIMEOUT);
        if is_silent {
            self.suspects.insert(to.clone(), cx.now() + SUSPICION);
            if incarnation.is_none() {
                // It took nothing, so the message may be written here.
                return self.write(cx, request, key, message);
            }
        } else {
            self.note_heard(cx, &to, incarnation);
        }
        #[derive(Deserialize)]
        struct Answer {
            offset: Option<u64>,
            #[serde(rename = "life")]
            incarnation: Option<u64>,
        }
        match result.and_then(|body| body.parse()) {
            Ok(Answer { incarnation: Some(incarnation), .. }) => {
                self.note_heard(cx, &to, Some(incarnation));
                self.send(cx, request, key, message);
            }
            Ok(Answer { offset: None, .. }) => {
                let text = format!("{to} did not say where the message is");
                cx.error(&request, &RpcError::new(ErrorCode::CRASH, text));
            }
            Ok(Answer { offset: Some(offset), .. }) => {
                // It is in the service, so it may be shown here; if there is something
                // before it that is not known here, the next poll has to look.
                self.topics.entry(key).or_default().learn(offset, message);
                cx.reply(&request, &SendOk::new(offset));
            }
            Err(error) => cx.error(&request, &error),
        }
    }

    /// Puts a message into the log from here.
    fn write(&mut self, cx: &mut Context<'_>, request: Request, key: String, msg: Box<RawValue>) {
        self.topics.entry(key.clone()).or_default().queue.push((request, msg));
        self.proceed(cx, &key);
    }

    /// Begins the next call for a key, unless one is under way.
    fn proceed(&mut self, cx: &mut Context<'_>, key: &str) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        if topic.busy || topic.queue.is_empty() {
            return;
        }
        if topic.needs_read() {
            return self.read(cx, key);
        }
        self.tags += 1;
        topic.take_off(cx.id(), format!("{:x}-{}", self.boot, self.tags));
        self.send_cas(cx, key);
    }

    fn read(&mut self, cx: &mut Context<'_>, key: &str) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        topic.busy = true;
        let chunk = topic.chunk();
        let token =
            self.calls.expect(Awaited::Read { key: key.to_owned(), chunk, asked: cx.now() });
        let chunk = log_key(key, chunk);
        cx.rpc(&SERVICE.into(), &Read::new(&chunk), TIMEOUT, token);
    }

    fn send_cas(&mut self, cx: &mut Context<'_>, key: &str) {
        let token = self.calls.expect(Awaited::Cas { key: key.to_owned(), asked: cx.now() });
        let Some(topic) = self.topics.get_mut(key) else { return };
        topic.busy = true;
        let Some(flight) = &topic.flight else { return };
        let chunk = log_key(key, flight.chunk);
        let cas = Cas::new(&chunk, &flight.from, &flight.to);
        cx.rpc(&SERVICE.into(), &cas, TIMEOUT, token);
    }

    fn cas_ended(
        &mut self,
        cx: &mut Context<'_>,
        (key, asked): (String, Time),
        result: Result<Body, RpcError>,
    ) {
        let Some(topic) = self.topics.get_mut(&key) else { return };
        match result {
            Ok(_) => {
                topic.busy = false;
                for (request, offset) in topic.land(asked) {
                    cx.reply(&request, &SendOk::new(offset));
                }
                self.go_on(cx, &key);
            }
            // Refused now, but it may have taken effect before. The chunk tells.
            Err(e) if e.code == ErrorCode::PRECONDITION_FAILED => self.read(cx, &key),
            Err(_) => self.calls.stall(cx, Awaited::Cas { key, asked }),
        }
    }

    fn read_ended(
        &mut self,
        cx: &mut Context<'_>,
        (key, number, asked): (String, u64, Time),
        result: Result<Body, RpcError>,
    ) {
        let chunk: Option<Chunk> = match calls::value(result) {
            Ok(chunk) => chunk,
            Err(_) => {
                // Polls need not wait for a service that does not answer.
                self.answer_polls(cx, &key);
                return self.calls.stall(cx, Awaited::Read { key, chunk: number, asked });
            }
        };
        let Some(topic) = self.topics.get_mut(&key) else { return };
        topic.busy = false;
        let chunk = (number, chunk.unwrap_or_default());
        for (request, offset) in topic.see(cx.id(), chunk, asked) {
            cx.reply(&request, &SendOk::new(offset));
        }
        if topic.flight.is_some() {
            // It was refused, and yet its first value is there: the refusal is older than
            // that value. It may still succeed.
            self.send_cas(cx, &key);
        } else if topic.checked.is_none() {
            self.read(cx, &key);
        } else {
            self.go_on(cx, &key);
        }
    }

    /// Goes on with the requests that waited until a key was up to date.
    fn go_on(&mut self, cx: &mut Context<'_>, key: &str) {
        self.answer_polls(cx, key);
        self.proceed(cx, key);
    }

    fn poll(&mut self, cx: &mut Context<'_>, request: Request, offsets: Offsets) {
        let mut keys = BTreeSet::new();
        for key in offsets.keys() {
            let fresh = if owner(cx, key) == cx.id() { FRESH_OWN } else { FRESH };
            let topic = self.topics.entry(key.clone()).or_default();
            if topic.checked.is_some_and(|at| cx.now() - at < fresh) {
                continue;
            }
            // A cas that is under way will tell as much as a read.
            if !topic.busy {
                self.read(cx, key);
            }
            keys.insert(key.clone());
        }
        let poll = WaitingPoll { request, offsets, keys };
        if poll.keys.is_empty() || !self.batch(&poll.offsets).is_empty() {
            self.answer_poll(cx, &poll);
        } else {
            self.polls.push(poll);
        }
    }

    fn batch<'a>(&'a self, offsets: &'a Offsets) -> Batch<'a> {
        poll(offsets, |key| self.topics.get(key).map(|topic| &topic.log))
    }

    fn answer_poll(&self, cx: &mut Context<'_>, poll: &WaitingPoll) {
        cx.reply(&poll.request, &PollOk::new(self.batch(&poll.offsets)));
    }

    /// Answers the polls that waited for this key last.
    fn answer_polls(&mut self, cx: &mut Context<'_>, key: &str) {
        for poll in &mut self.polls {
            poll.keys.remove(key);
        }
        let ready: Vec<_> = self.polls.extract_if(.., |poll| poll.keys.is_empty()).collect();
        ready.iter().for_each(|poll| self.answer_poll(cx, poll));
    }

    fn reply_came(&mut self, cx: &mut Context<'_>, token: Token, result: Result<Body, RpcError>) {
        match self.calls.take(token) {
            Some(Awaited::Read { key, chunk, asked }) => {
                self.read_ended(cx, (key, chunk, asked), result);
            }
            Some(Awaited::Cas { key, asked }) => self.cas_ended(cx, (key, asked), result),
            Some(Awaited::Forward(forwarded)) => self.forwarded(cx, forwarded, result),
            Some(Awaited::Question(to)) if result.is_ok() => self.note_heard(cx, &to, None),
            Some(Awaited::CommitCas) => self.commits.cas_ended(cx, &mut self.calls, result),
            Some(Awaited::CommitRead) => self.commits.read_ended(cx, &mut self.calls, result),
            Some(Awaited::List(number)) => self.commits.listed(cx, number, result),
            Some(Awaited::Question(_)) | None => {}
        }
    }

    fn retry(&mut self, cx: &mut Context<'_>) {
        for awaited in self.calls.take_stalled() {
            match awaited {
                Awaited::Read { key, .. } => self.read(cx, &key),
                Awaited::Cas { key, .. } => self.send_cas(cx, &key),
                Awaited::CommitCas => self.commits.send(cx, &mut self.calls),
                Awaited::CommitRead => Commits::read(cx, &mut self.calls),
                // These end with their answer, of either kind.
                Awaited::Forward(_) | Awaited::Question(_) | Awaited::List(_) => {}
            }
        }
    }
}

impl Workload for ServiceKafka {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Start(_) => self.boot = cx.rng().next_u64(),
            Event::Message(message) => {
                if let Err(error) = self.serve(cx, &message) {
                    cx.error(&message.request(), &error);
                }
            }
            Event::Reply { token, result } => self.reply_came(cx, token, result),
            Event::Timer(_) => self.retry(cx),
            Event::Durable(_) => {}
        }
    }
}

/// The node that writes a key: the same on every node, and spread over the nodes
/// (FNV-1a).
fn owner<'a>(cx: &'a Context<'_>, key: &str) -> &'a NodeId {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    let nodes = cx.node_ids();
    &nodes[(hash % nodes.len() as u64) as usize]
}
