//! The same seed is the same story: in every build, on every machine.
//!
//! For each workload one run under many faults is pinned by checksums of all messages and
//! of the history. They are made by the command itself, as a user who replays a seed would
//! make them. Which build it is, `SEAWORTHY` may say (a path, else the one that cargo built for
//! this test): the gate checks the debug and the release build against the same file.
//!
//! An engine that sends other messages than before changes the sums, and that is fine:
//! `REWRITE=1 cargo test -p seaworthy-bench --test pinned` writes them anew. But they may not
//! change by themselves.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use seaworthy_bench::challenge::Challenges;

const FLAGS: &str = "--node-count 4 --concurrency 8n --time-limit 6 --rate 40 --latency 8 \
                     --latency-dist exponential --nemesis partition,kill,pause,one-way,slow \
                     --nemesis-interval 0.5 --loss 0.05 --duplicate 0.05 --reorder 0.1 \
                     --clock-skew 0.05 --fsync 2 --torn-writes 0.5 --quiet-phase 4 --seed 11";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pinned/runs.txt")
}

/// `broadcast messages 4096 1a2b3c4d history 512 5e6f7a8b`: sizes and checksums.
fn line(workload: &str) -> String {
    let bin = std::env::var_os("SEAWORTHY");
    let bin = bin.unwrap_or_else(|| env!("CARGO_BIN_EXE_seaworthy").into());
    let store = tempfile::tempdir().unwrap();
    let mut command = Command::new(bin);
    command.args(["test", "-w", workload, "--store"]).arg(store.path());
    command.args(FLAGS.split_whitespace());
    // Nodes that serve everything would do, but each alone depends on less.
    command.args(["--", workload.strip_prefix("txn-").map_or(workload, |_| "txn")]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{workload}: {text}");
    let sum = |name: &str| {
        let bytes = fs::read(store.path().join("latest").join(name)).unwrap();
        format!("{} {:08x}", bytes.len(), crc32fast::hash(&bytes))
    };
    format!("{workload} messages {} history {}", sum("messages.jsonl"), sum("history.edn"))
}

#[test]
fn a_seed_is_the_same_story_in_every_build() {
    let lines: Vec<String> = std::thread::scope(|scope| {
        let names = Challenges::builtin().names();
        let runs: Vec<_> =
            names.into_iter().map(|workload| scope.spawn(move || line(workload))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let told = lines.join("\n") + "\n";
    if std::env::var_os("REWRITE").is_some() {
        fs::write(file(), &told).unwrap();
    }
    let pinned = fs::read_to_string(file()).unwrap();
    assert_eq!(told, pinned, "if this is meant to be: REWRITE=1; see the top of this test");
}
