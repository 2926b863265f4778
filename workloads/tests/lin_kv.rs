//! Lin-kv on a cluster of one: every answer the protocol knows, for any JSON.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::VecDeque;

use seaworthy::message::Message;
use seaworthy::node::{Effect, Input, Node};
use seaworthy::shell::raft::StateMachine;
use seaworthy::storage::MemoryStorage;
use seaworthy::time::Time;
use seaworthy_workloads::Options;
use seaworthy_workloads::lin_kv::{LinKv, Registers};
use serde_json::{Value, json};

/// One node, its disk, and the last answer.
struct Rig {
    node: Node,
    disk: MemoryStorage,
    asked: u64,
    answer: Option<Value>,
}

impl Rig {
    fn new() -> Rig {
        let node = Node::new(Box::new(LinKv::new(&Options::default())), 1);
        let mut rig = Rig { node, disk: MemoryStorage::new(), asked: 0, answer: None };
        let init = rig.call(json!({"type": "init", "node_id": "n0", "node_ids": ["n0"]}));
        assert_eq!(init["type"], "init_ok");
        rig
    }

    /// Sends a request as text, because not all JSON survives being parsed.
    fn call_text(&mut self, members: &str) -> Value {
        self.asked += 1;
        let (number, members) = (self.asked, members.trim_start_matches('{'));
        let line = format!(r#"{{"src":"c1","dest":"n0","body":{{"msg_id":{number},{members}}}"#);
        self.step(Input::Message(Message::from_line(line.as_bytes()).unwrap()));
        // Everything is durable at once, so time need not pass.
        self.step(Input::Tick);
        self.answer.take().expect("a cluster of one answers at once")
    }

    fn call(&mut self, body: Value) -> Value {
        self.call_text(&body.to_string())
    }

    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.node.step(Time::ZERO, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Open(_) => inputs.push_back(Input::Recovered(self.disk.recover())),
                    Effect::Persist(ticket, write) => {
                        self.disk.stage(write).unwrap();
                        self.disk.sync().unwrap();
                        inputs.extend([Input::Durable(ticket), Input::Tick]);
                    }
                    Effect::Send(packet) | Effect::SendAfter(_, packet) => {
                        let mut body: Value = serde_json::from_str(&packet.body).unwrap();
                        let number = body.as_object_mut().unwrap().remove("in_reply_to");
                        assert_eq!(number, Some(json!(self.asked)));
                        assert!(self.answer.replace(body).is_none(), "answered twice");
                    }
                }
            }
        }
    }

    fn code(&mut self, body: Value) -> u64 {
        let answer = self.call(body);
        assert_eq!(answer["type"], "error", "{answer}");
        assert!(answer["text"].as_str().is_some_and(|text| !text.is_empty()));
        answer["code"].as_u64().unwrap()
    }
}

#[test]
fn every_answer_of_the_protocol() {
    let mut rig = Rig::new();
    assert_eq!(rig.code(json!({"type": "read", "key": 1})), 20);
    assert_eq!(rig.code(json!({"type": "cas", "key": 1, "from": 0, "to": 1})), 20);
    assert_eq!(
        rig.call(json!({"type": "write", "key": 1, "value": 3})),
        json!({"type": "write_ok"})
    );
    assert_eq!(rig.code(json!({"type": "cas", "key": 1, "from": 0, "to": 1})), 22);
    let cas = json!({"type": "cas", "key": 1, "from": 3, "to": 4});
    assert_eq!(rig.call(cas), json!({"type": "cas_ok"}));
    let read = rig.call(json!({"type": "read", "key": 1}));
    assert_eq!(read, json!({"type": "read_ok", "value": 4}));
}

#[test]
fn cas_creates_a_key_only_if_asked_to() {
    let mut rig = Rig::new();
    let cas = |create: bool, to: u64| json!({"type": "cas", "key": "k", "from": 1, "to": to, "create_if_not_exists": create});
    assert_eq!(rig.code(cas(false, 5)), 20);
    assert_eq!(rig.call(cas(true, 6)), json!({"type": "cas_ok"}));
    assert_eq!(rig.call(json!({"type": "read", "key": "k"}))["value"], 6);
    // A key that exists is compared, whatever was asked for.
    assert_eq!(rig.code(cas(true, 7)), 22);
}

#[test]
fn a_malformed_request_is_refused_for_certain() {
    let mut rig = Rig::new();
    assert_eq!(rig.code(json!({"type": "write", "key": 1})), 12);
    assert_eq!(rig.code(json!({"type": "read"})), 12);
    assert_eq!(rig.code(json!({"type": "cas", "key": 1, "from": 1})), 12);
    assert_eq!(rig.code(json!({"type": "delete", "key": 1})), 10);
    assert_eq!(rig.code(json!({"type": "read", "key": 1})), 20);
}

#[test]
fn keys_and_values_are_any_json() {
    let mut rig = Rig::new();
    let all = [
        "null",
        "true",
        "0",
        "-0",
        "1",
        "1.0",
        "\"1\"",
        "[]",
        "[1]",
        "{}",
        "[[null]]",
        "{\"a\":{\"b\":[1,2]}}",
        "\"\\u00e9\\n\"",
        "123456789012345678901234567890",
        "123456789012345678901234567891",
        "1e400",
        "\"\\ud800\"",
    ];
    for (i, json) in all.iter().enumerate() {
        let write = format!(r#""type":"write","key":{json},"value":[{i},{json}]}}"#);
        assert_eq!(rig.call_text(&write)["type"], "write_ok", "{json}");
    }
    for (i, json) in all.iter().enumerate() {
        let cas = format!(r#""type":"cas","key":{json},"from":[{i},{json}],"to":{i}}}"#);
        assert_eq!(rig.call_text(&cas)["type"], "cas_ok", "{json} was overwritten");
        let read = format!(r#""type":"read","key":{json}}}"#);
        assert_eq!(rig.call_text(&read), json!({"type": "read_ok", "value": i}));
    }
}

#[test]
fn spelling_does_not_make_another_key_or_value() {
    let mut rig = Rig::new();
    let write = r#""type":"write","key":{"a":1,"b":2},"value":{"x":"\u0041","y":0}}"#;
    assert_eq!(rig.call_text(write)["type"], "write_ok");
    let cas = r#""type":"cas","key":{ "b":2, "a":1 },"from":{"y":0,"x":"A"},"to":1}"#;
    assert_eq!(rig.call_text(cas)["type"], "cas_ok");
}

#[test]
fn a_snapshot_is_everything_and_nothing_else_is_one() {
    let mut registers = Registers::default();
    let text = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
    registers.apply(&text(r#"{"w":[{"k":1},[1,"two",null]]}"#));
    let mut other = Registers::default();
    other.apply(&text(r#"{"w":["gone",1]}"#));
    other.restore(&registers.snapshot()).unwrap();
    let key = text(r#"{"k":1}"#);
    assert_eq!(other.query(&key).as_str(), registers.query(&key).as_str());
    let missing = other.query(&text("\"gone\""));
    assert!(missing.as_str().contains("\"code\":20"), "{}", missing.as_str());
    assert!(other.restore(b"[").is_err());
}
