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
    // Whoever leads when the change is complete may not know who asked.
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
fn what_is_so_already_is_answered_at_once() {
    let mut net = Net::new(3, 10);
    assert_eq!(net.call(1, change("add_member", "n2"))["type"], "add_member_ok");
}

#[test]
fn the_last_member_cannot_be_removed() {
    let mut net = Net::new(1, 10);
    assert_eq!(net.call(0, change("remove_member", "n0"))["type"], "error");
    assert_eq!(plain(net.call(0, append(1))), appended(1));
}
