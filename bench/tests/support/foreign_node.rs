//! Foreign nodes, right and wrong, for the suite `foreign`: one program, one mode each.
//!
//! It shares no code with this project: standard input and output, and serde_json. The
//! first argument is the mode; one that is not known is right in every workload that
//! it serves (echo, unique-ids, broadcast, g-set, lin-kv, kafka, txn-list-append).

// Its log is its stderr, as any foreign node's.
#![allow(clippy::print_stderr, clippy::print_stdout, clippy::disallowed_methods)]

mod foreign_talk;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

/// A node's memory.
#[derive(Default)]
struct Node {
    mode: String,
    id: String,
    nodes: Vec<String>,
    init_client: String,
    answers: u32,
    elements: Vec<Value>,
    map: BTreeMap<String, Value>,
    logs: BTreeMap<String, Vec<Value>>,
}

fn main() -> io::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    eprintln!("foreign node, mode {mode}");
    if mode == "exit-at-once" {
        exit(3);
    }
    foreign_talk::run(&mode);
    let mut node = Node { mode, ..Node::default() };
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        if node.mode == "need-id" && !message["id"].is_u64() {
            eprintln!("a message without id: {message}");
            exit(9);
        }
        // An error is an answer. Answered, one to this node itself would go round for ever, which is a
        // flood when it is fast enough.
        if message["body"]["type"] == "error" {
            continue;
        }
        let body = match node.handle(&message) {
            Ok(body) => body,
            Err(forwarded) => {
                out.write_all(&line_of(&forwarded))?;
                out.flush()?;
                continue;
            }
        };
        let is_init = body["type"] == "init_ok";
        node.answers += u32::from(!is_init);
        let answer = json!({"src": node.id, "dest": message["src"], "body": body});
        let odd = if is_init { node.odd_init(&answer) } else { node.odd_answer(&message, &answer) };
        for bytes in odd.unwrap_or_else(|| vec![line_of(&answer)]) {
            out.write_all(&bytes)?;
        }
        if node.mode != "never-flushes" {
            out.flush()?;
        }
        if node.mode == "exits-later" && node.answers == 3 {
            eprintln!("out of paper");
            exit(3);
        }
    }
    if node.mode == "never-flushes" {
        // Buffered output is lost, as when the bench kills the node.
        exit(0);
    }
    Ok(())
}

