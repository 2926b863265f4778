//! `seaworthy explore` and `replay` as commands: their output, their files and their status, also
//! when they are interrupted.

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

/// Read committed is available to all clients that reach any node, whatever is cut off;
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

/// Returns the exit status of a command with these arguments, and its output.
fn seaworthy(args: &str, plan: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    let plan = plan.display().to_string();
    command.args(args.split_whitespace().map(|arg| if arg == "PLAN" { &plan } else { arg }));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn what_makes_no_sense_is_a_sentence_and_254() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.edn");
    for args in [
        "explore -w echo --for 0",
        "explore -w echo --for=-1",
        "explore -w echo --for nan",
        "explore -w echo --for inf",
        "explore -w echo --seeds 0",
        "explore -w echo --jobs 0",
        "explore -w nothing",
        "explore -w echo --nodes-bin /bin/cat --jobs 2",
        "replay PLAN",
    ] {
        let (status, text) = seaworthy(args, &plan);
        assert_eq!(status, Some(254), "{args}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    let of_lin_kv = |rest: &str| {
        format!(
            "{{:flags [\"-w\" \"lin-kv\" \"--node-count\" \"1\" \"--concurrency\" \"2n\"] {rest}}}"
        )
    };
    for (text, what) in [
        (of_lin_kv(":faults [] :operations [{:ms 1 :worker 0 :f :write :value 5}]"), "no such"),
        (of_lin_kv(":faults [] :operations [{:ms 1 :worker 0 :f :read :valeu 5}]"), ":valeu"),
        (of_lin_kv(":falts [] :operations []"), ":falts"),
        (of_lin_kv(":faults [{:ms -5 :f :heal}] :operations []"), "fault"),
        (of_lin_kv(":faults [{:ms -5 :f :start}] :operations []"), ":ms"),
        (of_lin_kv(":faults []"), ":operations"),
        ("{:flags".to_owned(), "plan.edn"),
    ] {
        fs::write(&plan, &text).unwrap();
        let (status, told) = seaworthy("replay PLAN", &plan);
        assert_eq!(status, Some(254), "{text}: {told}");
        assert!(told.contains(what) && !told.contains("panicked"), "{told}");
    }
}

#[test]
fn a_plan_that_cannot_be_written_changes_neither_story_nor_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let found = explore(&dir.path().join("nowhere/plan.edn")).output().unwrap();
    let told = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.status.code(), Some(1), "{told}");
    assert!(told.contains("client 0 ->") && told.contains("could not be written"), "{told}");
}

#[test]
fn nodes_that_refuse_everything_are_not_said_to_be_valid() {
    let (status, text) = seaworthy("explore -w lin-kv --seeds 20 -- echo", Path::new(""));
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("no operation succeeded"), "{text}");
}

#[test]
fn a_foreign_binary_is_explored_as_real_processes() {
    let bin = env!("CARGO_BIN_EXE_faulty-node");
    let args = format!("explore -w echo --seeds 1 --nodes-bin {bin} -- wrong-echo");
    let (status, text) = seaworthy(&args, Path::new(""));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("not deterministic"), "{text}");
    assert!(text.contains(&format!("seaworthy test --bin {bin} -w echo")), "{text}");
}
