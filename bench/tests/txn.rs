//! Transactions at read committed: our nodes under faults keep the promises of the level, and show
//! the anomalies that it permits; nodes that apply half a transaction are found.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use seaworthy::message::{Body, Message};
use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::{Outcome, Verdict};
use seaworthy_bench::config::{RunArgs, RunConfig};
use seaworthy_bench::judge::judge;
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::Seed;
use seaworthy_workloads::{build, parse_args};
use serde_json::Value;

/// The options of the nodes.
const LEVEL: &str = "-- txn --isolation read-committed";

fn config(flags: &str, seed: u64) -> RunConfig {
    let flags = format!("{flags} {LEVEL}");
    RunConfig::new(RunArgs::from_flags(flags.split_whitespace()).unwrap(), Seed(seed)).unwrap()
}

fn run(flags: &str, seed: u64) -> Outcome {
    let config = config(flags, seed);
    let challenge = builtin(&config.args.workload).unwrap();
    judge(&Run::of(challenge, &config).simulate().unwrap())
}

/// The names of the anomalies, as text.
fn anomalies(outcome: &Outcome) -> String {
    let types = outcome.get("workload").and_then(|workload| workload.get("anomaly-types"));
    types.map(ToString::to_string).unwrap_or_default()
}

/// The models that read-committed nodes must satisfy: G0 and G1, and no fractured reads, in
/// whichever order a transaction reads.
const PROMISED: &str = "--consistency-models read-committed,monotonic-atomic-view,read-atomic";

#[test]
fn every_transaction_succeeds_and_is_seen_whole_whatever_is_cut_off() {
    for seed in 0..12 {
        let nodes = 2 + seed % 4;
        let flags = format!(
            "-w txn-rw-register --node-count {nodes} --concurrency 2n --rate 200 --time-limit 8 \
             --latency 5 --latency-dist exponential --nemesis partition,one-way \
             --nemesis-interval 0.7 --duplicate 0.2 --reorder 0.2 --clock-skew 0.1 --fsync 2 \
             --availability total --key-count 4 {PROMISED}"
        );
        let outcome = run(&flags, seed);
        assert_eq!(outcome.verdict, Verdict::Valid, "seed {seed}: {}", outcome.to_edn());
    }
}

#[test]
fn kills_pauses_and_loss_tear_no_transaction() {
    for seed in 0..12 {
        let flags = format!(
            "-w txn-rw-register --node-count 3 --concurrency 2n --rate 200 --time-limit 8 \
             --latency 5 --latency-dist exponential --nemesis partition,kill,pause \
             --nemesis-interval 0.7 --loss 0.1 --duplicate 0.2 --fsync 5 --torn-writes 0.5 \
             --key-count 4 {PROMISED} {}",
            if seed % 2 == 0 { "" } else { "--no-disk" }
        );
        let outcome = run(&flags, seed);
        assert_eq!(outcome.verdict, Verdict::Valid, "seed {seed}: {}", outcome.to_edn());
    }
}

/// A node alone executes one transaction after the other, so whatever it may lose
/// or repeat after a kill breaks the strictest model.
#[test]
fn a_single_node_forgets_nothing_when_it_is_killed() {
    for (seed, workload) in [(1, "txn-rw-register"), (2, "txn-list-append")] {
        let flags = format!(
            "-w {workload} --node-count 1 --concurrency 4n --rate 100 --time-limit 10 \
             --nemesis kill --nemesis-interval 0.5 --fsync 5 --torn-writes 0.5"
        );
        let outcome = run(&flags, seed);
        assert_eq!(outcome.verdict, Verdict::Valid, "{workload}: {}", outcome.to_edn());
        let outcome = run(&format!("{flags} --no-disk"), seed);
        assert_eq!(outcome.verdict, Verdict::Invalid, "{workload} without a disk");
    }
}

/// A disk that was rolled back counts as lost until its node takes part again and that is
/// durable. The bench once looked at the node alone: one took part again and died before it had
/// written so, two other disks of five were rolled back, and no majority was left that could
/// elect a leader.
#[test]
fn disks_that_are_rolled_back_are_never_a_majority() {
    for workload in ["txn-list-append", "txn-rw-register"] {
        let flags = format!(
            "-w {workload} --node-count 7 --concurrency 2n --time-limit 20 --rate 50 --latency 5 \
             --nemesis kill --nemesis-interval 0.3 --topology tree --key-count 5 \
             --max-txn-length 2 --fsync 10 --torn-writes 0.5 --roll-back 1 --quiet-phase 6 \
             --seed 1006156 -- txn"
        );
        let typed = flags.split_whitespace();
        let config = RunConfig::new(RunArgs::from_flags(typed).unwrap(), Seed(1)).unwrap();
        let challenge = builtin(workload).unwrap();
        let outcome = judge(&Run::of(challenge, &config).simulate().unwrap());
        assert_eq!(outcome.verdict, Verdict::Valid, "{workload}: {}", outcome.to_edn());
    }
}

