//! etcd's v3 API over its JSON gateway.
//!
//! | workload | over etcd |
//! | --- | --- |
//! | `lin-kv` | Range, Put, and a Txn that compares the value |
//! | `txn-list-append`, `txn-rw-register` | one Txn of Ranges, then one that compares the modification revisions of all keys and puts, until nothing came in between |
//! | `g-set` | a key for each element, and a Range over all of them |
//! | `g-counter`, `pn-counter` | a Range, then a Txn that compares the modification revision |
//! | `unique-ids` | a Put; its revision is the id |
//! | `watch` | Puts, and watches that end after a moment |
//! | `lock`, `lock-without-token` | a key with a lease, by a Txn that compares its create revision; see [`super::lock`] |
//! | `lease` | all of the lease service, and keys that belong to leases; see [`super::lease`] |
//!
//! Source: etcd's `rpc.proto` and its gRPC gateway.

use std::time::Instant;

use seaworthy::message::ErrorCode;
use serde_json::{Value, json};
use ureq::http::Method;

use super::contract::Speaker;
use super::http::Http;
use super::json::{bytes, encode, field, number};
use super::lock::Fencing;
use super::refused::{Refused, of_grpc};
use super::transaction::{Outcome, Seen, Transaction};
use super::watch::watch;
use super::{lease, lock};

/// The workloads; see the module.
pub(super) const WORKLOADS: [&str; 11] = [
    "lin-kv",
    "txn-list-append",
    "txn-rw-register",
    "g-set",
    "g-counter",
    "pn-counter",
    "unique-ids",
    "watch",
    "lock",
    "lock-without-token",
    "lease",
];

/// The key of the counter, and of the writes that make ids.
const COUNTER: &str = "counter";
const ID: &str = "id";
/// The keys of a set's elements, and the end of their range.
const ELEMENTS: &str = "element/";
const ELEMENTS_END: &str = "element0";

/// The keys that are watched, and the end of their range.
const WATCHED: (&str, &str) = ("watched/", "watched0");

/// A client of one server.
pub(super) struct Etcd {
    http: Http,
    workload: String,
    is_serializable: bool,
}

impl Etcd {
    pub(super) fn new(http: Http, workload: &str, is_serializable: bool) -> Etcd {
        Etcd { http, workload: workload.to_owned(), is_serializable }
    }

    /// Calls a method, such as `kv/range`.
    pub(super) fn call(
        &self,
        method: &str,
        request: &Value,
        until: Instant,
    ) -> Result<Value, Refused> {
        let headers = [("content-type", "application/json")];
        let body = request.to_string().into_bytes();
        let answer =
            self.http.send(Method::POST, &format!("/v3/{method}"), &headers, body, until)?;
        let text = String::from_utf8_lossy(&answer.body);
        let json: Value = serde_json::from_str(&text)
            .map_err(|_| Refused::odd(format!("status {}: {text}", answer.status)))?;
        if answer.status < 300 {
            return Ok(json);
        }
        let code = json.get("code").and_then(Value::as_u64).and_then(|c| u32::try_from(c).ok());
        let said = ["message", "error"].iter().find_map(|name| json.get(name)?.as_str());
        Err(match (code, said) {
            (Some(code), Some(message)) => of_grpc(code, message),
            _ => Refused::odd(format!("status {}: {text}", answer.status)),
        })
    }

    pub(super) fn range(&self, key: &str) -> Value {
        json!({"key": encode(key.as_bytes()), "serializable": self.is_serializable})
    }

    /// Reads a key.
    pub(super) fn get(&self, key: &str, until: Instant) -> Result<Seen, Refused> {
        seen(&self.call("kv/range", &self.range(key), until)?)
    }

    pub(super) fn put(&self, key: &str, value: &str, until: Instant) -> Result<Value, Refused> {
        let put = json!({"key": encode(key.as_bytes()), "value": encode(value.as_bytes())});
        self.call("kv/put", &put, until)
    }

