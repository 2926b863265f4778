//! Retries, changes of leader, restarts.

use serde_json::json;

use super::net::Net;
use super::{append, appended, plain, read};
use crate::message::ErrorCode;

#[test]
fn a_command_that_arrives_twice_happens_once() {
    let mut net = Net::new(3, 10);
    net.network.weather.repeat_percent = 100;
    for value in 0..20 {
        let node = value as usize % 3;
        let answer = plain(net.call(node, append(value)));
        assert_eq!(answer, appended(value as usize + 1));
    }
    let expected: Vec<u64> = (0..20).collect();
    assert_eq!(net.call(1, read())["list"], json!(expected));
}

#[test]
fn a_command_is_sent_again_when_the_answer_is_lost() {
    let mut net = Net::new(3, 10);
    // n1 reaches its leader and hears nothing from it, but not for so long that it
    // would look for another.
    net.cut_link(0, 1, true);
    let request = net.ask(1, append(7));
    net.run_ms(450);
    assert_eq!(net.answered_at(request), None);
    net.cut_link(0, 1, false);
    net.run_ms(600);
    assert_eq!(plain(net.answer(request)), appended(1));
    assert_eq!(net.call(2, read())["list"], json!([7]));
}

#[test]
fn a_forwarded_command_survives_a_leader_that_dies_before_replicating() {
    let mut net = Net::new(3, 10);
    let request = net.ask(2, append(7));
    net.run_ms(5);
    // The command is on its way to a node that will be dead.
    net.kill(0);
    net.run_ms(3000);
    assert_eq!(plain(net.answer(request)), appended(1));
    assert_eq!(net.call(1, read())["list"], json!([7]));
}

#[test]
fn a_forwarded_command_survives_a_leader_that_dies_after_replicating() {
    let mut net = Net::new(3, 10);
    let request = net.ask(2, append(7));
    net.run_ms(15);
    // Both followers will have the entry, and n2 will send its command again.
    net.kill(0);
    net.run_ms(3000);
    assert_eq!(plain(net.answer(request)), appended(1));
    assert_eq!(net.call(1, read())["list"], json!([7]));
}

#[test]
fn a_command_that_may_be_in_a_log_is_not_refused_for_certain() {
    let mut net = Net::new(3, 10);
    net.isolate(0, true);
    // It is in the old leader's log, and only there.
    let stranded = net.ask(0, append(1));
    net.run_ms(4000);
    assert_eq!(net.answered_at(stranded), None, "its outcome is open");
    let refused = net.ask(0, append(2));
    let unread = net.ask(0, read());
    net.run_ms(8000);
    let code = |request| net.answer(request)["code"].as_u64();
    let is = |code: ErrorCode| Some(u64::from(code.0));
    assert_eq!(code(stranded), is(ErrorCode::TIMEOUT));
    // These have never left the node.
    assert_eq!(code(refused), is(ErrorCode::TEMPORARILY_UNAVAILABLE));
    assert_eq!(code(unread), is(ErrorCode::TEMPORARILY_UNAVAILABLE));
    net.isolate(0, false);
    net.run_ms(3000);
    let list = net.call(1, read())["list"].clone();
    assert!(list == json!([]) || list == json!([1]), "the refused one happened: {list}");
}

#[test]
fn a_read_at_a_follower_sees_what_was_answered_anywhere() {
    let mut net = Net::new(3, 10);
    for value in 0..5 {
        let write = net.ask(value as usize % 3, append(value));
        while net.answered_at(write).is_none() {
            net.run_ms(1);
        }
        let expected: Vec<u64> = (0..=value).collect();
        for node in 0..3 {
            assert_eq!(net.call(node, read())["list"], json!(expected));
        }
    }
}

#[test]
fn a_leader_that_was_replaced_unknowingly_answers_no_reads() {
    let mut net = Net::new(3, 10);
    net.isolate(0, true);
    let early = net.ask(0, read());
    net.run_ms(2500);
    assert_eq!(plain(net.call(1, append(1))), appended(1));
    assert_eq!(net.answer(early)["code"], 11);
}

#[test]
fn a_restart_replays_the_log_and_the_sessions() {
    let mut net = Net::new(3, 10);
    net.options.compact_bytes = 600;
    (0..3).for_each(|node| net.kill(node));
    net.boot();
    for value in 0..60 {
        assert_eq!(net.call(value as usize % 3, append(value))["type"], "append_ok");
    }
    assert!(net.disk_records(0) < 60, "the log was not compacted");
    (0..3).for_each(|node| net.kill(node));
    net.boot();
    let expected: Vec<u64> = (0..60).collect();
    assert_eq!(net.call(2, read())["list"], json!(expected));
    assert_eq!(plain(net.call(1, append(60))), appended(61));
}

