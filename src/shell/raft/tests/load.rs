//! Large commands, long ways, few sessions: how often each is sent.

use serde_json::{Value, json};

use super::net::Net;
use super::{append, appended, plain, read};

/// A command of `bytes` bytes.
fn large(bytes: usize) -> Value {
    json!({"type": "append", "value": "x".repeat(bytes)})
}

fn served(net: &Net, requests: &[u64], kind: &str) -> usize {
    requests
        .iter()
        .filter(|r| net.answered_at(**r).is_some() && net.answer(**r)["type"] == kind)
        .count()
}

/// `count` commands of `bytes` bytes wait at n2 while the leader n0 dies. All of them must
/// succeed, and not cost more than `most` times their length.
fn commands_outlive_the_leader(count: usize, bytes: usize, most: usize) {
    let mut net = Net::new(3, 10);
    net.call(2, append(0));
    net.max_line_bytes = 6 << 20;
    let requests: Vec<u64> = (0..count).map(|_| net.ask(2, large(bytes))).collect();
    net.kill(0);
    let before = net.bytes;
    net.run_ms(8000);
    assert_eq!(served(&net, &requests, "append_ok"), count);
    assert!(net.longest <= net.max_line_bytes, "{} bytes in one message", net.longest);
    let sent = net.bytes - before;
    assert!(sent <= most * count * bytes, "{sent} bytes for {count} times {bytes}");
}

#[test]
fn many_commands_that_wait_while_the_leader_dies_are_not_sent_over_and_over() {
    commands_outlive_the_leader(64, 256 << 10, 4);
}

#[test]
fn a_few_large_commands_that_wait_while_the_leader_dies_are_not_sent_over_and_over() {
    commands_outlive_the_leader(4, 5 << 20, 6);
}

#[test]
fn a_command_that_no_message_could_hold_is_refused_at_once() {
    let mut net = Net::new(3, 10);
    assert_eq!(net.call(1, large(64 << 20))["code"], 10);
}

#[test]
fn a_command_that_is_long_on_its_way_stands_in_the_log_once() {
    for latency_ms in [450, 600] {
        let mut net = Net::stopped(3, latency_ms);
        (0..3).for_each(|node| net.start(node));
        net.run_ms(30_000);
        let before = net.raft(0).status().last.index;
        let mut requests = Vec::new();
        for value in 0..100 {
            requests.push(net.ask(1, append(value)));
            net.run_ms(20);
        }
        net.run_ms(15_000);
        assert_eq!(served(&net, &requests, "append_ok"), 100);
        assert_eq!(net.raft(0).status().last.index - before, 100);
    }
}

#[test]
fn an_answer_that_came_in_a_snapshot_is_given_unless_it_was_large() {
    let mut net = Net::new(3, 10);
    net.options.compact_bytes = 300;
    net.options.keep_entries = 0;
    (0..3).for_each(|node| net.kill(node));
    net.boot();
    net.call(1, append(0));
    // n1 reaches the leader and hears no other node, until the entries it asked for are compacted.
    net.cut_link(0, 1, true);
    net.cut_link(2, 1, true);
    let small = net.ask(1, append(1));
    let large_answer = net.ask(1, json!({"type": "append", "value": {"answer": 5000}}));
    net.run_ms(100);
    for value in 2..60 {
        net.ask(0, append(value));
        net.run_ms(2);
    }
    net.run_ms(100);
    assert!(net.raft(0).status().base.index > net.raft(1).status().last.index);
    net.cut_link(0, 1, false);
    net.cut_link(2, 1, false);
    net.run_ms(3000);
    assert_eq!(plain(net.answer(small)), appended(2));
    assert_eq!(net.answer(large_answer)["code"], 0, "it happened, but who knows how it ended");
    assert_eq!(net.call(1, read())["list"].as_array().map(Vec::len), Some(61));
}

#[test]
fn a_command_of_a_session_that_has_ended_does_not_happen_and_is_not_refused_for_certain() {
    let mut net = Net::stopped(3, 10);
    net.options.max_sessions = 3;
    net.boot();
    (0..3).for_each(|node| drop(net.call(node, append(node as u64))));
    // n2 falls silent; the others start anew, and their sessions push its session out.
    net.isolate(2, true);
    let late = net.ask(2, append(3));
    for _ in 0..3 {
        net.kill(1);
        net.start(1);
        net.run_ms(1500);
        assert_eq!(net.call(0, read())["type"], "read_ok");
    }
    net.isolate(2, false);
    net.run_ms(3000);
    assert_eq!(net.answer(late)["code"], 0);
    assert_eq!(net.call(0, read())["list"], json!([0, 1, 2]));
    // Its next session serves it.
    assert_eq!(plain(net.call(2, append(4))), appended(4));
}