    /// Puts if all compares hold; says whether they did.
    pub(super) fn put_if(
        &self,
        compares: Vec<Value>,
        puts: &[(String, String)],
        until: Instant,
    ) -> Result<bool, Refused> {
        let put = |(key, value): &(String, String)| {
            json!({"request_put": {
                "key": encode(key.as_bytes()), "value": encode(value.as_bytes())}})
        };
        let success: Vec<Value> = puts.iter().map(put).collect();
        let txn = self.call("kv/txn", &json!({"compare": compares, "success": success}), until)?;
        Ok(field(&txn, "succeeded").and_then(Value::as_bool).unwrap_or(false))
    }

    fn register(&self, f: &str, request: &Value, until: Instant) -> Result<Value, Refused> {
        let key = format!("register/{}", request["key"]);
        match f {
            "read" => {
                let text = self.get(&key, until)?.text;
                Ok(json!({"type": "read_ok", "value": value_of(text)?}))
            }
            "write" => {
                self.put(&key, &request["value"].to_string(), until)?;
                Ok(json!({"type": "write_ok"}))
            }
            "cas" => {
                let compare = json!({
                    "key": encode(key.as_bytes()), "target": "VALUE", "result": "EQUAL",
                    "value": encode(request["from"].to_string().as_bytes())});
                let put = (key, request["to"].to_string());
                if self.put_if(vec![compare], &[put], until)? {
                    return Ok(json!({"type": "cas_ok"}));
                }
                Err(Refused::new(ErrorCode::PRECONDITION_FAILED, "another value is there"))
            }
            f => Err(unknown(f)),
        }
    }

    fn transact(&self, request: &Value, until: Instant) -> Result<Value, Refused> {
        let transaction = Transaction::read(&request["txn"])?;
        loop {
            let keys = transaction.keys();
            let reads: Vec<Value> =
                keys.iter().map(|key| json!({"request_range": self.range(key)})).collect();
            let read = self.call("kv/txn", &json!({ "success": reads }), until);
            let read = read.map_err(Refused::before_any_change)?;
            let all = field(&read, "responses").and_then(Value::as_array);
            let all = all.filter(|all| all.len() == keys.len());
            let all = all.ok_or_else(|| Refused::odd("a Txn without its responses"))?;
            let of = |one: &Value| seen(field(one, "response_range").unwrap_or(&Value::Null));
            let found: Vec<Seen> = all.iter().map(of).collect::<Result<_, _>>()?;
            let Outcome { results, puts } = transaction.apply(&found)?;
            let done = json!({"type": "txn_ok", "txn": results});
            if puts.is_empty() {
                return Ok(done);
            }
            let compares = keys.iter().zip(&found).map(|(key, seen)| unchanged(key, seen));
            if self.put_if(compares.collect(), &puts, until)? {
                return Ok(done);
            }
            give_up(until, "others changed the keys again and again")?;
        }
    }

    fn add_to_counter(&self, delta: i64, until: Instant) -> Result<Value, Refused> {
        loop {
            let seen = self.get(COUNTER, until).map_err(Refused::before_any_change)?;
            let sum = sum_of(&seen)? + delta;
            let put = (COUNTER.to_owned(), sum.to_string());
            if self.put_if(vec![unchanged(COUNTER, &seen)], &[put], until)? {
                return Ok(json!({"type": "add_ok"}));
            }
            give_up(until, "others changed the counter again and again")?;
        }
    }

    fn elements(&self, until: Instant) -> Result<Value, Refused> {
        let mut range = self.range(ELEMENTS);
        range["range_end"] = encode(ELEMENTS_END.as_bytes()).into();
        let answer = self.call("kv/range", &range, until)?;
        let kvs = field(&answer, "kvs").and_then(Value::as_array).cloned().unwrap_or_default();
        let element = |kv: &Value| value_of(Some(text_of(kv)?));
        let elements: Vec<Value> = kvs.iter().map(element).collect::<Result<_, _>>()?;
        Ok(json!({"type": "read_ok", "value": elements}))
    }

    /// The revision that a Put made.
    pub(super) fn revision_of(answer: &Value) -> Result<i64, Refused> {
        match number(field(answer, "header").unwrap_or(&Value::Null), "revision")? {
            0 => Err(Refused::odd("a Put without a revision")),
            revision => Ok(revision),
        }
    }