#[test]
fn a_cluster_of_one_answers_and_remembers() {
    let mut net = Net::new(1, 10);
    assert_eq!(plain(net.call(0, append(5))), appended(1));
    net.kill(0);
    net.boot();
    assert_eq!(net.call(0, read())["list"], json!([5]));
}

#[test]
fn a_follower_that_comes_back_without_its_memory_gets_everything_again() {
    let mut net = Net::new(3, 10);
    for value in 0..5 {
        net.call(1, append(value));
    }
    net.wipe(1);
    net.start(1);
    net.run_ms(1000);
    // The leader alone could not commit this.
    net.kill(2);
    assert_eq!(plain(net.call(1, append(5))), appended(6));
    assert_eq!(net.call(1, read())["list"], json!([0, 1, 2, 3, 4, 5]));
}

/// The leader has the acknowledged entries; the others are a majority, and found a cluster
/// of their own while they cannot hear it.
#[test]
fn two_clusters_do_not_listen_to_each_other() {
    let mut net = Net::new(3, 10);
    (0..20).for_each(|value| drop(net.call(1, append(value))));
    net.isolate(0, true);
    (1..3).for_each(|node| net.wipe(node));
    (1..3).for_each(|node| net.start(node));
    net.run_ms(3000);
    // They elect once more, so that their entries cannot be taken for those of n0.
    (1..3).for_each(|node| net.kill(node));
    (1..3).for_each(|node| net.start(node));
    net.run_ms(3000);
    net.call(1, append(99));
    net.isolate(0, false);
    net.run_ms(5000);
    let refused = net.call(0, read());
    assert_eq!(refused["code"], 11);
    let text = refused["text"].as_str().unwrap();
    assert!(text.contains("n0 is of cluster") && text.contains("neither listens"), "{text}");
    assert_eq!(net.call(1, read())["list"], json!([99]), "no history overwrote the other");
}

#[test]
fn a_majority_that_comes_back_without_its_memory_waits() {
    let mut net = Net::new(3, 10);
    (0..20).for_each(|value| drop(net.call(1, append(value))));
    (1..3).for_each(|node| net.wipe(node));
    (1..3).for_each(|node| net.start(node));
    net.run_ms(3000);
    for node in 0..3 {
        assert_ne!(net.call(node, append(99))["type"], "append_ok");
    }
}

/// n1 hears the leader and dies before its disk holds anything, so it has promised nothing.
/// n2 loses all that it promised, and only n0 and n1 together can bring it back.
#[test]
fn a_node_that_dies_before_anything_is_durable_counts_in_its_next_life() {
    let mut net = Net::stopped(3, 10);
    net.stall_disk(1);
    net.boot();
    net.kill(1);
    net.wipe(2);
    (1..3).for_each(|node| net.start(node));
    net.run_ms(3000);
    assert_eq!(plain(net.call(0, append(7))), appended(1));
    // Now n2 is counted as well.
    net.kill(1);
    net.run_ms(3000);
    assert_eq!(plain(net.call(2, append(8))), appended(2));
}

/// n1 and n0 committed an entry that n2 has not; n1 loses it.
#[test]
fn a_tail_that_is_gone_does_not_vote() {
    for seed in 0..8 {
        let mut net = Net::new(3, 10);
        net.isolate(2, true);
        (0..20).for_each(|value| drop(net.call(0, append(value))));
        (0..2).for_each(|node| net.kill(node));
        net.isolate(2, false);
        assert!(net.roll_back(1, seed) > 0);
        net.start(1);
        net.run_ms(3000);
        assert_ne!(net.call(2, append(77))["type"], "append_ok", "seed {seed}: n1 voted");
        // It is told once more, now that something was written.
        net.kill(1);
        net.start(1);
        net.run_ms(3000);
        assert_ne!(net.call(2, append(77))["type"], "append_ok", "seed {seed}: n1 forgot");
        net.start(0);
        net.run_ms(3000);
        // It has everything again, and is counted.
        net.kill(2);
        let list = net.call(1, read())["list"].clone();
        let expected: Vec<u64> = (0..20).collect();
        assert_eq!(list.as_array().unwrap()[..20], *json!(expected).as_array().unwrap());
        assert_eq!(net.call(1, append(78))["type"], "append_ok", "seed {seed}: n1 still abstains");
    }
}

#[test]
fn a_node_that_no_quorum_can_bring_back_refuses() {
    let mut net = Net::new(1, 10);
    (0..5).for_each(|value| drop(net.call(0, append(value))));
    net.kill(0);
    assert!(net.roll_back(0, 1) > 0);
    net.start(0);
    let refused = net.call(0, read());
    assert_eq!(refused["code"], 11);
    assert!(refused["text"].as_str().unwrap().contains("which were durable, are gone"));
}
