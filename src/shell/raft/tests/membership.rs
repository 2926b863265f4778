//! Members come and go.

use serde_json::{Value, json};

use super::net::Net;
use super::{append, appended, plain, read};

fn change(kind: &str, node: &str) -> Value {
    json!({"type": kind, "node_id": node})
}

#[test]
fn a_node_that_is_no_member_refuses_until_it_is_one() {
    let mut net = Net::stopped(3, 10);
    net.initial = Some(vec!["n0", "n1"]);
    net.boot();
    assert_eq!(net.call(2, append(1))["code"], 40);
    assert_eq!(net.call(2, read())["code"], 40);
    assert_eq!(net.call(2, change("add_member", "n2"))["code"], 40);
    assert_eq!(plain(net.call(0, append(2))), appended(1));
    assert_eq!(net.call(1, change("add_member", "n2"))["type"], "add_member_ok");
    net.run_ms(200);
    assert_eq!(net.call(2, read())["list"], json!([2]));
    assert_eq!(plain(net.call(2, append(3))), appended(2));
    // It counts: without n1 the other two are a majority.
    net.kill(1);
    assert_eq!(plain(net.call(2, append(4))), appended(3));
}

#[test]
fn a_member_that_is_removed_learns_it_and_the_others_go_on() {
    let mut net = Net::new(3, 10);
    assert_eq!(net.call(0, change("remove_member", "n2"))["type"], "remove_member_ok");
    net.run_ms(200);
    assert_eq!(net.call(2, append(1))["code"], 40);
    assert_eq!(plain(net.call(1, append(2))), appended(1));
    assert_eq!(net.call(1, change("add_member", "n2"))["type"], "add_member_ok");
    net.run_ms(200);
    assert_eq!(plain(net.call(2, append(3))), appended(2));
}

#[test]
fn a_member_that_was_out_of_reach_when_removed_learns_it_later() {
    let mut net = Net::new(3, 10);
    net.isolate(2, true);
    assert_eq!(net.call(0, change("remove_member", "n2"))["type"], "remove_member_ok");
    net.run_ms(5000);
    net.isolate(2, false);
    net.run_ms(2500);
    assert_eq!(net.call(2, append(1))["code"], 40);
}

#[test]
fn the_leader_can_be_removed() {
    let mut net = Net::new(3, 10);
    let request = net.ask(1, change("remove_member", "n0"));
    net.run_ms(3000);
    assert_eq!(plain(net.call(1, append(1))), appended(1));
    assert_eq!(net.call(0, read())["code"], 40);
    // The leader that completes the change may not know who asked.
    if let Some(at) = net.answered_at(request) {
        assert_eq!(net.answer(request)["type"], "remove_member_ok", "answered at {at}");
    }
}

#[test]
fn a_node_that_does_not_exist_cannot_be_added() {
    let mut net = Net::new(3, 10);
    assert_eq!(net.call(0, change("add_member", "n9"))["code"], 1);
}

#[test]
fn a_change_that_changes_nothing_is_answered_at_once() {
    let mut net = Net::new(3, 10);
    assert_eq!(net.call(1, change("add_member", "n2"))["type"], "add_member_ok");
}

#[test]
fn the_last_member_cannot_be_removed() {
    let mut net = Net::new(1, 10);
    assert_eq!(net.call(0, change("remove_member", "n0"))["type"], "error");
    assert_eq!(plain(net.call(0, append(1))), appended(1));
}

fn change_members(add: &[&str], remove: &[&str]) -> Value {
    json!({"type": "change_members", "add": add, "remove": remove})
}

/// Whether the last configuration that n`node` knows has these voters and no others.
fn has_voters(net: &Net, node: usize, numbers: &[u64]) -> bool {
    let (_, config) = net.raft(node).configuration();
    let voters: Vec<u64> = config.voters.iter().map(|id| id.0 - 1).collect();
    voters == numbers && config.learners.is_empty() && !config.is_joint()
}

#[test]
fn a_change_that_arrives_twice_is_not_refused() {
    let mut net = Net::new(3, 10);
    net.network.weather.repeat_percent = 100;
    assert_eq!(net.call(1, change("remove_member", "n2"))["type"], "remove_member_ok");
    assert_eq!(net.call(1, change("add_member", "n2"))["type"], "add_member_ok");
    assert!(has_voters(&net, 0, &[0, 1, 2]));
}

