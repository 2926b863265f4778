//! lin-kv on registers, the bug being an old value.

use std::collections::BTreeMap;

use seaworthy::message::{ErrorCode, RpcError};
use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::Verdict;
use seaworthy_bench::edn::Edn;
use seaworthy_bench::run::Run;
use serde_json::{Value, json};

use super::{assert_valid, config, fields, refusal, run};

/// Registers; every `stale_every`-th read shows the value before the last.
#[derive(Default)]
struct Registers {
    values: BTreeMap<String, Vec<Value>>,
    reads: usize,
    stale_every: Option<usize>,
}

impl Workload for Registers {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Event::Message(message) = event else { return };
        match self.answer(&message.body.kind, &fields(&message)) {
            Ok(reply) => cx.reply(&message.request(), &reply),
            Err(error) => cx.error(&message.request(), &error),
        }
    }
}

impl Registers {
    fn answer(&mut self, kind: &str, body: &BTreeMap<String, Value>) -> Result<Value, RpcError> {
        let values = self.values.entry(body["key"].to_string()).or_default();
        let missing = || refusal(ErrorCode::KEY_DOES_NOT_EXIST);
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
                    return Err(refusal(ErrorCode::PRECONDITION_FAILED));
                }
                values.push(body["to"].clone());
                Ok(json!({"type": "cas_ok"}))
            }
        }
    }
}

#[test]
fn a_stale_read_of_a_register_is_found_and_told() {
    let flags = "-w lin-kv --concurrency 4n --rate 50 --time-limit 15";
    assert_valid("a sound register", &run(flags, Registers::default));
    let stale = || Registers { stale_every: Some(10), ..Registers::default() };
    let outcome = run(flags, stale);
    assert_eq!(outcome.verdict, Verdict::Invalid);
    let failures = outcome.get("workload").and_then(|workload| workload.get("failures"));
    assert!(failures.and_then(Edn::as_seq).is_some_and(|keys| !keys.is_empty()));
    assert!(outcome.story.is_some_and(|story| story.contains("read")));
}

#[test]
fn lin_kv_needs_groups_of_workers() {
    let config = config("-w lin-kv --node-count 2 -c 3n");
    let result = Run::of(builtin("lin-kv").unwrap(), &config).simulate();
    assert!(result.err().unwrap().contains("multiple of 4"));
}