    fn watched(&self, f: &str, request: &Value, until: Instant) -> Result<Value, Refused> {
        match f {
            "write" => {
                let key = format!("{}{}", WATCHED.0, request["key"]);
                let answer = self.put(&key, &request["value"].to_string(), until)?;
                Ok(json!({"type": "write_ok", "revision": Self::revision_of(&answer)?}))
            }
            "watch" => {
                let from = request["from"].as_i64().unwrap_or(1);
                let events = watch(&self.http, WATCHED, from, until)?;
                Ok(json!({"type": "watch_ok", "events": events}))
            }
            f => Err(unknown(f)),
        }
    }

    fn make_id(&self, until: Instant) -> Result<Value, Refused> {
        let answer = self.put(ID, "", until)?;
        Ok(json!({"type": "generate_ok", "id": Self::revision_of(&answer)?}))
    }
}

impl Speaker for Etcd {
    fn ask(&mut self, request: &Value, until: Instant) -> Result<Value, Refused> {
        let f = request["type"].as_str().unwrap_or_default();
        match (self.workload.as_str(), f) {
            ("lin-kv", f) => self.register(f, request, until),
            ("txn-list-append" | "txn-rw-register", "txn") => self.transact(request, until),
            ("g-set", "add") => {
                let element = &request["element"];
                self.put(&format!("{ELEMENTS}{element}"), &element.to_string(), until)?;
                Ok(json!({"type": "add_ok"}))
            }
            ("g-set", "read") => self.elements(until),
            ("g-counter" | "pn-counter", "add") => {
                let delta = request["delta"].as_i64().unwrap_or_default();
                self.add_to_counter(delta, until)
            }
            ("g-counter" | "pn-counter", "read") => {
                let sum = sum_of(&self.get(COUNTER, until)?)?;
                Ok(json!({"type": "read_ok", "value": sum}))
            }
            ("unique-ids", "generate") => self.make_id(until),
            ("watch", f) => self.watched(f, request, until),
            ("lock" | "lock-without-token", "read") => lock::read(self, request, until),
            ("lock", "add") => lock::add(self, Fencing::Token, request, until),
            ("lock-without-token", "add") => lock::add(self, Fencing::Nothing, request, until),
            ("lease", f) => lease::ask(self, f, request, until),
            (_, f) => Err(unknown(f)),
        }
    }
}

fn unknown(f: &str) -> Refused {
    Refused::new(ErrorCode::NOT_SUPPORTED, format!("no request {f:?} over etcd's API"))
}

/// Goes on with another attempt, unless the request's time is up: the last attempt changed
/// nothing, so the refusal is definite.
// The end of a request is on the real clock.
#[allow(clippy::disallowed_methods)]
fn give_up(until: Instant, why: &str) -> Result<(), Refused> {
    if Instant::now() < until { Ok(()) } else { Err(Refused::new(ErrorCode::TXN_CONFLICT, why)) }
}

/// A compare that holds as long as the key is as it was seen; a key that is not there has the
/// modification revision 0.
fn unchanged(key: &str, seen: &Seen) -> Value {
    json!({
        "key": encode(key.as_bytes()), "target": "MOD", "result": "EQUAL",
        "mod_revision": seen.revision.to_string()})
}

/// The one key of a range's answer.
fn seen(answer: &Value) -> Result<Seen, Refused> {
    let kvs = field(answer, "kvs").and_then(Value::as_array);
    let Some(kv) = kvs.and_then(|kvs| kvs.first()) else { return Ok(Seen::default()) };
    Ok(Seen { revision: number(kv, "mod_revision")?, text: Some(text_of(kv)?) })
}

fn text_of(kv: &Value) -> Result<String, Refused> {
    String::from_utf8(bytes(kv, "value")?).map_err(|_| Refused::odd("a value is no text"))
}

/// The JSON that a key holds; null without one.
pub(super) fn value_of(text: Option<String>) -> Result<Value, Refused> {
    let Some(text) = text else { return Ok(Value::Null) };
    serde_json::from_str(&text).map_err(|_| Refused::odd(format!("no client wrote {text:?}")))
}

fn sum_of(seen: &Seen) -> Result<i64, Refused> {
    let Some(text) = &seen.text else { return Ok(0) };
    text.parse().map_err(|_| Refused::odd(format!("no client wrote {text:?}")))
}