#[test]
fn a_change_whose_leader_dies_is_never_refused_for_certain_if_it_takes_effect() {
    for wait_ms in 5..45 {
        let mut net = Net::new(5, 10);
        let request = net.ask(1, change("remove_member", "n4"));
        net.run_ms(wait_ms);
        net.kill(0);
        net.run_ms(9000);
        let answer = net.answer(request);
        let happened = has_voters(&net, 1, &[0, 1, 2, 3]);
        match answer["type"].as_str() {
            Some("remove_member_ok") => assert!(happened, "after {wait_ms} ms: {answer}"),
            _ => assert!(answer["code"] == 0 || !happened, "after {wait_ms} ms: {answer}"),
        }
    }
}

#[test]
fn adding_a_dead_node_is_given_up_and_blocks_nothing() {
    let mut net = Net::stopped(4, 10);
    net.initial = Some(vec!["n0", "n1", "n2"]);
    net.boot();
    net.kill(3);
    let add = net.ask(0, change("add_member", "n3"));
    let joined = net.ask(1, change("add_member", "n3"));
    net.run_ms(500);
    assert_eq!(net.call(1, change("remove_member", "n2"))["code"], 11, "one at a time");
    net.run_ms(3500);
    assert_eq!(net.answer(add)["code"], 11);
    assert_eq!(net.answer(joined)["code"], 11);
    assert_eq!(net.call(1, change("remove_member", "n2"))["type"], "remove_member_ok");
    assert!(has_voters(&net, 0, &[0, 1]));
    // A change that was given up stays so when the node comes back; asked again it succeeds.
    net.start(3);
    net.run_ms(3000);
    assert!(has_voters(&net, 0, &[0, 1]));
    assert_eq!(net.call(1, change("add_member", "n3"))["type"], "add_member_ok");
}

#[test]
fn adding_a_dead_node_can_be_cancelled() {
    let mut net = Net::stopped(4, 10);
    net.initial = Some(vec!["n0", "n1", "n2"]);
    net.boot();
    net.kill(3);
    let add = net.ask(0, change("add_member", "n3"));
    net.run_ms(200);
    assert_eq!(net.call(1, change("remove_member", "n3"))["type"], "remove_member_ok");
    assert_eq!(net.answer(add)["code"], 11);
    assert!(has_voters(&net, 0, &[0, 1, 2]));
}

#[test]
fn several_members_are_replaced_at_once() {
    let mut net = Net::stopped(5, 10);
    net.initial = Some(vec!["n0", "n1", "n2"]);
    net.boot();
    net.call(1, append(1));
    let answer = net.call(1, change_members(&["n3", "n4"], &["n1", "n2"]));
    assert_eq!(answer["type"], "change_members_ok");
    assert!(has_voters(&net, 0, &[0, 3, 4]));
    assert_eq!(net.call(3, read())["list"], json!([1]));
    assert_eq!(net.call(0, change_members(&["n1"], &["n1"]))["code"], 12);
    assert_eq!(net.call(0, change_members(&[], &[]))["code"], 12);
}

#[test]
fn a_leader_that_was_replaced_unknowingly_does_not_say_who_is_a_member() {
    let mut net = Net::new(5, 10);
    net.isolate(0, true);
    // n0 still believes that it leads, and that n4 is a member.
    net.run_ms(300);
    let stale = net.ask(0, change("add_member", "n4"));
    net.run_ms(2000);
    assert_eq!(net.call(1, change("remove_member", "n4"))["type"], "remove_member_ok");
    assert_eq!(net.answered_at(stale), None);
}

/// n2 comes back without its memory, is heard once, and dies for good.
#[test]
fn a_change_that_needs_a_node_that_abstains_is_refused_and_blocks_nothing() {
    let mut net = Net::new(3, 10);
    net.wipe(2);
    net.start(2);
    while net.status(2).is_none_or(|status| status.leader.is_none()) {
        net.run_ms(1);
    }
    net.run_ms(11);
    net.kill(2);
    assert_eq!(net.call(0, change("remove_member", "n1"))["code"], 11);
    let removed = net.call(0, change("remove_member", "n2"));
    assert_eq!(removed["type"], "remove_member_ok");
    assert_eq!(plain(net.call(1, append(7))), appended(1));
}
