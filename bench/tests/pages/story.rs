//! The diagram marks the messages that decide the verdict.

use seaworthy_bench::check::{Outcome, Verdict};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::{Op, OpType};
use seaworthy_bench::report::{self, Material};
use serde_json::Value;

use crate::browser::Browser;

/// Microseconds as the nanoseconds of a journal.
const MICRO: i64 = 1000;

/// A line of a journal.
fn line(time: i64, event: &str, id: usize, ends: [&str; 2], body: &str) -> String {
    let [src, dest] = ends;
    format!(
        "{{\"time\":{},\"event\":\"{event}\",\"id\":{id},\"src\":\"{src}\",\"dest\":\"{dest}\",\"body\":{body}}}\n",
        time * MICRO
    )
}

/// A message and its arrival after 100 µs.
fn sent(time: i64, id: usize, ends: [&str; 2], body: &str) -> String {
    line(time, "send", id, ends, body) + &line(time + 100, "recv", id, ends, body)
}

/// A client writes 2 at n0, and another one reads 1 at n1, at once after it had the answer to what
/// it asked before.
fn journal() -> [String; 8] {
    let append = r#"{"type":"lin-kv:raft","m":[[7,{"a":[[1,3],3,6,[[1,[4]]]}]]}"#;
    [
        sent(0, 0, ["c5", "n0"], r#"{"type":"write","key":1,"value":2,"msg_id":1}"#),
        sent(100, 1, ["n0", "n1"], append),
        sent(200, 2, ["n0", "c5"], r#"{"type":"write_ok","in_reply_to":1}"#),
        // Another client asks the same node within the same moment.
        sent(1000, 3, ["c8", "n1"], r#"{"type":"read","key":9,"msg_id":1}"#),
        sent(1000, 4, ["n1", "c6"], r#"{"type":"read_ok","value":7,"in_reply_to":0}"#),
        sent(1000, 5, ["c6", "n1"], r#"{"type":"read","key":1,"msg_id":1}"#),
        sent(1100, 6, ["n1", "c6"], r#"{"type":"read_ok","value":1,"in_reply_to":1}"#),
        sent(9000, 7, ["n1", "c8"], r#"{"type":"read_ok","value":9,"in_reply_to":1}"#),
    ]
}

fn history() -> Vec<Op> {
    let op = |time: i64, process: u64, kind, f: &str, value: i64| Op {
        time: time * MICRO,
        ..Op::new(kind, process, f, Edn::vector([1, value]))
    };
    let mut ops = vec![
        op(0, 0, OpType::Invoke, "write", 2),
        op(300, 0, OpType::Ok, "write", 2),
        op(1000, 1, OpType::Invoke, "read", 0),
        op(1200, 1, OpType::Ok, "read", 1),
    ];
    ops.iter_mut().enumerate().for_each(|(index, op)| op.index = index);
    ops
}

/// Opens the page of the first messages of that run, of which a part of the results is wrong.
fn open(browser: &mut Browser, part: &str, map: Edn, messages: usize) {
    let (history, journal) = (history(), journal()[..messages].concat());
    let outcome = Outcome::new(Verdict::Invalid, [(part, map)]);
    let mut material = Material::of_history("lin-kv", &history, &outcome);
    material.nodes = vec!["n0".to_owned(), "n1".to_owned()];
    material.concurrency = 2;
    material.traffic = report::Traffic::read(journal.as_bytes());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("story.html");
    std::fs::write(&file, report::html(&mut material)).unwrap();
    browser.open(&file);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// The messages of the story: true of the decisive ones.
fn told(browser: &mut Browser) -> Value {
    browser.eval(
        "(async () => { const data = await unpack(), head = data.head;
           const model = { head, ops: readOperations(data), messages: readMessages(data) };
           model.story = storyOf(model);
           return [...model.story.told].map(([i, decides]) => [labelOf(model, i), decides]); })()",
    )
}

#[test]
fn the_messages_of_the_decisive_operation_are_marked_and_told() {
    let Some(mut browser) = Browser::start() else { return };
    let wrong = history().pop().unwrap().to_edn();
    let before = history().swap_remove(1).to_edn();
    let map = Edn::map([("valid?", Edn::Bool(false)), ("ops", Edn::vector([wrong, before]))]);
    open(&mut browser, "stale", map, 8);
    let expected = serde_json::json!([
        ["write 1 2", false],
        ["write_ok", false],
        ["read 1", true],
        ["read_ok 1", true]
    ]);
    assert_eq!(told(&mut browser), expected);
    assert_eq!(browser.eval("document.getElementById('diagram').dataset.told"), "4");
}

#[test]
fn the_last_input_of_a_node_that_broke_an_invariant_decides() {
    let Some(mut browser) = Browser::start() else { return };
    let broken = Edn::str("n1 committed 4@7 without a quorum");
    let map = Edn::map([("valid?", Edn::Bool(false)), ("broken", broken)]);
    let label = "unpack().then(data => data.head.focusLabel)";
    open(&mut browser, "invariants", map.clone(), 7);
    assert_eq!(told(&mut browser), serde_json::json!([["read 1", true]]));
    assert_eq!(browser.eval(label), "n1 breaks an invariant");
    // A later act of n1 is no answer to that.
    open(&mut browser, "invariants", map, 8);
    assert_eq!(told(&mut browser), serde_json::json!([]));
    assert_eq!(browser.eval(label), "an invariant breaks");
    let leads = browser.eval(
        r#"raftLeads("lin-kv:raft", '{"m":[[7,{"a":[[1,3],3,6,[]]}]]}') + " " + raftLeads("lin-kv:raft", '{"m":[[7,"n"]]}')"#,
    );
    assert_eq!(leads, "7 null");
}
