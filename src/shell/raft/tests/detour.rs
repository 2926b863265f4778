//! Cuts through which a node reaches a majority, but not the leader.

use serde_json::json;

use super::net::Net;
use super::{append, appended, plain, read};

/// Lets each of five nodes hear only its two neighbours in a ring: all of them reach a
/// majority, and the leader n0 reaches n1 and n4.
fn cut_to_a_ring(net: &mut Net, cut: bool) {
    for node in 0..5 {
        for far in [(node + 2) % 5, (node + 3) % 5] {
            net.cut_link(node, far, cut);
        }
    }
}

/// Five nodes that have had a session each, in a ring, after the time it takes to notice.
fn ring() -> Net {
    let mut net = Net::new(5, 10);
    for node in 0..5 {
        net.call(node, append(node as u64));
    }
    cut_to_a_ring(&mut net, true);
    net.run_ms(2000);
    net
}

/// How long a request takes, in milliseconds; it must succeed within a second.
fn took_ms(net: &mut Net, node: usize, body: serde_json::Value) -> u128 {
    let kind = format!("{}_ok", body["type"].as_str().expect("requests have a type"));
    let asked = net.now();
    let request = net.ask(node, body);
    net.run_ms(1000);
    assert_eq!(net.answer(request)["type"], json!(kind));
    (net.answered_at(request).expect("it is answered") - asked).as_millis()
}

#[test]
fn in_a_majorities_ring_every_node_serves_its_clients() {
    let mut net = ring();
    for node in [2, 3] {
        // The first one has to find out who hears a leader.
        assert!(took_ms(&mut net, node, append(10)) <= 200);
        // Two hops there, two back, and the leader's round trip for a write between; the
        // node that passes a read on vouches for the leader, and one more has to.
        assert_eq!(took_ms(&mut net, node, append(11)), 60);
        assert_eq!(took_ms(&mut net, node, read()), 60);
    }
    // It is still the first leader: there was no election.
    assert_eq!(took_ms(&mut net, 0, append(12)), 20);
    cut_to_a_ring(&mut net, false);
    net.run_ms(1000);
    // The direct way again: one hop, the leader's round trip, one hop back.
    assert_eq!(took_ms(&mut net, 2, append(13)), 40);
}

#[test]
fn requests_that_wait_when_the_ring_is_cut_are_not_lost() {
    let mut net = Net::new(5, 10);
    cut_to_a_ring(&mut net, true);
    let write = net.ask(2, append(7));
    let query = net.ask(3, read());
    net.run_ms(1000);
    assert_eq!(plain(net.answer(write)), appended(1));
    assert_eq!(net.answer(query)["type"], "read_ok");
}

#[test]
fn a_command_that_takes_a_detour_and_arrives_twice_happens_once() {
    let mut net = ring();
    net.network.weather.repeat_percent = 100;
    for value in 0..10 {
        let answer = plain(net.call(2 + value as usize % 2, append(value)));
        assert_eq!(answer, appended(value as usize + 6));
    }
}

#[test]
fn a_follower_that_hears_the_leader_and_cannot_reach_it_takes_a_detour() {
    let mut net = Net::new(3, 10);
    assert_eq!(plain(net.call(1, append(1))), appended(1));
    net.cut_link(1, 0, true);
    // It takes a while until the silence is noticed.
    assert!(took_ms(&mut net, 1, append(2)) < 1000);
    assert_eq!(took_ms(&mut net, 1, append(3)), 60);
    assert_eq!(took_ms(&mut net, 1, read()), 40);
    net.cut_link(1, 0, false);
    net.run_ms(5000);
    assert_eq!(took_ms(&mut net, 1, append(4)), 40);
}

#[test]
fn when_the_one_that_passes_requests_on_dies_another_is_found() {
    let mut net = ring();
    assert!(took_ms(&mut net, 2, append(1)) <= 200);
    // Now the leader is followed by n3 instead of n1.
    net.cut_link(0, 3, false);
    net.cut_link(3, 0, false);
    net.kill(1);
    net.run_ms(500);
    assert!(took_ms(&mut net, 2, append(2)) < 1000);
    assert_eq!(took_ms(&mut net, 2, append(3)), 60);
}

#[test]
fn a_replica_that_seeks_a_route_and_becomes_the_leader_needs_no_route() {
    let mut net = Net::new(3, 10);
    // n1 loses the leader, and hears that n2 still has one, when that one is gone.
    net.cut_link(0, 1, true);
    net.cut_link(1, 0, true);
    let write = net.ask(1, append(1));
    net.run_ms(450);
    net.kill(0);
    net.run_ms(2500);
    assert_eq!(net.answer(write)["type"], "append_ok");
    for node in [1, 2] {
        assert!(took_ms(&mut net, node, append(2)) <= 40);
        assert!(took_ms(&mut net, node, read()) <= 40);
    }
}

#[test]
fn without_a_majority_no_client_is_served() {
    let mut net = Net::new(3, 10);
    (0..3).for_each(|node| net.isolate(node, true));
    let write = net.ask(1, append(1));
    let query = net.ask(1, read());
    net.run_ms(5000);
    assert_eq!(net.answered_at(write), None);
    assert_eq!(net.answer(query)["code"], 11);
}

#[test]
fn in_good_weather_no_replica_asks_for_a_route() {
    let mut net = Net::new(3, 10);
    net.call(1, append(0));
    net.run_ms(2000);
    let messages = |net: &mut Net, body: Option<serde_json::Value>| {
        let before = net.messages;
        if let Some(body) = body {
            net.ask(1, body);
        }
        net.run_ms(60);
        net.messages - before
    };
    // There are heartbeats in some of these spans; a span without one tells the cost.
    let mut cheapest = |body: fn() -> Option<serde_json::Value>| {
        (0..20).map(|_| messages(&mut net, body())).min().expect("ten spans")
    };
    assert_eq!(cheapest(|| None), 0);
    // There and back; two appends and their acknowledgements, of which one is in time to
    // take the outcome along.
    assert_eq!(cheapest(|| Some(append(1))), 6);
    assert_eq!(cheapest(|| Some(read())), 2);
}