fn line_of(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

impl Node {
    /// The body of the answer.
    ///
    /// # Errors
    /// The message that asks another node to answer.
    fn handle(&mut self, message: &Value) -> Result<Value, Value> {
        let body = &message["body"];
        let is_null = self.mode == "null-lists";
        let list =
            |items: &[Value]| if is_null && items.is_empty() { Value::Null } else { json!(items) };
        let mut answer = match body["type"].as_str().unwrap_or_default() {
            "init" => {
                self.id = body["node_id"].as_str().unwrap_or_default().to_owned();
                let ids = body["node_ids"].as_array().into_iter().flatten();
                self.nodes = ids.filter_map(Value::as_str).map(str::to_owned).collect();
                self.init_client = message["src"].as_str().unwrap_or_default().to_owned();
                json!({"type": "init_ok"})
            }
            _ if self.mode == "forwards" && self.id != self.nodes[0] => {
                let (src, dest) = (&message["src"], &self.nodes[0]);
                return Err(json!({"src": src, "dest": dest, "body": body}));
            }
            "topology" => json!({"type": "topology_ok"}),
            "echo" => json!({"type": "echo_ok", "echo": body["echo"]}),
            "generate" => {
                json!({"type": "generate_ok", "id": format!("{}-{}", self.id, self.answers)})
            }
            "broadcast" => {
                self.elements.push(body["message"].clone());
                json!({"type": "broadcast_ok"})
            }
            "add" => {
                self.elements.push(body["element"].clone());
                json!({"type": "add_ok"})
            }
            "read" if !body["key"].is_null() => match self.map.get(&body["key"].to_string()) {
                Some(value) => json!({"type": "read_ok", "value": value}),
                None => json!({"type": "error", "code": 20, "text": "no such key"}),
            },
            "read" => {
                let field = std::env::args().nth(2).unwrap_or_else(|| "value".to_owned());
                json!({"type": "read_ok", field: list(&self.elements)})
            }
            "write" => {
                self.map.insert(body["key"].to_string(), body["value"].clone());
                json!({"type": "write_ok"})
            }
            "cas" => match self.map.get_mut(&body["key"].to_string()) {
                None => json!({"type": "error", "code": 20, "text": "no such key"}),
                Some(value) if *value != body["from"] => {
                    json!({"type": "error", "code": 22, "text": "it differs"})
                }
                Some(value) => {
                    *value = body["to"].clone();
                    json!({"type": "cas_ok"})
                }
            },
            "txn" => json!({"type": "txn_ok", "txn": self.txn(&body["txn"])}),
            _ => self.kafka(body),
        };
        answer["in_reply_to"] = body["msg_id"].clone();
        Ok(answer)
    }

    fn kafka(&mut self, body: &Value) -> Value {
        let is_null = self.mode == "null-lists";
        match body["type"].as_str().unwrap_or_default() {
            "send" => {
                let log =
                    self.logs.entry(body["key"].as_str().unwrap_or_default().into()).or_default();
                log.push(body["msg"].clone());
                json!({"type": "send_ok", "offset": log.len() - 1})
            }
            "poll" => {
                let mut msgs = serde_json::Map::new();
                for (key, from) in body["offsets"].as_object().into_iter().flatten() {
                    let log = self.logs.entry(key.clone()).or_default().iter().enumerate();
                    let from = from.as_u64().unwrap_or_default() as usize;
                    let pairs: Vec<Value> =
                        log.skip(from).map(|(n, msg)| json!([n, msg])).collect();
                    let none = is_null && pairs.is_empty();
                    msgs.insert(key.clone(), if none { Value::Null } else { json!(pairs) });
                }
                json!({"type": "poll_ok", "msgs": msgs})
            }
            "commit_offsets" => {
                for (key, offset) in body["offsets"].as_object().into_iter().flatten() {
                    self.map.insert(key.clone(), offset.clone());
                }
                json!({"type": "commit_offsets_ok"})
            }
            "list_committed_offsets" => {
                let keys = body["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let known =
                    keys.filter_map(|key| Some((key.to_owned(), self.map.get(key)?.clone())));
                json!({"type": "list_committed_offsets_ok", "offsets": known.collect::<serde_json::Map<_, _>>()})
            }
            _ => json!({"type": "error", "code": 10, "text": "unknown"}),
        }
    }

    fn txn(&mut self, txn: &Value) -> Value {
        let mut done = Vec::new();
        for op in txn.as_array().into_iter().flatten() {
            let (f, key) = (op[0].as_str().unwrap_or_default(), &op[1]);
            let list = self.map.entry(key.to_string()).or_insert(Value::Null);
            if f == "append" {
                if list.is_null() {
                    *list = json!([]);
                }
                list.as_array_mut().into_iter().for_each(|list| list.push(op[2].clone()));
                done.push(op.clone());
                continue;
            }
            let empty = self.mode == "txn-empty-list" && list.is_null();
            let value = if empty { json!([]) } else { list.clone() };
            done.push(match self.mode.as_str() {
                "txn-wrong-name" => json!(["append", key, value]),
                "txn-text-key" => json!([f, key.to_string(), value]),
                _ => json!([f, key, value]),
            });
        }
        match self.mode.as_str() {
            "txn-first-only" => done.truncate(1),
            "txn-reads-only" => done.retain(|op| op[0] == "r"),
            "txn-reversed" => done.reverse(),
            _ => {}
        }
        Value::Array(done)
    }

    /// Returns its output for `init_ok`, if the mode has something else in mind.
    fn odd_init(&self, answer: &Value) -> Option<Vec<Vec<u8>>> {
        let mut odd = answer.clone();
        match self.mode.as_str() {
            "no-newline" => return Some(vec![answer.to_string().into_bytes()]),
            "two-init-oks" => return Some(vec![line_of(answer), line_of(answer)]),
            "quoted-dest" => odd["dest"] = json!(answer["dest"].to_string()),
            "init-without-reply-to" => drop(odd["body"].as_object_mut()?.remove("in_reply_to")),
            "init-text-reply-to" => odd["body"]["in_reply_to"] = json!("1"),
            "init-extra-field" => odd["ts"] = json!(5),
            "init-id-null" => odd["id"] = Value::Null,
            "init-odd-msg-id" => odd["body"]["msg_id"] = Value::Null,
            _ => return None,
        }
        Some(vec![line_of(&odd)])
    }

    /// Returns its output for its third answer, if the mode has something else in mind.
    fn odd_answer(&self, message: &Value, answer: &Value) -> Option<Vec<Vec<u8>>> {
        if let Some(code) = self.mode.strip_prefix("error-") {
            let mut odd =
                json!({"type": "error", "text": "own", "in_reply_to": message["body"]["msg_id"]});
            match code {
                "without-code" => {}
                "text-code" => odd["code"] = json!("11"),
                _ => odd["code"] = json!(code.parse::<i64>().unwrap_or_default()),
            }
            let odd = json!({"src": self.id, "dest": message["src"], "body": odd});
            return (self.answers == 3).then(|| vec![line_of(&odd)]);
        }
        if self.mode == "mostly-malformed" && !self.answers.is_multiple_of(6) {
            let mut odd = answer.clone();
            odd["body"]["more"] = json!(1);
            return Some(vec![line_of(&odd)]);
        }
        if self.answers == 3 { self.third(message, answer) } else { None }
    }

    fn third(&self, message: &Value, answer: &Value) -> Option<Vec<Vec<u8>>> {
        let text = answer.to_string();
        let to = |dest: &str, body: &str| {
            format!("{{\"src\":{:?},\"dest\":{dest:?}{body}}}\n", self.id).into_bytes()
        };
        let first = |line: Vec<u8>| Some(vec![line, line_of(answer)]);
        let client = message["src"].as_str().unwrap_or_default();
        let mut odd = answer.clone();
        match self.mode.as_str() {
            "text-after" => return Some(vec![format!("{text} # done\n").into_bytes()]),
            "two-on-a-line" => return Some(vec![format!("{text}{text}\n").into_bytes()]),
            "cr" => return Some(vec![format!("{text}\r").into_bytes()]),
            "crlf" => return Some(vec![format!("{text}\r\n").into_bytes()]),
            "invalid-utf8" => {
                let mut line = to(&self.id, ",\"body\":{\"type\":\"x\",\"v\":\"??\"}");
                line.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
                return first(line);
            }
            "body-null" => return first(to(client, ",\"body\":null")),
            "body-missing" => return first(to(client, "")),
            "body-list" => return first(to(client, ",\"body\":[]")),
            "body-text" => return first(to(client, ",\"body\":\"hi\"")),
            "blank-line" => return first(b"\n".to_vec()),
            "to-a-client-that-never-was" => {
                return first(to("c9999", ",\"body\":{\"type\":\"x\"}"));
            }
            "to-the-init-client" => {
                return first(to(&self.init_client, ",\"body\":{\"type\":\"x\"}"));
            }
            "to-itself" => return first(to(&self.id, ",\"body\":{\"type\":\"x\"}")),
            "from-another-node" => odd["src"] = json!(self.nodes[0]),
            "from-nobody" => odd["src"] = json!("n99"),
            "id-5" => odd["id"] = json!(5),
            "id-null" => odd["id"] = Value::Null,
            "id-text" => odd["id"] = json!("5"),
            "extra-field" => odd["ts"] = json!(5),
            "msg-id-negative" => odd["body"]["msg_id"] = json!(-5),
            "msg-id-null" => odd["body"]["msg_id"] = Value::Null,
            "msg-id-text" => odd["body"]["msg_id"] = json!("x"),
            "msg-id-float" => odd["body"]["msg_id"] = json!(1.0),
            "msg-id-big" => {
                let big =
                    text.replacen("\"body\":{", "\"body\":{\"msg_id\":36893488147419103232,", 1);
                return Some(vec![format!("{big}\n").into_bytes()]);
            }
            "reply-to-text" => {
                odd["body"]["in_reply_to"] = json!(message["body"]["msg_id"].to_string())
            }
            "without-reply-to" => drop(odd["body"].as_object_mut()?.remove("in_reply_to")),
            "late" => sleep(Duration::from_millis(6500)),
            _ => return None,
        }
        Some(vec![line_of(&odd)])
    }
}
