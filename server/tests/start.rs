//! Three servers start in any order, and one alone raises no term.
//!
//! `STARTS` is the number of starts of a cluster, `ALONE_SECONDS` how long one server waits.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::time::{Duration, Instant};

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use support::{Cluster, http, wait_for};

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn new_cluster() -> Cluster {
    Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 3)
}

#[test]
fn three_servers_in_any_order_are_healthy_soon_after_the_second() {
    let mut draw = Pcg64Mcg::seed_from_u64(number("SEED", 1));
    let mut longest = Duration::ZERO;
    let starts = number("STARTS", 4);
    for round in 0..starts {
        let [first, second, third] = ORDERS[draw.next_u64() as usize % ORDERS.len()];
        let pause = Duration::from_millis(draw.next_u64() % 1500);
        let mut cluster = new_cluster();
        cluster.start_one(first);
        std::thread::sleep(pause);
        let began = Instant::now();
        cluster.start_one(second);
        cluster.wait_healthy();
        let took = began.elapsed();
        longest = longest.max(took);
        println!("round {round}: {first}, after {pause:?} {second}: healthy after {took:?}");
        assert!(took < Duration::from_secs(3), "round {round}: {}", cluster.log("n0"));
        cluster.start_one(third);
        cluster.wait_healthy();
    }
    println!("{starts} starts, the longest took {longest:?}");
}

#[test]
fn a_server_alone_raises_no_term() {
    let mut cluster = new_cluster();
    cluster.start_one(1);
    let port = cluster.servers[1].port;
    let status = || http(port, "POST", "/v3/maintenance/status", b"{}");
    wait_for("the port", Duration::from_secs(10), || status().is_some());
    std::thread::sleep(Duration::from_secs(number("ALONE_SECONDS", 4)));
    let (_, answer) = status().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let of = |name: &str| answer[name].as_str().unwrap_or("0").to_owned();
    assert_eq!((of("raftTerm"), of("leader")), ("0".to_owned(), "0".to_owned()), "{answer}");
}
