//! Every workload against nodes that are right, and against the same nodes with one
//! bug each: the generators must reach the bug, the checkers must see it.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use clap::Parser;
use seaworthy::message::{ErrorCode, Message, RpcError};
use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::check::Verdict;
use seaworthy_bench::config::{RunArgs, RunConfig};
use seaworthy_bench::judge::{judge, reason};
use seaworthy_bench::run::simulate_nodes;
use seaworthy_bench::world::journal::Journal;
use seaworthy_bench::world::seed::Seed;
use serde_json::{Value, json};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    run: RunArgs,
}

/// What one request leads to.
type Answer = Result<Value, RpcError>;

/// All state of a service in one place: there is one node.
trait Service: Send + 'static {
    fn answer(&mut self, kind: &str, body: &BTreeMap<String, Value>) -> Answer;
}

struct Only<S>(S);

impl<S: Service> Workload for Only<S> {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Event::Message(message) = event else { return };
        let fields = fields(&message);
        match self.0.answer(&message.body.kind, &fields) {
            Ok(reply) => cx.reply(&message.request(), &reply),
            Err(error) => cx.error(&message.request(), &error),
        }
    }
}

fn fields(message: &Message) -> BTreeMap<String, Value> {
    let body = &message.body;
    let value = |name| serde_json::from_str(body.field(name).unwrap().get()).unwrap();
    body.field_names().map(|name| (name.to_owned(), value(name))).collect()
}

fn run<S: Service>(flags: &str, make: fn() -> S) -> (Verdict, String) {
    let common = format!("{flags} --node-count 1 --time-limit 15");
    let flags = Flags::parse_from(std::iter::once("test").chain(common.split_whitespace()));
    let config = RunConfig::new(flags.run, Seed(1)).unwrap();
    let factory = Box::new(move || Box::new(Only(make())) as Box<dyn Workload + Send>);
    let (report, _) = simulate_nodes(&config, factory, None, Journal::off(), &mut |_| {}).unwrap();
    let outcome = judge(&config, &report);
    (outcome.verdict, reason(&outcome, &report))
}

fn expect(flags: &str, verdict: Verdict, (got, why): (Verdict, String)) {
    assert_eq!(got, verdict, "{flags}: {why}");
}

fn error(code: ErrorCode) -> RpcError {
    RpcError::new(code, "refused")
}

/// Registers; every `stale_every`-th read shows the value before the last.
#[derive(Default)]
struct Registers {
    values: BTreeMap<String, Vec<Value>>,
    reads: usize,
    stale_every: Option<usize>,
}

impl Service for Registers {
    fn answer(&mut self, kind: &str, body: &BTreeMap<String, Value>) -> Answer {
        let values = self.values.entry(body["key"].to_string()).or_default();
        let missing = || error(ErrorCode::KEY_DOES_NOT_EXIST);
        match kind {
            "read" => {
                self.reads += 1;
                let stale = self.stale_every.is_some_and(|n| self.reads.is_multiple_of(n));
                let back = usize::from(stale && values.len() > 1);
                let value = values.iter().rev().nth(back).ok_or_else(missing)?;
                Ok(json!({"type": "read_ok", "value": value}))
            }
            "write" => {
                values.push(body["value"].clone());
                Ok(json!({"type": "write_ok"}))
            }
            _ => {
                let current = values.last().ok_or_else(missing)?;
                if *current != body["from"] {
                    return Err(error(ErrorCode::PRECONDITION_FAILED));
                }
                values.push(body["to"].clone());
                Ok(json!({"type": "cas_ok"}))
            }
        }
    }
}

#[test]
fn lin_kv_finds_stale_reads() {
    let flags = "-w lin-kv --concurrency 4n --rate 50";
    expect(flags, Verdict::Valid, run(flags, Registers::default));
    let stale = || Registers { stale_every: Some(10), ..Registers::default() };
    expect(flags, Verdict::Invalid, run(flags, stale));
}

#[test]
fn lin_kv_needs_groups_of_workers() {
    let flags = Flags::parse_from(["test", "-w", "lin-kv", "--node-count", "2", "-c", "3n"]);
    let config = RunConfig::new(flags.run, Seed(1)).unwrap();
    let factory = Box::new(|| Box::new(Only(Registers::default())) as Box<dyn Workload + Send>);
    let result = simulate_nodes(&config, factory, None, Journal::off(), &mut |_| {});
    assert!(result.err().unwrap().contains("multiple of 4"));
}

