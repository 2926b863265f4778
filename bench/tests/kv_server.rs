//! The served cluster in the simulation: the faults that an exploration draws break no promise.
//!
//! `cargo test -p seaworthy-bench --features kv-server --test kv_server`; `KV_SEEDS` is the
//! number of seeds.

// Tests take their number of seeds from the environment.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use seaworthy_bench::challenge::kv_server::KvServer;
use seaworthy_bench::explore::Explore;

#[test]
fn faults_and_snapshots_break_no_promise() {
    let seeds = std::env::var("KV_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let explored = Explore::of(KvServer).seeds(seeds).run();
    assert!(explored.is_ok(), "{}", explored.err().unwrap());
}
