//! The binary as a process: its stdin, its stdout, and how it ends. Nothing here looks inside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const INIT: &str = r#"{"id":0,"src":"c0","dest":"n1","body":{"type":"init","node_id":"n1","node_ids":["n1","n2"],"msg_id":1}}"#;
const PROBE: &str =
    r#"{"id":9,"src":"c9","dest":"n1","body":{"type":"echo","echo":"still here","msg_id":99}}"#;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy-node"));
    command.args(args).env_remove("SEAWORTHY_DATA").env_remove("SEAWORTHY_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a node on `input` until it exits.
fn run(args: &[&str], input: &[u8]) -> Output {
    let mut child = command(args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A node that refuses to start does not read.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().unwrap()
    })
}

/// Runs a node that must end in peace; the messages it wrote.
fn talk(args: &[&str], input: &[u8]) -> Vec<Value> {
    let output = run(args, input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    messages(&output)
}

fn messages(output: &Output) -> Vec<Value> {
    let lines = output.stdout.split_inclusive(|b| *b == b'\n');
    lines.map(|line| serde_json::from_slice(line.strip_suffix(b"\n").unwrap()).unwrap()).collect()
}

fn request(body: &str) -> Vec<u8> {
    format!(r#"{{"src":"c2","dest":"n1","body":{body}}}"#).into_bytes()
}

/// Bad input, and the error code it must be answered with, if any.
fn bad_input() -> Vec<(&'static str, Vec<u8>, Option<u64>)> {
    let huge = format!(r#"{{"type":"huh","msg_id":5,"x":"{}"}}"#, "x".repeat(10 << 20));
    let deep =
        format!(r#"{{"type":"echo","msg_id":5,"echo":{}1{}}}"#, "[".repeat(9999), "]".repeat(9998));
    vec![
        ("empty line", b"".to_vec(), None),
        ("blank line", b"  \t\r".to_vec(), None),
        ("garbage", b"GET / HTTP/1.1".to_vec(), None),
        ("half a message", br#"{"src":"c2","dest":"n1","body":{"ty"#.to_vec(), None),
        ("two messages in a line", [PROBE, PROBE].concat().into_bytes(), None),
        ("10 MiB of garbage", vec![b'x'; 10 << 20], None),
        ("10 MiB of an unknown type", request(&huge), Some(10)),
        ("invalid UTF-8", b"\xff\xfe\x80".to_vec(), None),
        (
            "invalid UTF-8 in a value",
            request("?").iter().map(|b| if *b == b'?' { 0xff } else { *b }).collect(),
            None,
        ),
        ("NUL bytes", vec![0; 100], None),
        ("a number", b"42".to_vec(), None),
        ("null", b"null".to_vec(), None),
        ("a list", b"[1,2,3]".to_vec(), None),
        ("no body", br#"{"src":"c2","dest":"n1"}"#.to_vec(), None),
        ("a body of the wrong type", request("[1]"), None),
        ("an empty body", request("{}"), None),
        ("no type", request(r#"{"msg_id":5}"#), Some(12)),
        ("a type of the wrong type", request(r#"{"type":7,"msg_id":5}"#), Some(12)),
        ("a msg_id of the wrong type", request(r#"{"type":"echo","msg_id":"5","echo":1}"#), None),
        ("a negative msg_id", request(r#"{"type":"echo","msg_id":-5,"echo":1}"#), None),
        (
            "a msg_id beyond 64 bits",
            request(r#"{"type":"echo","msg_id":18446744073709551616,"echo":1}"#),
            None,
        ),
        (
            "a source of the wrong type",
            br#"{"src":2,"dest":"n1","body":{"type":"echo","msg_id":5}}"#.to_vec(),
            None,
        ),
        ("a missing field", request(r#"{"type":"echo","msg_id":5}"#), Some(12)),
        ("an unbalanced value", request(&deep), None),
        ("an unknown type", request(r#"{"type":"huh","msg_id":5}"#), Some(10)),
        ("an unknown type that wants no answer", request(r#"{"type":"huh"}"#), None),
        ("an empty type", request(r#"{"type":"","msg_id":5}"#), Some(10)),
        ("a reply to nothing", request(r#"{"type":"echo_ok","in_reply_to":5,"echo":1}"#), None),
        ("an error for nothing", request(r#"{"type":"error","in_reply_to":5,"code":"x"}"#), None),
        (
            "an init of someone else",
            request(r#"{"type":"init","msg_id":5,"node_id":"n2","node_ids":["n2"]}"#),
            Some(22),
        ),
        ("an init without fields", request(r#"{"type":"init","msg_id":5}"#), Some(12)),
    ]
}

#[test]
fn bad_input_never_stops_a_node() {
    for (name, line, code) in bad_input() {
        for args in [&[][..], &["echo"][..]] {
            let input = [INIT.as_bytes(), &line, PROBE.as_bytes(), b""].join(&b'\n');
            let replies = talk(args, &input);
            let errors: Vec<&Value> = replies[1..replies.len() - 1].iter().collect();
            assert_eq!(replies[0]["body"]["type"], "init_ok", "{name}");
            assert_eq!(replies[replies.len() - 1]["body"]["echo"], "still here", "{name}");
            assert_eq!(errors.len(), usize::from(code.is_some()), "{name}: {errors:?}");
            for error in errors {
                let expected = json!({"type": "error", "in_reply_to": 5, "code": code.unwrap(), "text": error["body"]["text"]});
                assert_eq!(*error, json!({"src": "n1", "dest": "c2", "body": expected}), "{name}");
            }
        }
    }
}

#[test]
fn a_message_before_init_is_refused_in_the_name_it_was_sent_to() {
    let replies = talk(&[], [PROBE, INIT, PROBE].join("\n").as_bytes());
    assert_eq!(replies.len(), 3);
    let error = &replies[0];
    assert_eq!((&error["src"], &error["dest"]), (&json!("n1"), &json!("c9")));
    assert_eq!((&error["body"]["code"], &error["body"]["in_reply_to"]), (&json!(11), &json!(99)));
    assert_eq!(replies[2]["body"]["type"], "echo_ok");
}

#[test]
fn a_repeated_init_is_answered_again() {
    let replies = talk(&[], [INIT, INIT].join("\n").as_bytes());
    assert_eq!(replies.len(), 2);
    assert_eq!(replies[0], replies[1]);
}

#[test]
fn the_end_of_input_in_the_middle_of_a_line() {
    let cut = |line: &str| talk(&[], [INIT, PROBE, line].join("\n").as_bytes());
    assert_eq!(cut(PROBE).len(), 3, "a whole message is one without its line end too");
    assert_eq!(cut(&PROBE[..40]).len(), 2, "half a message is none");
}

#[test]
fn no_input_at_all_is_no_mistake() {
    assert_eq!(talk(&[], b""), Vec::<Value>::new());
}

#[test]
fn ten_mebibytes_are_echoed() {
    let text = "é".repeat(5 << 20);
    let echo = request(&json!({"type": "echo", "msg_id": 2, "echo": text}).to_string());
    let replies = talk(&[], &[INIT.as_bytes(), &echo].join(&b'\n'));
    assert!(replies[1]["body"]["echo"] == text.as_str());
}

#[test]
fn values_come_back_as_they_were_sent() {
    for value in [
        "0",
        "-0.0",
        "1e400",
        "123456789012345678901234567890",
        r#""\u0000\ud83d\ude00""#,
        "null",
        r#"{"b":1,"a":[{}]}"#,
    ] {
        let echo = request(&format!(r#"{{"type":"echo","msg_id":2,"echo":{value}}}"#));
        let output = run(&[], &[INIT.as_bytes(), &echo].join(&b'\n'));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!(r#""echo":{value},"in_reply_to":2"#)), "{value}: {text}");
    }
}

/// The messages of real Maelstrom to a node, as recorded.
fn transcript(workload: &str) -> (Vec<u8>, Vec<Value>) {
    let path = format!("../bench/histories/maelstrom/{workload}/stdin.jsonl");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let requests = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (text.into_bytes(), requests)
}

/// The answer a request must get, but for the fields that the node may choose.
fn documented_reply(request: &Value, given: &Value) -> Value {
    let asked = &request["body"];
    let body = match asked["type"].as_str().unwrap() {
        "init" => json!({"type": "init_ok"}),
        "echo" => json!({"type": "echo_ok", "echo": asked["echo"]}),
        "generate" => json!({"type": "generate_ok", "id": given["body"]["id"].as_str().unwrap()}),
        other => panic!("a transcript with {other}"),
    };
    let mut reply = json!({"src": request["dest"], "dest": request["src"], "body": body});
    reply["body"]["in_reply_to"] = asked["msg_id"].clone();
    reply
}

#[test]
fn recorded_transcripts_are_answered_in_full() {
    for workload in ["echo", "unique-ids"] {
        let (text, requests) = transcript(workload);
        for args in [&[][..], &[workload][..]] {
            let replies = talk(args, &text);
            assert_eq!(replies.len(), requests.len(), "{workload}");
            for (request, reply) in requests.iter().zip(&replies) {
                assert_eq!(*reply, documented_reply(request, reply), "{workload}");
            }
            let ids = replies.iter().filter_map(|reply| reply["body"].get("id"));
            let ids: Vec<&str> = ids.map(|id| id.as_str().unwrap()).collect();
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{workload}");
        }
    }
}

#[test]
fn two_lives_of_a_node_share_no_id() {
    let (text, _) = transcript("unique-ids");
    let ids = |replies: Vec<Value>| -> BTreeSet<String> {
        let ids = replies.iter().filter_map(|reply| reply["body"]["id"].as_str());
        ids.map(str::to_owned).collect()
    };
    let (first, second) = (ids(talk(&[], &text)), ids(talk(&[], &text)));
    assert!(!first.is_empty() && first.is_disjoint(&second));
}

#[test]
fn mistakes_on_the_command_line_are_status_2() {
    for args in [
        &["no-such-workload"][..],
        &["--no-such-option"],
        &["echo", "echo"],
        &["--log-level", "=="],
        &["--data-dir"],
    ] {
        let output = run(args, INIT.as_bytes());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn levels_can_be_set_for_single_targets() {
    for level in ["off", "debug", "warn,seaworthy::raft=debug"] {
        let output = run(&["--log-level", level], INIT.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{level}");
    }
}

#[test]
fn help_documents_every_workload() {
    let output = run(&["--help"], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with("A node for Maelstrom"), "not the text of some options");
    for entry in seaworthy_workloads::all() {
        assert!(text.contains(entry.name) && text.contains(entry.summary), "{}", entry.name);
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let mut child = command(&[]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{INIT}").unwrap();
    // Stdin stays open: it is a failed write that ends the node. Not surely the
    // first: a process that is just being started may still hold our end.
    while writeln!(stdin, "{PROBE}").is_ok() {}
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Runs a node that must fail with a word on stderr, and refuse its request.
fn refused(dir: &Path, input: &str) -> String {
    let output = run(&["--data-dir", dir.to_str().unwrap()], input.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    for reply in messages(&output) {
        assert_eq!(reply["body"]["type"], "error", "no init_ok without storage: {reply}");
        assert_eq!(reply["body"]["code"], 11, "{reply}");
    }
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_data_directory_is_made_and_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet/there");
    for _ in 0..2 {
        let replies = talk(&["--data-dir", dir.to_str().unwrap()], INIT.as_bytes());
        assert_eq!(replies[0]["body"]["type"], "init_ok");
        assert!(dir.join("n1").is_dir());
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(refused(&file, INIT).contains(file.to_str().unwrap()));
    // No permission bits needed, so this holds for root, too.
    assert!(refused(Path::new("/proc/none"), INIT).contains("/proc/none"));
}

#[test]
fn an_id_that_leads_out_of_the_data_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let init = INIT.replace(r#""n1""#, r#""../n1""#);
    assert!(refused(&dir.path().join("data"), &init).contains("../n1"));
    assert!(!dir.path().join("n1").exists());
}
