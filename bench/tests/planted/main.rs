//! Nodes that are right, and the same nodes with one bug each: the generators must reach
//! the bug, and the checkers must call it by its name.
//!
//! Each service is one node that keeps everything in memory, so that a bug is a few lines of a
//! whole that fits on a screen. The bugs are those of real systems: a cache is read, a commit is
//! not validated, a log is read before it is decided.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

mod broker;
mod database;
mod register;

use std::collections::BTreeMap;

use seaworthy::message::{ErrorCode, Message, RpcError};
use seaworthy::node::Workload;
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::{Outcome, Verdict};
use seaworthy_bench::config::{RunArgs, RunConfig};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::judge::judge;
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::Seed;
use serde_json::Value;

fn config(flags: &str) -> RunConfig {
    let run = RunArgs::from_flags(flags.split_whitespace()).unwrap();
    RunConfig::new(run, Seed(1)).unwrap()
}

/// Returns the verdict of `seaworthy test` with these flags on a single node of this kind.
fn run<W: Workload + Send + 'static>(flags: &str, node: impl Fn() -> W + 'static) -> Outcome {
    let config = config(&format!("{flags} --node-count 1"));
    let factory = Box::new(move || Box::new(node()) as Box<dyn Workload + Send>);
    let challenge = builtin(&config.args.workload).unwrap();
    judge(&Run::of(challenge, &config).nodes(factory).simulate().unwrap())
}

fn assert_valid(what: &str, outcome: &Outcome) {
    assert_eq!(outcome.verdict, Verdict::Valid, "{what}: {}", outcome.to_edn());
}

/// Asserts that this anomaly is among those that the workload's checker names under `key`.
fn assert_named(what: &str, outcome: &Outcome, key: &str, anomaly: &str) {
    let types = outcome.get("workload").and_then(|workload| workload.get(key));
    let named = types.and_then(Edn::as_seq).is_some_and(|t| t.contains(&Edn::keyword(anomaly)));
    let types = types.map(ToString::to_string).unwrap_or_default();
    assert_eq!(outcome.verdict, Verdict::Invalid, "{what} is not found");
    assert!(named, "{what} should be called {anomaly}, not {types}");
}

/// The fields of a request, by name.
fn fields(message: &Message) -> BTreeMap<String, Value> {
    let body = &message.body;
    let value = |name| serde_json::from_str(body.field(name).unwrap().get()).unwrap();
    body.field_names().map(|name| (name.to_owned(), value(name))).collect()
}

fn refusal(code: ErrorCode) -> RpcError {
    RpcError::new(code, "refused")
}
