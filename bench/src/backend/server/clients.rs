//! The clients' requests, in the thread of the world.
//!
//! Each client has a way to each server, and one request at a time is on it. All of them are tasks of
//! one loop, which runs while the world waits ([`Ears::listen`]): an operation wakes no other
//! thread, and what the bench takes from the servers' machine is little.
//!
//! A request ends when its client gives up on it: an answer that comes later is dropped here,
//! since the client has noted that the outcome is open. The way of a client that gave up is
//! free again at that moment, too.

// Real time is the business of this module.
#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use seaworthy::message::{ErrorCode, NodeId, Packet};
use seaworthy::time::Time;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::api::contract::Speaker;
use super::api::refused::Refused;
use super::reactor::Reactor;

/// How long the world may wait without a look at signals to the bench.
const GLANCE: Duration = Duration::from_millis(100);

/// An answer on its way to the world.
pub struct Heard {
    pub(super) node: usize,
    pub(super) packet: Packet,
    /// The number of the node's start after which it was asked, and whether it did what it was
    /// asked for.
    pub(super) life: u64,
    pub(super) is_served: bool,
    /// From when on it is dropped.
    pub(super) until: Time,
}

/// A request on its way to a server.
pub(super) struct Errand {
    pub(super) node: usize,
    pub(super) packet: Packet,
    /// The body of the packet.
    pub(super) request: Value,
    /// How often the node had been started.
    pub(super) life: u64,
    /// When its client gives up, on the clocks of the world and of the machine.
    pub(super) until: Time,
    pub(super) deadline: Instant,
}

/// The way of a client to a server. Those who wait for it get it in the order in which they came.
type Way = Rc<Mutex<Box<dyn Speaker>>>;

/// Requests and answers between the world and the tasks.
#[derive(Default)]
struct Post {
    leaving: RefCell<Vec<(Way, Errand)>>,
    heard: RefCell<Vec<Heard>>,
}

/// The ways of all clients, by client and server.
pub(super) struct Clients {
    ways: BTreeMap<(NodeId, usize), Way>,
    post: Rc<Post>,
}

/// The receiving end, which lets the clients work while it waits.
pub struct Ears {
    reactor: Reactor,
    post: Rc<Post>,
}

/// Both ends.
///
/// # Errors
/// If the kernel has no poll left.
pub(super) fn clients() -> io::Result<(Clients, Ears)> {
    let post: Rc<Post> = Rc::default();
    let ears = Ears { reactor: Reactor::new()?, post: post.clone() };
    Ok((Clients { ways: BTreeMap::new(), post }, ears))
}

impl Clients {
    /// Sends a client on an errand; a new client gets its way to the server from `speaker`.
    pub(super) fn send(&mut self, errand: Errand, speaker: impl FnOnce() -> Box<dyn Speaker>) {
        let key = (errand.packet.src.clone(), errand.node);
        let way = self.ways.entry(key).or_insert_with(|| Rc::new(Mutex::new(speaker())));
        self.post.leaving.borrow_mut().push((way.clone(), errand));
    }
}

impl Ears {
    /// Lets the clients work until one of them has an answer, at most for `patience` and never for
    /// long, so that the caller can look at signals to the bench.
    pub fn listen(&self, patience: Duration) -> Vec<Heard> {
        let post = &self.post;
        for (way, errand) in post.leaving.take() {
            self.reactor.spawn(run(way, errand, post.clone()));
        }
        self.reactor.run(patience.min(GLANCE), || !post.heard.borrow().is_empty());
        post.heard.take()
    }
}

async fn run(way: Way, errand: Errand, post: Rc<Post>) {
    let Errand { node, packet, request, life, until, deadline } = errand;
    let mut speaker = way.lock().await;
    if Instant::now() >= deadline {
        return;
    }
    let result = speaker.ask(&request, deadline).await;
    let is_served = result.is_ok();
    let packet = reply(packet, &answer(result, &request));
    post.heard.borrow_mut().push(Heard { node, packet, life, is_served, until });
}

/// The body that answers a request.
pub(super) fn answer(result: Result<Value, Refused>, request: &Value) -> Value {
    let mut body = result.unwrap_or_else(|Refused { code: ErrorCode(code), text }| {
        json!({"type": "error", "code": code, "text": text})
    });
    if let Some(body) = body.as_object_mut() {
        body.insert("in_reply_to".to_owned(), request["msg_id"].clone());
    }
    body
}

/// A message from the server that was asked to the client that did.
pub(super) fn reply(asked: Packet, body: &Value) -> Packet {
    let body = serde_json::to_string(body).expect("a tree is always JSON");
    Packet { src: asked.dest, dest: asked.src, body }
}

#[cfg(test)]
mod tests {
    use super::super::reactor::sleep;
    use super::*;
    use async_trait::async_trait;

    /// Answers after this long.
    struct Slow(Duration);

    #[async_trait(?Send)]
    impl Speaker for Slow {
        async fn ask(&mut self, request: &Value, _: Instant) -> Result<Value, Refused> {
            sleep(self.0).await;
            match request["type"].as_str() {
                Some("write") => Ok(json!({"type": "write_ok"})),
                _ => Err(Refused::new(ErrorCode::CRASH, "reset")),
            }
        }
    }

    fn errand(patience_ms: u64, body: &str) -> Errand {
        let packet = Packet { src: "c1".into(), dest: "n0".into(), body: body.to_owned() };
        let patience = Duration::from_millis(patience_ms);
        Errand {
            node: 0,
            request: serde_json::from_str(body).unwrap(),
            life: 1,
            packet,
            until: Time::ZERO + patience,
            deadline: Instant::now() + patience,
        }
    }

    #[test]
    fn answers_are_addressed_and_errors_keep_their_codes() {
        let (mut clients, ears) = clients().unwrap();
        let way = || -> Box<dyn Speaker> { Box::new(Slow(Duration::ZERO)) };
        clients.send(errand(5000, r#"{"type":"write","msg_id":3}"#), way);
        clients.send(errand(5000, r#"{"type":"read","msg_id":4}"#), way);
        let mut all = Vec::new();
        while all.len() < 2 {
            all.extend(ears.listen(Duration::from_secs(5)).into_iter().map(|heard| heard.packet));
        }
        assert!(
            all.iter().all(|packet| packet.src.as_str() == "n0" && packet.dest.as_str() == "c1")
        );
        assert_eq!(all[0].body, r#"{"in_reply_to":3,"type":"write_ok"}"#);
        let error: Value = serde_json::from_str(&all[1].body).unwrap();
        assert_eq!((&error["code"], &error["in_reply_to"]), (&json!(13), &json!(4)));
    }

    #[test]
    fn a_request_whose_client_gave_up_is_not_sent() {
        let (mut clients, ears) = clients().unwrap();
        let way = || -> Box<dyn Speaker> { Box::new(Slow(Duration::from_millis(50))) };
        // While the first takes its time, that of the second passes.
        let all = [(5000, 1), (20, 2), (5000, 3)].map(|(patience_ms, id)| {
            errand(patience_ms, &format!(r#"{{"type":"write","msg_id":{id}}}"#))
        });
        all.into_iter().for_each(|errand| clients.send(errand, way));
        let mut bodies = Vec::new();
        while bodies.last().is_none_or(|last: &String| !last.contains(":3")) {
            bodies.extend(
                ears.listen(Duration::from_secs(5)).into_iter().map(|heard| heard.packet.body),
            );
        }
        assert_eq!(bodies.len(), 2, "{bodies:?}");
    }
}
