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

use std::slice;
use std::time::Instant;

use async_trait::async_trait;
use seaworthy::message::ErrorCode;
use serde_json::{Value, json};

use super::contract::Speaker;
use super::etcd::{Etcd, text_of, value_of};
use super::json::field;
use super::lock::Fencing;
use super::refused::Refused;
use super::transaction::{Outcome, Seen, Transaction};
use super::typed::{Bytes, Compare, FoundAll, FoundOne, Range, Request, State, Txn};
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

/// A client of one server that carries out the requests of a workload.
pub(super) struct Workload {
    etcd: Etcd,
    name: String,
}

impl Workload {
    pub(super) fn new(etcd: Etcd, name: &str) -> Workload {
        Workload { etcd, name: name.to_owned() }
    }

    async fn register(&self, f: &str, request: &Value, until: Instant) -> Result<Value, Refused> {
        let key = format!("register/{}", request["key"]);
        match f {
            "read" => {
                let text = self.etcd.get(&key, until).await?.text;
                Ok(json!({"type": "read_ok", "value": value_of(text)?}))
            }
            "write" => {
                self.etcd.put(&key, &request["value"].to_string(), until).await?;
                Ok(json!({"type": "write_ok"}))
            }
            "cas" => {
                let (from, put) = (request["from"].to_string(), (key, request["to"].to_string()));
                let compare = Compare { key: &put.0, with: State::Value(&from) };
                if self.etcd.put_if(&[compare], slice::from_ref(&put), until).await? {
                    return Ok(json!({"type": "cas_ok"}));
                }
                Err(Refused::new(ErrorCode::PRECONDITION_FAILED, "another value is there"))
            }
            f => Err(unknown(f)),
        }
    }

    async fn transact(&self, request: &Value, until: Instant) -> Result<Value, Refused> {
        let transaction = Transaction::read(&request["txn"])?;
        loop {
            let keys = transaction.keys();
            let reads = keys.iter().map(|key| Request::RequestRange(self.etcd.range(key)));
            let read = Txn { compare: &[], success: reads.collect() };
            let read = self.etcd.exchange::<FoundAll>("kv/txn", &read, until).await;
            let all = read.map_err(Refused::before_any_change)?.responses;
            let all = all.unwrap_or_default();
            if all.len() != keys.len() {
                return Err(Refused::odd("a Txn without its responses"));
            }
            let found: Vec<Seen> = all.iter().map(FoundOne::seen).collect::<Result<_, _>>()?;
            let Outcome { results, puts } = transaction.apply(&found)?;
            let done = json!({"type": "txn_ok", "txn": results});
            if puts.is_empty() {
                return Ok(done);
            }
            let compares = keys.iter().zip(&found).map(|(key, seen)| unchanged(key, seen));
            let compares: Vec<Compare<'_>> = compares.collect();
            if self.etcd.put_if(&compares, &puts, until).await? {
                return Ok(done);
            }
            give_up(until, "others changed the keys again and again")?;
        }
    }

    async fn add_to_counter(&self, delta: i64, until: Instant) -> Result<Value, Refused> {
        loop {
            let seen = self.etcd.get(COUNTER, until).await.map_err(Refused::before_any_change)?;
            let sum = sum_of(&seen)? + delta;
            let put = (COUNTER.to_owned(), sum.to_string());
            if self.etcd.put_if(&[unchanged(COUNTER, &seen)], &[put], until).await? {
                return Ok(json!({"type": "add_ok"}));
            }
            give_up(until, "others changed the counter again and again")?;
        }
    }

    async fn elements(&self, until: Instant) -> Result<Value, Refused> {
        let range_end = Some(Bytes(ELEMENTS_END.as_bytes()));
        let range = Range { range_end, ..self.etcd.range(ELEMENTS) };
        let answer = self.etcd.call("kv/range", &range, until).await?;
        let kvs = field(&answer, "kvs").and_then(Value::as_array).cloned().unwrap_or_default();
        let element = |kv: &Value| value_of(Some(text_of(kv)?));
        let elements: Vec<Value> = kvs.iter().map(element).collect::<Result<_, _>>()?;
        Ok(json!({"type": "read_ok", "value": elements}))
    }

    async fn watched(&self, f: &str, request: &Value, until: Instant) -> Result<Value, Refused> {
        match f {
            "write" => {
                let key = format!("{}{}", WATCHED.0, request["key"]);
                let value = request["value"].to_string();
                let answer = self.etcd.put(&key, &value, until).await?;
                Ok(json!({"type": "write_ok", "revision": answer.revision()?}))
            }
            "watch" => {
                let from = request["from"].as_i64().unwrap_or(1);
                let events = watch(&self.etcd.http, WATCHED, from, until).await?;
                Ok(json!({"type": "watch_ok", "events": events}))
            }
            f => Err(unknown(f)),
        }
    }

    async fn make_id(&self, until: Instant) -> Result<Value, Refused> {
        let answer = self.etcd.put(ID, "", until).await?;
        Ok(json!({"type": "generate_ok", "id": answer.revision()?}))
    }
}

#[async_trait(?Send)]
impl Speaker for Workload {
    async fn ask(&mut self, request: &Value, until: Instant) -> Result<Value, Refused> {
        let f = request["type"].as_str().unwrap_or_default();
        match (self.name.as_str(), f) {
            ("lin-kv", f) => self.register(f, request, until).await,
            ("txn-list-append" | "txn-rw-register", "txn") => self.transact(request, until).await,
            ("g-set", "add") => {
                let element = &request["element"];
                let key = format!("{ELEMENTS}{element}");
                self.etcd.put(&key, &element.to_string(), until).await?;
                Ok(json!({"type": "add_ok"}))
            }
            ("g-set", "read") => self.elements(until).await,
            ("g-counter" | "pn-counter", "add") => {
                let delta = request["delta"].as_i64().unwrap_or_default();
                self.add_to_counter(delta, until).await
            }
            ("g-counter" | "pn-counter", "read") => {
                let sum = sum_of(&self.etcd.get(COUNTER, until).await?)?;
                Ok(json!({"type": "read_ok", "value": sum}))
            }
            ("unique-ids", "generate") => self.make_id(until).await,
            ("watch", f) => self.watched(f, request, until).await,
            ("lock" | "lock-without-token", "read") => lock::read(&self.etcd, request, until).await,
            ("lock", "add") => lock::add(&self.etcd, Fencing::Token, request, until).await,
            ("lock-without-token", "add") => {
                lock::add(&self.etcd, Fencing::Nothing, request, until).await
            }
            ("lease", f) => lease::ask(&self.etcd, f, request, until).await,
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
fn unchanged<'a>(key: &'a str, seen: &Seen) -> Compare<'a> {
    Compare { key, with: State::Mod(seen.revision) }
}

fn sum_of(seen: &Seen) -> Result<i64, Refused> {
    let Some(text) = &seen.text else { return Ok(0) };
    text.parse().map_err(|_| Refused::odd(format!("no client wrote {text:?}")))
}