/// Lists and registers; every `lose_every`-th write is acknowledged and forgotten.
#[derive(Default)]
struct Transactions {
    state: BTreeMap<String, Value>,
    writes: usize,
    lose_every: Option<usize>,
}

impl Service for Transactions {
    fn answer(&mut self, _kind: &str, body: &BTreeMap<String, Value>) -> Answer {
        let mut done = Vec::new();
        for mop in body["txn"].as_array().unwrap() {
            let (f, key) = (&mop[0], mop[1].to_string());
            let mut result = mop[2].clone();
            if f == "r" {
                result = self.state.get(&key).cloned().unwrap_or_default();
            } else {
                self.writes += 1;
                if self.lose_every.is_some_and(|n| self.writes.is_multiple_of(n)) {
                    // Forgotten.
                } else if f == "w" {
                    self.state.insert(key, result.clone());
                } else {
                    let list = self.state.entry(key).or_insert_with(|| json!([]));
                    list.as_array_mut().unwrap().push(result.clone());
                }
            }
            done.push(json!([f, mop[1], result]));
        }
        Ok(json!({"type": "txn_ok", "txn": done}))
    }
}

#[test]
fn transactions_that_lose_writes_are_found() {
    for workload in ["txn-list-append", "txn-rw-register"] {
        let flags = format!("-w {workload} --concurrency 4n --rate 50 --max-txn-length 5");
        expect(&flags, Verdict::Valid, run(&flags, Transactions::default));
        let loses = || Transactions { lose_every: Some(20), ..Transactions::default() };
        expect(&flags, Verdict::Invalid, run(&flags, loses));
    }
}

/// Logs; every `lose_every`-th send is acknowledged and forgotten.
#[derive(Default)]
struct Logs {
    logs: BTreeMap<String, Vec<Value>>,
    committed: BTreeMap<String, i64>,
    sends: usize,
    lose_every: Option<usize>,
}

impl Service for Logs {
    fn answer(&mut self, kind: &str, body: &BTreeMap<String, Value>) -> Answer {
        match kind {
            "send" => {
                let log = self.logs.entry(body["key"].as_str().unwrap().to_owned()).or_default();
                self.sends += 1;
                let loses = self.lose_every.is_some_and(|n| self.sends.is_multiple_of(n));
                let offset = log.len();
                if !loses {
                    log.push(body["msg"].clone());
                }
                Ok(json!({"type": "send_ok", "offset": offset}))
            }
            "poll" => {
                let mut msgs = BTreeMap::new();
                for (key, from) in body["offsets"].as_object().unwrap() {
                    let log = self.logs.get(key).map(Vec::as_slice).unwrap_or_default();
                    let from = usize::try_from(from.as_i64().unwrap()).unwrap();
                    let tail: Vec<_> = log.iter().enumerate().skip(from).take(5).collect();
                    msgs.insert(key, tail);
                }
                Ok(json!({"type": "poll_ok", "msgs": msgs}))
            }
            "commit_offsets" => {
                for (key, offset) in body["offsets"].as_object().unwrap() {
                    let committed = self.committed.entry(key.clone()).or_default();
                    *committed = (*committed).max(offset.as_i64().unwrap());
                }
                Ok(json!({"type": "commit_offsets_ok"}))
            }
            _ => {
                let asked = body["keys"].as_array().unwrap();
                let of = |key: &&Value| self.committed.get_key_value(key.as_str().unwrap());
                let offsets: BTreeMap<_, _> = asked.iter().filter_map(|key| of(&key)).collect();
                Ok(json!({"type": "list_committed_offsets_ok", "offsets": offsets}))
            }
        }
    }
}

#[test]
fn kafka_finds_lost_sends() {
    let flags = "-w kafka --concurrency 4n --rate 200";
    expect(flags, Verdict::Valid, run(flags, Logs::default));
    let loses = || Logs { lose_every: Some(20), ..Logs::default() };
    expect(flags, Verdict::Invalid, run(flags, loses));
}
