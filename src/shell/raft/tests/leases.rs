//! Reads from leases, where servers are not equally far from each other.

use std::time::Duration;

use serde_json::{Value, json};

use super::net::Net;
use super::{append, read};

/// How long the majority goes on while its old leader is cut off, in steps of 10 ms.
const STEPS: u64 = 250;

/// Lets clients write to n1 and read at n0, which was cut off from all others at this
/// moment. Returns how many reads at n0 missed a write that was acknowledged before.
fn stale_reads(net: &mut Net) -> usize {
    let cut = net.now();
    let mut writes: Vec<(u64, u64)> = Vec::new();
    let mut reads: Vec<(u64, Vec<u64>, u64)> = Vec::new();
    for step in 0..STEPS {
        if step % 5 == 0 {
            writes.push((100 + step, net.ask(1, append(100 + step))));
        }
        let is_done =
            |request: u64| net.peek(request).is_some_and(|answer| answer["type"] == "append_ok");
        let done = writes.iter().filter(|(_, request)| is_done(*request)).map(|(v, _)| *v);
        let done: Vec<u64> = done.collect();
        reads.push((step, done, net.ask(0, read())));
        net.run_ms(10);
    }
    net.run_ms(3000);
    assert!(!reads[STEPS as usize - 1].1.is_empty(), "nothing was written without n0");
    let is_stale = |(step, done, request): &(u64, Vec<u64>, u64)| {
        let answer = net.peek(*request).filter(|answer| answer["type"] == "read_ok");
        let at_once = cut + Duration::from_millis(step * 10 + 20);
        let answer = answer.filter(|_| net.answered_at(*request).is_some_and(|at| at < at_once));
        let misses = |list: &Value| {
            let list = list["list"].as_array().expect("a list");
            done.iter().any(|value| !list.contains(&json!(value)))
        };
        answer.is_some_and(|answer| misses(&answer))
    };
    reads.iter().filter(|read| is_stale(read)).count()
}

#[test]
fn a_lease_does_not_outlive_the_promises_of_servers_that_are_closer() {
    for far_ms in [5, 100, 240, 900] {
        let mut net = Net::stopped(5, 5);
        net.options.lease_reads = true;
        net.network.set_latency(Some(0), Some(4), Duration::from_millis(far_ms));
        net.boot();
        net.run_ms(4000);
        net.call(0, append(1));
        net.run_ms(950);
        net.isolate(0, true);
        assert_eq!(stale_reads(&mut net), 0, "one link of {far_ms} ms");
    }
}
