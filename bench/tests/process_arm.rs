//! Real processes under the bench: right ones pass, wrong ones are found and named.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn test(store: &Path, flags: &[&str], fault: &str) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .arg("test")
        .args(flags)
        .args(["--bin", env!("CARGO_BIN_EXE_faulty-node"), "--store"])
        .arg(store)
        .args(["--", fault])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

fn echo(fault: &str) -> (Option<i32>, String) {
    let store = tempfile::tempdir().unwrap();
    let flags = ["-w", "echo", "--node-count", "2", "--time-limit", "1", "--rate", "20"];
    let (output, text) = test(store.path(), &flags, fault);
    (output.status.code(), text)
}

#[test]
fn a_right_node_passes() {
    let (status, text) = echo("none");
    assert_eq!(status, Some(0), "{text}");
    assert!(text.trim_end().ends_with("Everything looks good! ヽ(‘ー`)ノ"), "{text}");
}

/// The fault, the exit status, and words that the output must have.
const FAULTS: &[(&str, i32, &[&str])] = &[
    ("wrong-echo", 1, &["Expected a message with :echo", "Analysis invalid!"]),
    ("extra-field", 1, &["more"]),
    ("broken-line", 1, &["printed a line that is no message", "{\"src\": oops", "node-logs/n"]),
    ("exit", 255, &["exited by itself (status 0)", "| faulty node, fault: exit"]),
    ("leave-a-child", 255, &["exited by itself (status 0)"]),
    ("crash", 255, &["exited by itself (status 7)", "the test is broken"]),
    ("nobody", 1, &["sent a message to n99, which does not exist"]),
    ("forge", 1, &["in the name of n99"]),
    ("flood", 1, &["flooded the network"]),
];

#[test]
fn wrong_nodes_are_found_and_named() {
    // Side by side: each waits for real time most of the time.
    std::thread::scope(|scope| {
        for (fault, status, needles) in FAULTS {
            scope.spawn(move || {
                let (code, text) = echo(fault);
                assert_eq!(code, Some(*status), "{fault}: {text}");
                for needle in *needles {
                    assert!(text.contains(needle), "{fault}: no {needle:?} in {text}");
                }
            });
        }
    });
}

#[test]
fn a_node_that_hangs_in_init_stops_the_test_before_it_begins() {
    let (status, text) = echo("hang");
    assert_eq!(status, Some(255), "{text}");
    assert!(text.contains("did not complete init: no init_ok within 10 s"), "{text}");
    // In a pipe, a line now and then says how long that takes.
    let waited = text.lines().filter_map(|line| line.split_once(" s: starting nodes"));
    let waited: Vec<u64> = waited.map(|(seconds, _)| seconds.parse().unwrap()).collect();
    assert!(waited.first().is_some_and(|seconds| *seconds >= 4), "{waited:?}: {text}");
}

#[test]
fn a_binary_that_does_not_exist_is_a_usage_error() {
    let store = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["test", "-w", "echo", "--bin", "./no-such-node", "--store"])
        .arg(store.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(254));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-node"));
}

#[test]
fn ids_reused_after_a_restart_are_found() {
    let store = tempfile::tempdir().unwrap();
    // A worker whose request dies with a node waits for longer than the test takes, and on
    // a slow machine each kill meets some: there are enough of them.
    let flags = "-w unique-ids --node-count 3 --time-limit 4 --rate 200 --nemesis kill \
                 --nemesis-interval 0.4 --concurrency 10n";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let (output, text) = test(store.path(), &flags, "reuse-ids");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(":duplicated-count"), "{text}");
    assert!(!text.contains(":duplicated-count 0"), "{text}");
}

#[test]
fn a_line_cut_by_a_kill_is_no_fault_of_the_node() {
    let store = tempfile::tempdir().unwrap();
    let flags = "-w echo --node-count 3 --time-limit 2 --rate 50 --nemesis kill \
                 --nemesis-interval 0.2 --concurrency 10n";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let (output, text) = test(store.path(), &flags, "half-lines");
    assert!(text.contains(":valid? true"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let latest = store.path().join("latest/history.txt");
    assert!(std::fs::read_to_string(latest).unwrap().contains("kill"), "no node was killed");
}

/// How many processes mention `marker` on their command line.
fn processes_with(marker: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(marker)).count()
}

#[test]
fn nothing_survives_an_interrupted_bench() {
    let store = tempfile::tempdir().unwrap();
    // No marker is part of another.
    let marker = format!("marker-{}-", std::process::id());
    let flags = "test -w echo --node-count 3 --time-limit 60 --rate 50 --log-net-recv \
                 --nemesis pause --nemesis-interval 0.05";
    let mut bench = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(flags.split_whitespace())
        .args(["--bin", env!("CARGO_BIN_EXE_faulty-node"), "--store"])
        .arg(store.path())
        .args(["--", "none", &marker])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once some operations are done, some node has been stopped.
    let lines = BufReader::new(bench.stderr.take().unwrap()).lines();
    assert_eq!(lines.take(60).count(), 60);
    assert_eq!(processes_with(&marker), 4, "the bench and its nodes");
    kill(Pid::from_raw(bench.id().cast_signed()), Signal::SIGINT).unwrap();
    let status = bench.wait().unwrap();
    assert_eq!(status.code(), None, "it dies of the signal, so that a script ends too: {status}");
    // The bench has waited for them, so not even a slow machine still runs one.
    assert_eq!(processes_with(&marker), 0);
}

#[test]
fn a_reader_that_has_gone_changes_no_verdict() {
    let store = tempfile::tempdir().unwrap();
    let mut bench = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["test", "-w", "echo", "--time-limit", "5", "--store"])
        .arg(store.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(bench.stdout.take());
    let output = bench.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*complaints), (Some(0), ""));
}
