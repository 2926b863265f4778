//! `seaworthy explore` and `replay` as commands: what they print, write and return,
//! also when they are interrupted.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nodes that promise read committed are held to strict serializability, which they
/// break in every other run.
fn explore(plan: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(["explore", "-w", "txn-rw-register", "--seeds", "20", "--plan"]).arg(plan);
    command.args(["--", "txn", "--isolation", "read-committed"]);
    command
}

/// Runs a command and sends it SIGINT as soon as it prints a line that begins like this:
/// its exit status, and all it printed.
fn interrupted(command: &mut Command, after: &str) -> (Option<i32>, String) {
    let mut child: Child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    loop {
        let start = text.len();
        assert!(out.read_line(&mut text).unwrap() > 0, "it ended before: {text}");
        if text[start..].starts_with(after) {
            break;
        }
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    out.read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

#[test]
fn a_failure_is_shrunk_and_fails_again_from_its_plan() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.edn");
    let found = explore(&plan).output().unwrap();
    let told = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.status.code(), Some(1), "{told}");
    let replay = || Command::new(env!("CARGO_BIN_EXE_seaworthy")).arg("replay").arg(&plan).output();
    let again = replay().unwrap();
    let story = String::from_utf8(again.stdout).unwrap();
    assert_eq!(again.status.code(), Some(1), "{story}");
    assert!(told.contains(&story), "the story that was told and the one of the plan differ");
    assert!(!story.contains("not how it failed"), "{story}");

    // A plan whose operations are gone is a run in which nothing goes wrong.
    let text = fs::read_to_string(&plan).unwrap();
    let begin = text.find(":operations").unwrap();
    fs::write(&plan, format!("{}:operations []}}", &text[..begin])).unwrap();
    let empty = replay().unwrap();
    let story = String::from_utf8(empty.stdout).unwrap();
    assert!(story.contains("This is not how it failed"), "{story}");
}

/// Read committed is available to everybody who can reach any node, whatever is cut off;
/// strict serializability is not.
#[test]
fn total_availability_is_demanded_where_no_node_is_down() {
    let explore = |isolation: &str, models: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["explore", "-w", "txn-rw-register", "--seeds", "16", "--shrink", "0"]);
        command.args(["--availability", "total", "--consistency-models", models]);
        let output = command.args(["--", "txn", "--isolation", isolation]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, told) = explore("read-committed", "read-committed,read-atomic");
    assert_eq!(status, Some(0), "{told}");
    let (status, told) = explore("strict-serializable", "strict-serializable");
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("availability: the fraction"), "{told}");
}

#[test]
fn an_interrupt_while_shrinking_keeps_the_best_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.edn");
    let (status, text) = interrupted(&mut explore(&plan), "Replay it with:");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("(there may be a smaller one)"), "{text}");
    let replay = Command::new(env!("CARGO_BIN_EXE_seaworthy")).arg("replay").arg(&plan).output();
    assert_eq!(replay.unwrap().status.code(), Some(1));
}

#[test]
fn an_interrupt_while_exploring_tells_what_was_done() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(["explore", "-w", "lin-kv", "--seeds", "1000000"]);
    let (status, text) = interrupted(&mut command, "Exploring");
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("Interrupted; all valid so far."), "{text}");
}
