//! Snapshots: when they are made, and followers that need one.

use std::collections::BTreeMap;

use super::net::Net;
use super::{append, read};

/// A cluster with pieces, logs and limits that are small, so that little is much.
fn small(latency_ms: u64) -> Net {
    let mut net = Net::stopped(3, latency_ms);
    net.options.snapshot_chunk_bytes = 2 << 10;
    net.options.compact_bytes = 16 << 10;
    net.options.keep_entries = 16;
    net.boot();
    net
}

#[test]
fn a_follower_of_a_busy_leader_catches_up() {
    let mut net = small(100);
    for value in 0..300 {
        net.ask(0, append(value));
        net.run_ms(5);
    }
    net.kill(2);
    for value in 0..2000 {
        net.ask(0, append(100_000 + value));
        net.run_ms(5);
    }
    net.start(2);
    // The log grows by two dozen pieces in the time in which one comes and is answered.
    let caught_up = (0..100).position(|_| {
        for value in 0..80 {
            net.ask(0, append(900_000 + value));
        }
        net.run_ms(100);
        let commit = |node| net.status(node).expect("it runs").commit;
        commit(2) + 400 > commit(0)
    });
    assert!(caught_up.is_some(), "n2 is behind: {:?} of {:?}", net.status(2), net.status(0));
}

#[test]
fn a_node_that_is_far_behind_leaves_reads_to_its_leader() {
    let mut net = Net::stopped(3, 20);
    net.options.follower_reads = true;
    net.options.snapshot_chunk_bytes = 10;
    net.options.max_inflight = 1;
    net.options.compact_bytes = 300;
    net.options.keep_entries = 0;
    net.boot();
    net.kill(2);
    for value in 0..300 {
        net.ask(0, append(value));
        net.run_ms(5);
    }
    net.start(2);
    net.run_ms(1000);
    // A snapshot of a thousand bytes takes a hundred round trips here.
    let answer = net.call(2, read());
    let applied = |node| net.status(node).expect("it runs").applied;
    assert!(applied(2) + 100 < applied(0), "n2 has caught up already: {:?}", net.status(2));
    assert_eq!(answer["list"].as_array().map(Vec::len), Some(300));
}

#[test]
fn replicas_do_not_all_make_their_snapshots_at_the_same_moment() {
    let mut net = small(1);
    let mut made: BTreeMap<u64, usize> = BTreeMap::new();
    let mut last = [0; 3];
    for value in 0..10_000 {
        net.ask(0, append(value));
        net.run_ms(1);
        for (node, last) in last.iter_mut().enumerate() {
            let now = net.snapshot_at(node);
            if now != std::mem::replace(last, now) {
                *made.entry(now).or_default() += 1;
            }
        }
    }
    let together = made.values().filter(|count| **count > 1).count();
    assert!(made.len() >= 12, "only {} snapshots were made", made.len());
    assert!(together * 10 <= made.len(), "{together} of {} at the same entry", made.len());
}