/// Anomalies documented as allowed do happen, so the tests above could see them.
#[test]
fn what_no_available_system_excludes_is_seen() {
    let common = "--node-count 2 --concurrency 2n --rate 200 --time-limit 8 --key-count 3 \
                  --nemesis partition --nemesis-interval 1";
    let flags = format!("-w txn-rw-register {common} --consistency-models snapshot-isolation");
    let outcome = run(&flags, 1);
    assert_eq!(outcome.verdict, Verdict::Invalid);
    assert!(anomalies(&outcome).contains("lost-update"), "{}", anomalies(&outcome));
    let flags = format!("-w txn-list-append {common} --consistency-models read-committed");
    let outcome = run(&flags, 1);
    assert_eq!(outcome.verdict, Verdict::Invalid);
    assert!(anomalies(&outcome).contains("incompatible-order"), "{}", anomalies(&outcome));
}

#[test]
fn two_nodes_need_less_than_a_tenth_of_a_message_per_transaction() {
    let flags = format!(
        "-w txn-rw-register --node-count 2 --concurrency 2n --rate 1000 --time-limit 5 {PROMISED}"
    );
    let outcome = run(&flags, 1);
    let servers = outcome.get("net").and_then(|net| net.get("servers")).unwrap();
    let cost = servers.get("msgs-per-op").unwrap().as_float().unwrap();
    assert!(cost > 0.0 && cost <= 0.1, "{cost}");
}

/// A node that takes in only some of the keys of a gossiped transaction.
struct Halves(Box<dyn Workload + Send>);

impl Workload for Halves {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let event = match event {
            Event::Message(message) if message.body.kind == "txn_gossip" => {
                Event::Message(halve(message))
            }
            event => event,
        };
        self.0.handle(cx, event);
    }
}

/// The message without the registers of odd keys in its deltas.
fn halve(mut message: Message) -> Message {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let names = message.body.field_names().map(str::to_owned);
    let fields = names.map(|name| (name.clone(), value(message.body.field(&name).unwrap().get())));
    let mut fields: BTreeMap<String, Value> = fields.collect();
    if let Some(runs) = fields.get_mut("d").and_then(Value::as_object_mut) {
        let deltas = runs.values_mut().flat_map(|run| run[1].as_array_mut().unwrap());
        for registers in deltas.map(|delta| delta.as_object_mut().unwrap()) {
            registers.retain(|key, _| key.parse::<u64>().unwrap().is_multiple_of(2));
        }
    }
    fields.insert("type".into(), message.body.kind.as_str().into());
    message.body = serde_json::from_str::<Body>(&serde_json::to_string(&fields).unwrap()).unwrap();
    message
}

#[test]
fn half_a_transaction_is_found_by_name() {
    let verdict = |models: &str| {
        let flags = format!(
            "-w txn-rw-register --node-count 3 --concurrency 2n --rate 200 --time-limit 8 \
             --consistency-models {models}"
        );
        let factory = Box::new(|| {
            let args: Vec<&str> = LEVEL.split_whitespace().skip(1).collect();
            let cli = parse_args(&args).unwrap();
            let inner = build(cli.workload.as_deref(), &cli.options()).unwrap();
            Box::new(Halves(inner)) as Box<dyn Workload + Send>
        });
        let config = config(&flags, 1);
        let challenge = builtin(&config.args.workload).unwrap();
        let outcome = judge(&Run::of(challenge, &config).nodes(factory).simulate().unwrap());
        (outcome.verdict, anomalies(&outcome))
    };
    let (weaker, found) = verdict("read-committed");
    assert_eq!(weaker, Verdict::Valid, "read committed alone does not forbid it: {found}");
    let (stronger, found) = verdict("monotonic-atomic-view");
    assert_eq!(stronger, Verdict::Invalid);
    assert!(found.contains("fractured-read"), "{found}");
}
