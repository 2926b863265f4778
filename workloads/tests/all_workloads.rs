//! The node that serves everything: the workload that gets each message, seen from outside through
//! two workloads that only tell which events reached them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::Duration;

use seaworthy::message::{Message, NodeId};
use seaworthy::node::{Context, DEFAULT_STREAM, Effect, Event, Input, Node, Token, Workload};
use seaworthy::storage::{Log, Recovered, Write, WriteData};
use seaworthy::time::Time;
use seaworthy_workloads::all_workloads::AllWorkloads;
use seaworthy_workloads::{Entry, Options};
use serde_json::{Value, json};

/// Tells `log` about every event, under its own name.
struct Teller(&'static str);

impl Teller {
    fn tell(&self, cx: &mut Context<'_>, what: impl Into<Value>) {
        cx.send(&NodeId::new("log"), &json!({"type": "told", "by": self.0, "what": what.into()}));
    }
}

impl Workload for Teller {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Start(mut recovered) => {
                let records = recovered.take(DEFAULT_STREAM).records.len();
                assert_eq!(recovered.streams().count(), 0, "a log of somebody else");
                self.tell(cx, format!("start {records}"));
            }
            Event::Message(message) => {
                cx.set_timer(Token(7), Duration::from_secs(1));
                cx.rpc(&"peer".into(), &json!({"type": "ask"}), Duration::from_secs(2), Token(8));
                cx.persist(self.0.into());
                self.tell(cx, message.body.kind.as_str());
            }
            Event::Timer(Token(token)) => self.tell(cx, format!("timer {token}")),
            Event::Reply { token: Token(token), .. } => self.tell(cx, format!("reply {token}")),
            Event::Durable(_) => self.tell(cx, "durable"),
        }
    }
}

static TABLE: [Entry; 2] = [
    Entry {
        name: "alpha",
        summary: "",
        serves: &["a", "shared"],
        build: |_| Box::new(Teller("alpha")),
    },
    Entry {
        name: "beta",
        summary: "",
        serves: &["b", "shared"],
        build: |_| Box::new(Teller("beta")),
    },
];

/// A node that serves the table, and everything it was told.
struct Rig {
    node: Node,
    effects: Vec<Effect>,
}

impl Rig {
    fn start(recovered: Recovered) -> Rig {
        Rig::start_in(recovered, &["n0"])
    }

    fn start_in(recovered: Recovered, nodes: &[&str]) -> Rig {
        let everything = AllWorkloads::new(&TABLE, Options::default());
        let mut rig = Rig { node: Node::new(Box::new(everything), 1), effects: Vec::new() };
        rig.say(json!({"type": "init", "msg_id": 1, "node_id": "n0", "node_ids": nodes}));
        rig.effects.clear();
        rig.step(0, Input::Recovered(recovered));
        rig
    }

    fn step(&mut self, seconds: u64, input: Input) {
        self.node.step(Time::from_millis(1000 * seconds), input, &mut self.effects);
    }

    fn say(&mut self, body: Value) {
        self.say_as("c1", body);
    }

    fn say_as(&mut self, src: &str, body: Value) {
        let line = json!({"src": src, "dest": "n0", "body": body}).to_string();
        self.step(0, Input::Message(Message::from_line(line.as_bytes()).unwrap()));
    }

    /// The events that the workloads told since the last look, as `name: event`.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            let Effect::Send(packet) = effect else { continue };
            if packet.dest.as_str() == "log" {
                let body: Value = serde_json::from_str(&packet.body).unwrap();
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                told.push(format!("{}: {}", text("by"), text("what")));
            }
        }
        told
    }
}

#[test]
fn a_part_starts_with_its_first_message() {
    let mut rig = Rig::start(Recovered::default());
    assert!(rig.told().is_empty(), "nobody has asked for anything");
    rig.say(json!({"type": "b"}));
    assert_eq!(rig.told(), ["beta: start 0", "beta: b"]);
    rig.say(json!({"type": "b"}));
    assert_eq!(rig.told(), ["beta: b"]);
}

#[test]
fn parts_with_something_in_storage_start_with_the_node() {
    let mut recovered = Recovered::default();
    recovered.insert("beta", Log { records: vec![vec![1], vec![2]], ..Log::default() });
    recovered.insert("forgotten", Log { records: vec![vec![3]], ..Log::default() });
    assert_eq!(Rig::start(recovered).told(), ["beta: start 2"]);
}

#[test]
fn records_go_to_the_stream_of_the_part() {
    let mut rig = Rig::start(Recovered::default());
    rig.say(json!({"type": "a"}));
    rig.say(json!({"type": "b"}));
    let writes: Vec<&Write> = rig
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist(_, write) => Some(write),
            _ => None,
        })
        .collect();
    let record = |name: &'static str| Write { stream: name, data: WriteData::Record(name.into()) };
    assert_eq!(writes, [&record("alpha"), &record("beta")]);
}

