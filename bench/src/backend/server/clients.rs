//! The clients' requests, each client in a thread of its own.
//!
//! A request ends when its client gives up on it: an answer that comes later is dropped here,
//! since the client has noted that the outcome is open. The thread of a client that gave up is
//! free again at that moment, too.

// Real time and threads are the business of this module.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use seaworthy::message::{ErrorCode, NodeId, Packet};
use seaworthy::time::Time;
use serde_json::{Value, json};

use super::api::contract::Speaker;
use super::api::refused::Refused;

/// An answer on its way to the world.
pub struct Heard {
    pub(super) node: usize,
    pub(super) packet: Packet,
    /// From when on it is dropped.
    pub(super) until: Time,
}

/// A request on its way to a server.
pub(super) struct Errand {
    pub(super) node: usize,
    pub(super) packet: Packet,
    /// When its client gives up, on the clocks of the world and of the machine.
    pub(super) until: Time,
    pub(super) deadline: Instant,
}

impl Errand {
    /// A request that begins `now` and has this much time.
    pub(super) fn new(now: Time, patience: Duration, node: usize, packet: Packet) -> Errand {
        Errand { node, packet, until: now + patience, deadline: Instant::now() + patience }
    }
}

/// The threads of all clients, by client and server.
pub(super) struct Clients {
    threads: BTreeMap<(NodeId, usize), Sender<Errand>>,
    heard: SyncSender<Heard>,
}

impl Clients {
    pub(super) fn new(heard: SyncSender<Heard>) -> Clients {
        Clients { threads: BTreeMap::new(), heard }
    }

    /// Sends a client on an errand; a new client gets its way to the server from `speaker`.
    pub(super) fn send(&mut self, errand: Errand, speaker: impl FnOnce() -> Box<dyn Speaker>) {
        let key = (errand.packet.src.clone(), errand.node);
        let thread = self.threads.entry(key).or_insert_with(|| {
            let (errands, waiting) = mpsc::channel();
            let (speaker, heard) = (speaker(), self.heard.clone());
            thread::spawn(move || run(speaker, &waiting, &heard));
            errands
        });
        thread.send(errand).expect("a client's thread ends after its sender");
    }
}

fn run(mut speaker: Box<dyn Speaker>, errands: &Receiver<Errand>, heard: &SyncSender<Heard>) {
    while let Ok(Errand { node, packet, until, deadline }) = errands.recv() {
        if Instant::now() >= deadline {
            continue;
        }
        let request: Value = serde_json::from_str(&packet.body).unwrap_or_default();
        let body = answer(speaker.ask(&request, deadline), &request);
        // The world is gone when the run is over.
        let _ = heard.send(Heard { node, packet: reply(packet, &body), until });
    }
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
    Packet { src: asked.dest, dest: asked.src, body: body.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::ears::ears;

    /// Answers after this long.
    struct Slow(Duration);

    impl Speaker for Slow {
        fn ask(&mut self, request: &Value, _: Instant) -> Result<Value, Refused> {
            thread::sleep(self.0);
            match request["type"].as_str() {
                Some("write") => Ok(json!({"type": "write_ok"})),
                _ => Err(Refused::new(ErrorCode::CRASH, "reset")),
            }
        }
    }

    fn errand(patience_ms: u64, body: &str) -> Errand {
        let packet = Packet { src: "c1".into(), dest: "n0".into(), body: body.to_owned() };
        Errand::new(Time::ZERO, Duration::from_millis(patience_ms), 0, packet)
    }

    #[test]
    fn answers_are_addressed_and_errors_keep_their_codes() {
        let (heard, ears) = ears();
        let mut clients = Clients::new(heard);
        let way = || -> Box<dyn Speaker> { Box::new(Slow(Duration::ZERO)) };
        clients.send(errand(5000, r#"{"type":"write","msg_id":3}"#), way);
        clients.send(errand(5000, r#"{"type":"read","msg_id":4}"#), way);
        let mut all = Vec::new();
        while all.len() < 2 {
            all.extend(ears.listen(Duration::from_secs(5)).map(|heard| heard.packet));
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
        let (heard, ears) = ears();
        let mut clients = Clients::new(heard);
        let way = || -> Box<dyn Speaker> { Box::new(Slow(Duration::from_millis(50))) };
        // While the first takes its time, that of the second passes.
        let all = [(5000, 1), (20, 2), (5000, 3)].map(|(patience_ms, id)| {
            errand(patience_ms, &format!(r#"{{"type":"write","msg_id":{id}}}"#))
        });
        all.into_iter().for_each(|errand| clients.send(errand, way));
        let mut bodies = Vec::new();
        while bodies.last().is_none_or(|last: &String| !last.contains(":3")) {
            bodies.extend(ears.listen(Duration::from_secs(5)).map(|heard| heard.packet.body));
        }
        assert_eq!(bodies.len(), 2, "{bodies:?}");
    }
}
