//! The simulation: the same seed is the same run, and wrong nodes are found.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::Verdict;
use seaworthy_bench::config::{RunArgs, RunConfig};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::pairs;
use seaworthy_bench::judge::judge;
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::Seed;
use serde_json::json;

fn config(flags: &str) -> RunConfig {
    let run = RunArgs::from_flags(flags.split_whitespace()).unwrap();
    RunConfig::new(run, Seed(1)).unwrap()
}

/// Every file of a run by its name, below the directory named after the moment.
fn files_of_run(flags: &str) -> BTreeMap<String, Vec<u8>> {
    let store = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .arg("test")
        .args(flags.split_whitespace())
        .arg("--store")
        .arg(store.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let mut files = BTreeMap::new();
    collect(&store.path().join("latest"), "", &mut files);
    files
}

fn collect(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(path).unwrap());
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run_byte_for_byte() {
    let flags = "-w unique-ids --node-count 5 --rate 200 --time-limit 10 --latency 20 \
                 --latency-dist exponential --nemesis partition,kill,pause,one-way,slow \
                 --nemesis-interval 1 --loss 0.1 --duplicate 0.1 --reorder 0.1 --clock-skew 0.1 \
                 --fsync 5 --torn-writes 0.5 --seed 7";
    let (first, second) = (files_of_run(flags), files_of_run(flags));
    for name in ["history.edn", "messages.jsonl", "results.edn", "history.txt", "results.json"] {
        assert!(first[name].len() > 50, "{name} is empty");
    }
    assert!(first == second, "two runs of one seed differ");
    let other = files_of_run(&flags.replace("--seed 7", "--seed 8"));
    assert_ne!(first["history.edn"], other["history.edn"], "the seed has no effect");
}

/// Hands out node-1, node-2, ..., again after each restart.
#[derive(Default)]
struct ReusesIds {
    issued: u64,
}

impl Workload for ReusesIds {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Event::Message(message) = event else { return };
        self.issued += 1;
        let id = format!("{}-{}", cx.id(), self.issued);
        cx.reply(&message.request(), &json!({"type": "generate_ok", "id": id}));
    }
}

struct WrongEcho;

impl Workload for WrongEcho {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Event::Message(message) = event else { return };
        cx.reply(&message.request(), &json!({"type": "echo_ok", "echo": "no"}));
    }
}

/// Sends itself a message for each message it gets.
struct Floods;

impl Workload for Floods {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Event::Message(_) = event else { return };
        let own = cx.id().clone();
        cx.send(&own, &json!({"type": "again"}));
    }
}

fn verdict<W: Workload + Send + 'static>(flags: &str, make: fn() -> W) -> (Verdict, String) {
    let config = config(flags);
    let factory = Box::new(move || Box::new(make()) as Box<dyn Workload + Send>);
    let challenge = builtin(&config.args.workload).unwrap();
    let ran = Run::of(challenge, &config).nodes(factory).simulate().unwrap();
    let outcome = judge(&ran);
    (outcome.verdict, outcome.decide().why)
}

#[test]
fn ids_reused_after_a_restart_are_found() {
    let flags = "-w unique-ids --node-count 3 --rate 100 --time-limit 20 --nemesis-interval 1";
    let (healthy, why) = verdict(flags, ReusesIds::default);
    assert_eq!(healthy, Verdict::Valid, "without kills it does not show: {why}");
    let (broken, why) = verdict(&format!("{flags} --nemesis kill"), ReusesIds::default);
    assert_eq!(broken, Verdict::Invalid);
    assert!(why.contains("duplicated"), "{why}");
}

#[test]
fn a_wrong_echo_is_found() {
    let (verdict, why) = verdict("-w echo --node-count 1 --time-limit 5", || WrongEcho);
    assert_eq!(verdict, Verdict::Invalid);
    assert!(why.contains("Please echo"), "{why}");
}

#[test]
fn a_flood_does_not_stop_virtual_time() {
    let (verdict, why) = verdict("-w echo --node-count 1 --time-limit 5", || Floods);
    assert_eq!(verdict, Verdict::Invalid);
    assert!(why.contains("flooded"), "{why}");
}

/// Answers about members are judged by them, and nodes that left late are asked for again.
#[test]
fn the_bench_is_told_of_members_as_they_are_committed() {
    let config = config(
        "-w lin-kv --node-count 3 --concurrency 2n --rate 20 --time-limit 20 --seed 1 \
         --nemesis membership --nemesis-interval 2 -- lin-kv",
    );
    let ran = Run::of(builtin("lin-kv").unwrap(), &config).simulate().unwrap();
    assert!(!ran.report.returned.is_empty(), "no node that was removed has come back");
}

#[test]
fn the_journal_and_the_counts_agree() {
    let files = files_of_run("-w echo --node-count 2 --time-limit 5 --rate 20 --seed 3");
    let journal = String::from_utf8(files["messages.jsonl"].clone()).unwrap();
    let sent = journal.lines().filter(|l| l.contains("\"event\":\"send\"")).count();
    let results = Edn::from_json(&String::from_utf8_lossy(&files["results.json"])).unwrap();
    let text = results.to_string();
    assert!(text.contains(&format!(":send-count {sent}")), "{sent} is not in {text}");
}

/// The node that has just succeeded with a cas knows the value before all others. It must not
/// go on winning for as long as it has something to do.
#[test]
fn no_node_starves_where_all_want_the_same_key_of_a_service() {
    for (latency_ms, at_most_ms) in [(20, 600), (100, 3000)] {
        let config = config(&format!(
            "-w pn-counter --node-count 5 --concurrency 2n --rate 150 --latency {latency_ms} \
             --time-limit 30 -- pn-counter --store seq-kv"
        ));
        let ran = Run::of(builtin("pn-counter").unwrap(), &config).simulate().unwrap();
        let (outcome, report) = (judge(&ran), &ran.report);
        assert_eq!(outcome.verdict, Verdict::Valid, "{}", outcome.decide().why);
        let waits = pairs(&report.history).unwrap().into_iter();
        let waits = waits.filter_map(|pair| Some(pair.completion?.time - pair.invoke.time));
        let longest_ms = waits.max().unwrap() / 1_000_000;
        assert!(longest_ms < at_most_ms, "a client waited for {longest_ms} ms");
    }
}

/// Nor may a node that was cut off from the one that combines, or had died: messages that take
/// the same time each, and a service that shows the past, keep it one step behind.
#[test]
fn no_node_starves_at_a_service_when_faults_are_over() {
    for seed in 500_880..500_920 {
        let config = config(&format!(
            "-w pn-counter --node-count 5 --concurrency 2n --rate 100 --latency 20 \
             --time-limit 10 --nemesis partition,kill,pause --nemesis-interval 1 \
             --quiet-phase 6 --seed {seed} -- pn-counter --store seq-kv"
        ));
        let ran = Run::of(builtin("pn-counter").unwrap(), &config).simulate().unwrap();
        let outcome = judge(&ran);
        assert_eq!(outcome.verdict, Verdict::Valid, "seed {seed}: {}", outcome.decide().why);
    }
}
