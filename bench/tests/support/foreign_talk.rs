//! Foreign nodes that talk to services and to each other.
//!
//! They look at the answers as text, since it is about notations, too: 10^30 is not 1e30. A
//! node that is disappointed says why and exits, which no test survives.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::process::exit;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// The requests that the services must answer, in this order: to whom, the request, and parts of
/// the answer; without parts there is no answer. Clojure's truth: only null and false are false.
const PROBES: &[(&str, &str, &[&str])] = &[
    (
        "lin-kv",
        r#""type":"write","key":1,"value":1000000000000000000000000000000,"msg_id":"x""#,
        &["write_ok", r#""in_reply_to":"x""#],
    ),
    (
        "lin-kv",
        r#""type":"read","key":1,"msg_id":-5"#,
        &[r#""value":1000000000000000000000000000000"#, r#""in_reply_to":-5"#],
    ),
    ("lin-kv", r#""type":"read","key":1,"msg_id":null"#, &["read_ok"]),
    (
        "lin-kv",
        r#""type":"read","key":1,"msg_id":36893488147419103232"#,
        &["read_ok", r#""in_reply_to":36893488147419103232"#],
    ),
    ("lin-kv", r#""type":"read","key":1"#, &["read_ok"]),
    ("lin-kv", r#""type":"write","value":5,"in_reply_to":99,"msg_id":1"#, &["write_ok"]),
    ("lin-kv", r#""type":"read","key":null,"msg_id":2"#, &[r#""value":5"#]),
    ("lin-kv", r#""type":"write","key":"n","msg_id":3"#, &["write_ok"]),
    ("lin-kv", r#""type":"cas","key":"n","to":1,"msg_id":4"#, &["cas_ok"]),
    ("lin-kv", r#""type":"cas","key":"n","from":1.0,"to":2,"msg_id":5"#, &[r#""code":22"#]),
    (
        "lin-kv",
        r#""type":"cas","key":"new","from":1,"to":2,"create_if_not_exists":null,"msg_id":6"#,
        &[r#""code":20"#],
    ),
    (
        "lin-kv",
        r#""type":"cas","key":"new","from":1,"to":2,"create_if_not_exists":0,"msg_id":7"#,
        &["cas_ok"],
    ),
    ("lin-kv", r#""type":"juggle","msg_id":8"#, &[]),
    ("lin-kv", r#""type":"read","key":"new","msg_id":9"#, &[r#""value":2"#, r#""in_reply_to":9"#]),
    (
        "lww-kv",
        r#""type":"cas","key":"new","from":1,"to":2,"create_if_not_exists":true,"msg_id":10"#,
        &[r#""code":20"#],
    ),
    ("lin-tso", r#""type":"ts","msg_id":"y""#, &[r#""ts":0"#, r#""in_reply_to":"y""#]),
];

/// Rounds after which an occasional event must have come.
const ROUNDS: i64 = 30;
/// Answers to clients after which a node must have done its part.
const ANSWERS: u32 = 20;
/// Before a delta is sent again.
const RESEND: Duration = Duration::from_millis(100);

/// A node that talks.
struct Node {
    lines: Receiver<String>,
    id: String,
    nodes: Vec<String>,
    next_id: i64,
    answers: u32,
    is_done: bool,
    /// The sum of a counter, and the deltas that others have not acknowledged: to whom, and how
    /// much.
    total: i64,
    unheard: BTreeMap<i64, (String, i64)>,
    /// Which deltas of others were counted; none counts them as often as they come.
    counted: Option<Vec<(String, i64)>>,
    /// How often an old value was confirmed.
    stale: u32,
    /// Who waits for an id of the first node, and the `msg_id` of the request.
    waiting: BTreeMap<i64, (String, Value)>,
}

/// Runs a mode of this file, if it is one.
pub(crate) fn run(mode: &str) {
    let talk: fn(&mut Node) = match mode {
        "services" => Node::probe,
        "seq-lag" => Node::lag,
        "lww-lost" => Node::lose,
        "counts-twice" | "counts-once" | "one-owner" => Node::serve_on,
        _ => return,
    };
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut node = Node {
        lines,
        id: String::new(),
        nodes: Vec::new(),
        next_id: 1,
        answers: 0,
        is_done: false,
        total: 0,
        unheard: BTreeMap::new(),
        counted: (mode == "counts-once").then(Vec::new),
        stale: 0,
        waiting: BTreeMap::new(),
    };
    node.wait_for(|node, _| !node.id.is_empty());
    talk(&mut node);
    node.is_done = true;
    node.wait_for(|_, _| false);
}

impl Node {
    fn send(&self, dest: &str, body: &str) {
        println!("{{\"src\":{:?},\"dest\":{dest:?},\"body\":{{{body}}}}}", self.id);
    }

    /// Serves everything that comes until a message is the one. Ends with the input.
    fn wait_for(&mut self, is_it: impl Fn(&Node, &str) -> bool) -> String {
        loop {
            match self.lines.recv_timeout(RESEND) {
                Ok(line) => {
                    self.serve(&line);
                    if is_it(self, &line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    for (id, (dest, delta)) in &self.unheard {
                        self.send(
                            dest,
                            &format!(r#""type":"delta","delta":{delta},"msg_id":{id}"#),
                        );
                    }
                }
                Err(RecvTimeoutError::Disconnected) => exit(0),
            }
        }
    }

    /// The answer to a request without braces.
    fn ask(&mut self, dest: &str, body: &str) -> String {
        self.send(dest, body);
        self.wait_for(|_, line| {
            line.contains("in_reply_to") && line.contains(&format!("\"src\":{dest:?}"))
        })
    }

    /// The same of a request that has no id yet.
    fn call(&mut self, dest: &str, body: &str) -> Value {
        self.next_id += 1;
        let answer = self.ask(dest, &format!(r#"{body},"msg_id":{}"#, self.next_id));
        let message: Value = serde_json::from_str(&answer).unwrap_or_default();
        message["body"].clone()
    }

    fn serve(&mut self, line: &str) {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        let (src, body) = (message["src"].as_str().unwrap_or_default(), &message["body"]);
        let answer = match body["type"].as_str().unwrap_or_default() {
            "init" => {
                self.id = body["node_id"].as_str().unwrap_or_default().to_owned();
                let ids = body["node_ids"].as_array().into_iter().flatten();
                self.nodes = ids.filter_map(Value::as_str).map(str::to_owned).collect();
                r#""type":"init_ok""#.to_owned()
            }
            "echo" => {
                self.answers += 1;
                if self.answers > ANSWERS && !self.is_done {
                    self.fail("has not come to an end");
                }
                format!(r#""type":"echo_ok","echo":{}"#, body["echo"])
            }
            "generate" if self.id == self.nodes[0] => {
                self.next_id += 1;
                format!(r#""type":"generate_ok","id":{}"#, self.next_id)
            }
            "generate" => {
                self.next_id += 1;
                self.waiting.insert(self.next_id, (src.to_owned(), body["msg_id"].clone()));
                let ask = format!(r#""type":"generate","msg_id":{}"#, self.next_id);
                return self.send(&self.nodes[0], &ask);
            }
            "generate_ok" => {
                let asked = self.waiting.remove(&body["in_reply_to"].as_i64().unwrap_or_default());
                let Some((client, msg_id)) = asked else { return };
                let id = &body["id"];
                let told = format!(r#""type":"generate_ok","id":{id},"in_reply_to":{msg_id}"#);
                return self.send(&client, &told);
            }
            "look" => {
                self.look(&body["key"]);
                r#""type":"look_ok""#.to_owned()
            }
            "add" => {
                self.add(body["delta"].as_i64().unwrap_or_default());
                r#""type":"add_ok""#.to_owned()
            }
            "delta" => {
                let delta = (src.to_owned(), body["msg_id"].as_i64().unwrap_or_default());
                if self.counted.as_ref().is_none_or(|counted| !counted.contains(&delta)) {
                    self.total += body["delta"].as_i64().unwrap_or_default();
                    self.counted.iter_mut().for_each(|counted| counted.push(delta.clone()));
                }
                r#""type":"delta_ok""#.to_owned()
            }
            "delta_ok" => {
                self.unheard.remove(&body["in_reply_to"].as_i64().unwrap_or_default());
                return;
            }
            "read" => format!(r#""type":"read_ok","value":{}"#, self.total),
            _ => return,
        };
        self.send(src, &format!(r#"{answer},"in_reply_to":{}"#, body["msg_id"]));
    }

    fn fail(&self, why: &str) -> ! {
        eprintln!("{} {why}", self.id);
        exit(9)
    }

    fn probe(&mut self) {
        if self.id != self.nodes[0] {
            return;
        }
        for (service, request, parts) in PROBES {
            if parts.is_empty() {
                self.send(service, request);
                continue;
            }
            let answer = self.ask(service, request);
            if let Some(part) = parts.iter().find(|part| !answer.contains(**part)) {
                self.fail(&format!("asked {request} and misses {part} in {answer}"));
            }
        }
    }

    /// The first node writes, and has the second one look.
    fn lag(&mut self) {
        if self.id != self.nodes[0] {
            let end = format!("\"key\":{ROUNDS}");
            self.wait_for(|_, line| line.contains("\"look\"") && line.contains(&end));
            if self.stale == 0 {
                self.fail("has never confirmed an old value: seq-kv does not lag");
            }
            return;
        }
        let other = self.nodes[1].clone();
        for key in 0..=ROUNDS {
            for value in 0..20 {
                self.call("seq-kv", &format!(r#""type":"write","key":{key},"value":{value}"#));
            }
            self.call(&other, &format!(r#""type":"look","key":{key}"#));
        }
    }

    /// Reads a value from seq-kv, and confirms it by a cas that changes nothing.
    fn look(&mut self, key: &Value) {
        let read = self.call("seq-kv", &format!(r#""type":"read","key":{key}"#));
        let Some(value) = read["value"].as_i64() else { return };
        let cas = format!(r#""type":"cas","key":{key},"from":{value},"to":{value}"#);
        let confirmed = self.call("seq-kv", &cas)["type"] == "cas_ok";
        self.stale += u32::from(confirmed && value < 19);
    }

    /// Writes twice and reads until both replicas must have heard of both.
    fn lose(&mut self) {
        let mut lost = 0;
        for round in 0..ROUNDS {
            let key = format!("\"{}-{round}\"", self.id);
            for value in 1..=2 {
                self.call("lww-kv", &format!(r#""type":"write","key":{key},"value":{value}"#));
            }
            let read = format!(r#""type":"read","key":{key}"#);
            let mut values: Vec<Value> =
                (0..30).map(|_| self.call("lww-kv", &read)["value"].clone()).collect();
            lost += u32::from(values.split_off(20).iter().all(|value| *value == json!(1)));
        }
        if lost == 0 {
            self.fail("has never lost a later write: lww-kv has one clock");
        }
    }

    /// Serves clients until the end, and nothing else.
    fn serve_on(&mut self) {
        self.wait_for(|_, _| false);
    }

    fn add(&mut self, delta: i64) {
        self.total += delta;
        for node in self.nodes.clone().into_iter().filter(|node| *node != self.id) {
            self.next_id += 1;
            let id = self.next_id;
            self.send(&node, &format!(r#""type":"delta","delta":{delta},"msg_id":{id}"#));
            self.unheard.insert(id, (node, delta));
        }
    }
}
