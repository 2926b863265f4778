//! The cost of a poll, by the offset that it begins at.
//!
//! `cargo bench -p seaworthy-workloads --bench kafka [-- MESSAGES]`
//!
//! One log of MESSAGES small messages (800,000 by default), polled at its beginning, in its
//! middle, shortly before its end and beyond it. Not a timed test.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock and reports on stdout"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use seaworthy::shell::raft::StateMachine;
use seaworthy_workloads::kafka::logs::Logs;
use serde_json::value::RawValue;

const POLLS: u32 = 2000;

fn main() {
    let number = std::env::args().skip(1).find(|arg| arg != "--bench");
    let messages: u64 = number.map_or(800_000, |n| n.parse().expect("a number of messages"));
    let mut logs = Logs::new(None);
    for n in 0..messages {
        let command = RawValue::from_string(format!(r#"{{"s":["a",{n}]}}"#)).unwrap();
        logs.apply(&command);
    }
    for offset in [0, messages / 2, messages.saturating_sub(10), messages + 10] {
        let asked = BTreeMap::from([("a".to_owned(), offset)]);
        let found = logs.poll(&asked).values().map(Vec::len).sum::<usize>();
        let start = Instant::now();
        for _ in 0..POLLS {
            black_box(logs.poll(black_box(&asked)));
        }
        println!("poll at {offset}: {found} messages, {:.2?}", start.elapsed() / POLLS);
    }
}
