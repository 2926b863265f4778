//! How long answers take without faults, and in how many messages, exactly.

use super::net::Net;
use super::{append, read};

const LATENCY_MS: u64 = 100;

/// How long a request takes, in milliseconds.
fn took_ms(net: &mut Net, node: usize, body: serde_json::Value) -> u128 {
    let asked = net.now();
    let request = net.ask(node, body);
    net.run_ms(1000);
    (net.answered_at(request).expect("it is answered") - asked).as_millis()
}

/// A cluster that has been idle for long enough that everything is settled.
fn idle() -> Net {
    let mut net = Net::new(3, LATENCY_MS);
    for node in 0..3 {
        // The first command opens the session.
        net.call(node, append(0));
    }
    net.run_ms(2000);
    net
}

#[test]
fn a_write_takes_one_round_trip_at_the_leader_and_two_at_a_follower() {
    let mut net = idle();
    assert_eq!(took_ms(&mut net, 0, append(1)), 200);
    assert_eq!(took_ms(&mut net, 1, append(2)), 400);
    assert_eq!(took_ms(&mut net, 2, append(3)), 400);
}

#[test]
fn a_read_takes_one_round_trip_anywhere_in_a_cluster_of_three() {
    let mut net = idle();
    assert_eq!(took_ms(&mut net, 0, read()), 200);
    // It confirms the leader while it asks.
    assert_eq!(took_ms(&mut net, 1, read()), 200);
}

#[test]
fn reads_that_wait_share_a_round_trip() {
    let mut net = idle();
    let mut messages = |reads: usize| {
        let before = net.messages;
        let asked = net.now();
        let requests: Vec<u64> = (0..reads).map(|_| net.ask(0, read())).collect();
        net.run_ms(200);
        for request in requests {
            let took = net.answered_at(request).expect("answered in time") - asked;
            assert_eq!(took.as_millis(), 200);
        }
        let cost = net.messages - before;
        net.run_ms(1000);
        cost
    };
    let one = messages(1);
    assert!(one >= 2, "no vote was asked for");
    let many = messages(100);
    assert!(many <= one + 2, "{many} messages for a hundred reads, {one} for one");
}