#[test]
fn timers_and_answers_return_to_who_asked() {
    let mut rig = Rig::start(Recovered::default());
    rig.say(json!({"type": "b"}));
    rig.told();
    rig.step(1, Input::Tick);
    assert_eq!(rig.told(), ["beta: timer 7"]);
    rig.step(2, Input::Tick);
    assert_eq!(rig.told(), ["beta: reply 8"]);
}

#[test]
fn durability_is_told_to_all_parts_that_have_started() {
    let mut rig = Rig::start(Recovered::default());
    rig.say(json!({"type": "b"}));
    let ticket = rig.effects.iter().find_map(|effect| match effect {
        Effect::Persist(ticket, _) => Some(*ticket),
        _ => None,
    });
    rig.told();
    rig.step(0, Input::Durable(ticket.unwrap()));
    assert_eq!(rig.told(), ["beta: durable"]);
}

#[test]
fn a_shared_type_goes_to_the_workload_in_use() {
    let mut used = Rig::start(Recovered::default());
    used.say(json!({"type": "b"}));
    used.say(json!({"type": "shared"}));
    assert_eq!(used.told(), ["beta: start 0", "beta: b", "beta: shared"]);
}

#[test]
fn a_shared_type_waits_until_something_is_in_use() {
    let mut fresh = Rig::start(Recovered::default());
    fresh.say(json!({"type": "shared"}));
    assert!(fresh.told().is_empty(), "nobody can know whose it is");
    fresh.say(json!({"type": "b"}));
    assert_eq!(fresh.told(), ["beta: start 0", "beta: shared", "beta: b"]);
}

#[test]
fn another_node_knows_the_workload_in_use() {
    let mut fresh = Rig::start_in(Recovered::default(), &["n0", "n1"]);
    fresh.say(json!({"type": "shared", "msg_id": 5}));
    let Some(Effect::Send(ask)) = fresh.effects.last() else { panic!("nobody was asked") };
    let body: Value = serde_json::from_str(&ask.body).unwrap();
    assert_eq!((ask.dest.as_str(), &body["type"]), ("n1", &json!("parts")));
    fresh.say_as(
        "n1",
        json!({"type": "parts_ok", "in_reply_to": body["msg_id"], "parts": ["beta"]}),
    );
    assert_eq!(fresh.told(), ["beta: start 0", "beta: shared"]);
    fresh.effects.clear();
    fresh.say(json!({"type": "parts", "msg_id": 6}));
    let Some(Effect::Send(answer)) = fresh.effects.last() else { panic!("no answer") };
    assert_eq!(answer.body, r#"{"type":"parts_ok","parts":["beta"],"in_reply_to":6}"#);
}

#[test]
fn a_read_that_no_node_can_place_is_refused_in_the_end() {
    let mut fresh = Rig::start(Recovered::default());
    fresh.say(json!({"type": "shared", "msg_id": 5}));
    fresh.effects.clear();
    (1..8).for_each(|second| fresh.step(second, Input::Tick));
    let Some(Effect::Send(answer)) = fresh.effects.last() else { panic!("no answer") };
    assert!(answer.body.contains(r#""code":11"#), "{}", answer.body);
    assert_eq!(fresh.node.next_deadline(), None);
}

/// At which second, counted from 1, a read that n0 cannot place is refused, if n1 answers
/// every question with no parts, or never.
fn refused_after(n1_answers: bool) -> u64 {
    let mut fresh = Rig::start_in(Recovered::default(), &["n0", "n1"]);
    fresh.say(json!({"type": "shared", "msg_id": 5}));
    for second in 1..8 {
        for effect in std::mem::take(&mut fresh.effects) {
            let Effect::Send(packet) = effect else { continue };
            let body: Value = serde_json::from_str(&packet.body).unwrap();
            if body["code"] == json!(11) {
                return second - 1;
            }
            if n1_answers && body["type"] == json!("parts") {
                let reply = json!({"type": "parts_ok", "in_reply_to": body["msg_id"], "parts": []});
                fresh.say_as("n1", reply);
            }
        }
        fresh.step(second, Input::Tick);
    }
    panic!("the read is never refused");
}

#[test]
fn a_read_is_refused_early_only_if_all_others_know_nothing() {
    assert_eq!(refused_after(true), 1, "no other node can be told what the read means");
    assert!(refused_after(false) > 2, "the node behind the partition may know");
}

#[test]
fn an_unknown_type_is_refused_and_starts_nothing() {
    let mut rig = Rig::start(Recovered::default());
    rig.effects.clear();
    rig.say(json!({"type": "c"}));
    assert!(rig.effects.is_empty(), "without a msg_id nobody waits for an answer");
    rig.say(json!({"type": "c", "msg_id": 3}));
    let [Effect::Send(packet)] = rig.effects.as_slice() else { panic!("{:?}", rig.effects) };
    let body: Value = serde_json::from_str(&packet.body).unwrap();
    assert_eq!((&body["type"], &body["code"]), (&json!("error"), &json!(10)));
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<&str> = seaworthy_workloads::all().iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), seaworthy_workloads::all().len(), "a name is used twice");
    for entry in seaworthy_workloads::all() {
        assert!(!entry.serves.is_empty() && !entry.serves.contains(&"init"), "{}", entry.name);
    }
}
