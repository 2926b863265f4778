//! Each way in which the models of `examples/models` lose things is found by a run, and the model that
//! loses nothing passes the same runs.

// A test may fail by unwrapping.
#![allow(clippy::unwrap_used)]

use std::process::Command;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/spec.toml");

/// The models are in Python, which not every machine has.
fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The status of a run, and its output.
#[allow(clippy::disallowed_methods, reason = "servers run on the real clock")]
fn run(loses: &str, flags: &str, seed: u64) -> (Option<i32>, String) {
    let store = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["test", "-w", "lin-kv", "--server", MODELS, "--rate", "100", "--time-limit", "8"])
        .args(["--seed", &seed.to_string(), "--no-report", "--store"])
        .arg(store.path())
        .args(flags.split_whitespace())
        .args(["--", "--loses", loses])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

/// How often a loss is tried.
const TRIES: u64 = 12;
/// One node that is killed and replays its log.
const REPLAYED: &str = "--node-count 1 --concurrency 12n --nemesis kill --nemesis-interval 1";
/// Three nodes, of which two follow.
const FOLLOWED: &str = "--node-count 3 --concurrency 4n --nemesis kill --nemesis-interval 1";

#[test]
fn each_loss_is_found() {
    if !has_python() {
        return;
    }
    let all = [
        ("fsync", REPLAYED),
        ("empty", REPLAYED),
        ("blank", REPLAYED),
        ("long", REPLAYED),
        ("json", REPLAYED),
        ("stale", FOLLOWED),
        ("snapshot", FOLLOWED),
        ("not-leader", FOLLOWED),
    ];
    for (loses, flags) in all {
        // A kill at the right moment takes some luck: most losses are found by nearly every run, and
        // `empty` by every second or third.
        let mut runs = (0..TRIES).map(|seed| run(loses, flags, seed));
        let found = runs.find(|(status, _)| *status == Some(1));
        let (_, text) = found.unwrap_or_else(|| panic!("{loses}: not found in {TRIES} runs"));
        assert!(text.contains(":linearizable"), "{loses}: {text}");
    }
}

#[test]
fn the_model_that_loses_nothing_passes() {
    if !has_python() {
        return;
    }
    for flags in [REPLAYED, FOLLOWED] {
        let (status, text) = run("nothing", flags, 1);
        // A run may be too unlucky to say anything.
        assert!(matches!(status, Some(0 | 2)), "{text}");
        assert!(!text.contains("Analysis invalid!"), "{text}");
    }
}
