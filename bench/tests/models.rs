//! Each way in which the models of `examples/models` lose things is found by a run, and the model that
//! loses nothing passes the same runs.

// A test may fail by unwrapping.
#![allow(clippy::unwrap_used)]

#[path = "support/python.rs"]
mod python;

use std::process::Command;
use std::thread;

use python::has_python;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/spec.toml");

/// The status of a run, and its output.
fn run(loses: &str, flags: &str, seed: u64) -> (Option<i32>, String) {
    let flags = format!("-w lin-kv --server {MODELS} --rate 100 {flags} -- --loses {loses}");
    run_for_8_s(&flags, seed)
}

#[allow(clippy::disallowed_methods, reason = "servers run on the real clock")]
fn run_for_8_s(flags: &str, seed: u64) -> (Option<i32>, String) {
    let store = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["test", "--time-limit", "8", "--seed", &seed.to_string(), "--no-report", "--store"])
        .arg(store.path())
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

/// How often a loss is tried.
const TRIES: u64 = 12;
/// One node that is killed and replays its log.
const REPLAYED: &str = "--node-count 1 --concurrency 12n --nemesis kill --nemesis-interval 1";
/// The same under partitions.
const PARTED: &str = "--node-count 3 --concurrency 4n --nemesis partition --nemesis-interval 1";
/// The same, where all but a few operations must succeed: a cas may fail by its value.
const AVAILABLE: &str = "--node-count 3 --concurrency 4n --omit cas --availability 0.85";
const UNAVAILABLE: &str = ":availability {:valid? false";
/// Three nodes, of which two follow.
const FOLLOWED: &str = "--node-count 3 --concurrency 4n --nemesis kill --nemesis-interval 1";

/// Demands that one of the runs finds a loss. A kill at the right moment takes some luck: most losses
/// are found by nearly every run, and `empty` by every second or third.
fn find(loses: &str, flags: &str) {
    let mut runs = (0..TRIES).map(|seed| run(loses, flags, seed));
    let found = runs.find(|(status, _)| *status == Some(1));
    let (_, text) = found.unwrap_or_else(|| panic!("{loses}: not found in {TRIES} runs"));
    let broken = match flags {
        AVAILABLE => UNAVAILABLE,
        _ => "is not linearizable: this operation cannot have happened",
    };
    assert!(text.contains(broken), "{loses}: {text}");
}

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
        ("split", PARTED),
        ("dial", AVAILABLE),
    ];
    // Runs wait most of their time, so that all take as long as the longest.
    thread::scope(|scope| {
        for (loses, flags) in all {
            scope.spawn(move || find(loses, flags));
        }
    });
}

/// The model with etcd's API, and the workload that finds each of its faults.
const ETCD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/etcd.toml");
const BREAKS: [(&str, &str, &str); 4] = [
    ("watch", "watch", "Analysis invalid!"),
    ("lease", "lease", "Leases: expired early."),
    ("compare", "lock", "An acknowledged addition must find every earlier one"),
    ("stale", "lin-kv", ":linearizable"),
];

#[test]
fn each_broken_promise_of_watches_leases_and_locks_is_found() {
    if !has_python() {
        return;
    }
    let judge = |breaks: &str, workload: &str| {
        let flags = "--node-count 1 --concurrency 6 --rate 40";
        run_for_8_s(&format!("-w {workload} --server {ETCD} {flags} -- --breaks {breaks}"), 1)
    };
    thread::scope(|scope| {
        for (breaks, workload, story) in BREAKS {
            scope.spawn(move || {
                let (status, text) = judge(breaks, workload);
                assert_eq!(status, Some(1), "{breaks}: {text}");
                assert!(text.contains(story), "{breaks}: {text}");
            });
            scope.spawn(move || {
                let (status, text) = judge("nothing", workload);
                assert!(matches!(status, Some(0 | 2)), "{workload}: {text}");
            });
        }
    });
}

#[test]
fn the_model_that_loses_nothing_passes() {
    if !has_python() {
        return;
    }
    for flags in [REPLAYED, FOLLOWED, PARTED, AVAILABLE] {
        let (mut status, mut text) = run("nothing", flags, 1);
        // A busy machine lets operations fail without a fault.
        for seed in 2..4 {
            if flags == AVAILABLE && status == Some(1) && text.contains(UNAVAILABLE) {
                (status, text) = run("nothing", flags, seed);
            }
        }
        // A run may be too unlucky to say anything.
        assert!(matches!(status, Some(0 | 2)), "{text}");
        assert!(!text.contains("Analysis invalid!"), "{text}");
    }
}
