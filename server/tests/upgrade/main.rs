//! Data that an earlier build wrote: the present program opens it, one server after the other, and
//! finds every revision, lease, user and member; data of another format is refused with the remedy.
//!
//! `tests/fixtures/format-1` has the directories of three servers, a backup, and the answers that
//! those servers gave (`expected.json`). `WRITE_FIXTURE=1 cargo test -p seaworthy-server --test upgrade`
//! writes it anew, with the present build: do so, under another name, when a format changes.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod write;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use answers::{everything, post, token};
use serde_json::Value;
use support::{Cluster, copy_dir, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_seaworthy-server");

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// The addresses between servers are part of the data, so they are the same at each run.
fn peer(i: usize) -> String {
    format!("http://127.77.0.{}:2380", i + 1)
}

/// Holds those addresses, for as long as the answer lives, against other runs of this test.
fn alone() -> TcpListener {
    let mut held = None;
    wait_for("another run of this test", Duration::from_secs(300), || {
        held = TcpListener::bind("127.77.0.9:2380").ok();
        held.is_some()
    });
    held.unwrap()
}

/// Three servers with those addresses, which are not started.
fn three() -> Cluster {
    let mut cluster = Cluster::new(PROGRAM, 3);
    let all = (0..3).map(|i| format!("n{i}={}", peer(i))).collect::<Vec<_>>().join(",");
    for i in 0..3 {
        cluster.set_flag(i, "--listen-peer-urls", &peer(i));
        cluster.set_flag(i, "--initial-advertise-peer-urls", &peer(i));
        cluster.set_flag(i, "--initial-cluster", &all);
    }
    cluster.add_flag("--auto-compaction-retention", "0");
    cluster.add_flag("--bcrypt-cost", "4");
    cluster
}

/// The answers of the build that wrote the fixture.
fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture().join("expected.json")).unwrap()).unwrap()
}

/// Whether it succeeded, and all that it said.
fn run(words: &[&str]) -> (bool, String) {
    let output = Command::new(PROGRAM).args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// A put at one server; its revision.
fn put(cluster: &Cluster, i: usize, token: &str, key: &str) -> i64 {
    let body = format!(r#"{{"key": "{}", "value": "bmV3"}}"#, answers::base64(key));
    let answer = post(cluster, i, "/v3/kv/put", token, &body);
    answer["header"]["revision"].as_str().unwrap().parse().unwrap()
}

#[test]
fn data_of_an_earlier_build_is_all_there_while_its_servers_are_replaced_one_after_the_other() {
    let _alone = alone();
    if std::env::var("WRITE_FIXTURE").is_ok() {
        write::fixture(&fixture());
    }
    let (mut cluster, expected) = (three(), expected());
    for i in 0..3 {
        copy_dir(&fixture().join(format!("n{i}")), &cluster.data_dir(i));
    }
    // One server reads the state into a tree, which the fixture does not have.
    cluster.add_flag_to(2, "--state", "fjall");
    (0..2).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    assert_eq!(everything(&cluster, 0), expected);
    assert_eq!(everything(&cluster, 1), expected);
    cluster.start_one(2);
    cluster.wait_healthy();
    assert_eq!(everything(&cluster, 2), expected, "also from a tree");

    let root = token(&cluster, 0, "root");
    let before = put(&cluster, 0, &root, "new");
    for i in 0..3 {
        cluster.kill(i);
        let other = (i + 1) % 3;
        for n in 0..5 {
            put(&cluster, other, &token(&cluster, other, "root"), &format!("new-{i}-{n}"));
        }
        cluster.start_one(i);
        cluster.wait_healthy();
    }
    let range = r#"{"key": "bmV3", "range_end": "bmV4", "count_only": true}"#;
    let answer = post(&cluster, 2, "/v3/kv/range", &token(&cluster, 2, "root"), range);
    assert_eq!(answer["count"], "16", "{answer}");
    assert_eq!(answer["header"]["revision"], (before + 15).to_string());
    for i in 0..3 {
        let log = cluster.log(&format!("n{i}"));
        assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    }
}

#[test]
fn a_backup_of_an_earlier_build_is_restored() {
    let mut cluster = Cluster::new(PROGRAM, 1);
    let (file, dir) = (fixture().join("backup"), cluster.data_dir(0));
    let peer = format!("http://127.0.0.1:{}", cluster.servers[0].peer_port);
    let (ok, why) = run(&[
        "snapshot",
        "restore",
        file.to_str().unwrap(),
        "--name",
        "n0",
        "--data-dir",
        dir.to_str().unwrap(),
        "--initial-cluster",
        &format!("n0={peer}"),
        "--initial-advertise-peer-urls",
        &peer,
    ]);
    assert!(ok, "{why}");
    cluster.start_one(0);
    cluster.wait_healthy();
    // All but the members, and that a backup begins with the past compacted.
    let (found, expected) = (everything(&cluster, 0), expected());
    for part in ["present", "leases", "users", "roles"] {
        assert_eq!(found[part], expected[part], "{part}");
    }
}

#[test]
fn each_directory_of_an_earlier_build_is_read_without_a_server() {
    for i in 0..3 {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("data");
        copy_dir(&fixture().join(format!("n{i}")), &path);
        let path = path.to_str().unwrap();
        let (ok, text) = run(&["log", path]);
        assert!(ok, "{text}");
        assert!(text.contains("\tput\tlate/") && !text.contains("unknown"), "{text}");
        let (ok, text) = run(&["recover", path, "--make-cluster"]);
        assert!(ok && text.contains("made a new cluster"), "{text}");
    }
}

/// Copies one directory, changes bytes of a file, and returns what a server, `log` and `recover` say.
fn refusals(file: &str, change: &dyn Fn(&mut Vec<u8>)) -> [String; 3] {
    let mut cluster = three();
    let path = cluster.data_dir(0);
    copy_dir(&fixture().join("n0"), &path);
    let mut changed = path.join(file);
    if changed.is_dir() {
        let entries = std::fs::read_dir(&changed).unwrap().map(|entry| entry.unwrap().path());
        changed = entries.filter(|path| path.is_file()).max().unwrap();
    }
    let mut bytes = std::fs::read(&changed).unwrap();
    change(&mut bytes);
    std::fs::write(&changed, bytes).unwrap();
    let [log, recover] = ["log", "recover"].map(|command| {
        let (ok, text) = run(&[command, path.to_str().unwrap()]);
        assert!(!ok, "{command} reads another format: {text}");
        text
    });
    cluster.start_one(0);
    assert_eq!(cluster.wait_for_end(0), Some(1));
    [cluster.log("n0"), log, recover]
}

#[test]
fn data_of_another_format_is_refused_with_both_formats_and_the_remedy() {
    let _alone = alone();
    for other in ["0", "2"] {
        let change = |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let changed = text.replace("\"format\": 1", &format!("\"format\": {other}"));
            assert_ne!(text, changed);
            *bytes = changed.into_bytes();
        };
        for why in refusals("identity.json", &change) {
            assert!(why.contains(&format!("has format {other}, and this program")), "{why}");
            assert!(why.contains("use the version of the program that wrote it"), "{why}");
        }
    }
    for version in [1, 3] {
        for why in refusals("log/raft", &|bytes| bytes[8] = version) {
            assert!(
                why.contains(&format!("format {version} is unknown; this is format 2")),
                "{why}"
            );
            assert!(why.contains("Use the program that wrote the directory"), "{why}");
        }
    }
}
