//! A node whose data is in PostgreSQL, as a process. Skipped where PostgreSQL is not installed.

// Tests run real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

#[cfg(feature = "postgres")]
#[path = "../../src/storage/postgres/private_cluster.rs"]
mod private_cluster;

/// Runs a node alone until the end of these messages.
fn run(data_dir: &str, messages: &[&str]) -> Output {
    let mut node = Command::new(env!("CARGO_BIN_EXE_seaworthy-node"));
    node.args(["lin-kv", "--data-dir", data_dir]);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = node.spawn().unwrap();
    let mut stdin = node.stdin.take().unwrap();
    let init = r#"{"type":"init","msg_id":1,"node_id":"n0","node_ids":["n0"]}"#;
    for body in std::iter::once(&init).chain(messages) {
        // The node may have ended.
        let _ = writeln!(stdin, r#"{{"src":"c1","dest":"n0","body":{body}}}"#);
    }
    // An election, and an answer; the end of the input stops it.
    std::thread::sleep(std::time::Duration::from_secs(2));
    drop(stdin);
    node.wait_with_output().unwrap()
}

/// The output of the first run in which the node found time for an answer: where the disk is slow
/// it says that it could not elect itself yet (error 11), and nothing has happened.
#[cfg(feature = "postgres")]
fn ask(data_dir: &str, message: &str) -> Output {
    let outputs = (0..5).map(|_| run(data_dir, &[message]));
    let answered =
        |output: &Output| !String::from_utf8_lossy(&output.stdout).contains("\"code\":11");
    outputs.into_iter().find(answered).expect("one of five elections succeeds")
}

#[cfg(feature = "postgres")]
#[test]
fn a_write_is_there_after_a_restart_and_the_records_can_be_read() {
    let Some(database) = private_cluster::PrivateCluster::start(std::path::Path::new("/tmp"))
    else {
        println!("PostgreSQL is not installed: a node with it is not tested");
        return;
    };
    let url = database.url("postgres", "app");
    let written = ask(&url, r#"{"type":"write","msg_id":2,"key":"k","value":"ahoy"}"#);
    assert!(String::from_utf8_lossy(&written.stdout).contains("write_ok"), "{written:?}");
    let read = ask(&url, r#"{"type":"read","msg_id":2,"key":"k"}"#);
    assert!(String::from_utf8_lossy(&read.stdout).contains("\"ahoy\""), "{read:?}");
    let sql = "SELECT count(*) FROM app_n0.record WHERE contents::text LIKE '%ahoy%'";
    assert_eq!(database.sql("postgres", sql), "1");
    assert_eq!(database.sql("postgres", "SELECT name FROM app_n0.node"), "n0");
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_build_without_it_says_so_and_makes_no_directory_of_that_name() {
    let refused = run("postgres://localhost/app", &[]);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("--features postgres"), "{why}");
    assert_eq!(refused.status.code(), Some(1));
    assert!(!std::path::Path::new("postgres:").exists());
}
