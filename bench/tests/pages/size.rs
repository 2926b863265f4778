//! A run of 100,000 operations and 1,000,000 messages.
//!
//! The test holds the page to its size. How long it takes to write, to open and to zoom is
//! printed by
//!
//! ```sh
//! cargo test --release -p seaworthy-bench --test pages -- --nocapture large
//! ```

// The purpose is to print how long things take.
#![allow(clippy::print_stderr, clippy::disallowed_methods)]

use std::fmt::Write;
use std::time::Instant;

use seaworthy_bench::check::{Finding, Outcome, Verdict};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::{Op, OpType};
use seaworthy_bench::report::{self, Material};

use crate::browser::Browser;
use crate::{drag, drawn};

const OPERATIONS: u64 = 100_000;
const MESSAGES: u64 = 1_000_000;
/// Nanoseconds between two messages.
const EVERY: u64 = 60_000;

/// A number that looks drawn.
fn scattered(n: u64) -> u64 {
    (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) % 20_000_000
}

fn history() -> Vec<Op> {
    let op = |n: u64, time: u64, kind, value: i64| {
        let f = if n.is_multiple_of(2) { "write" } else { "read" };
        let value = Edn::vector([i64::try_from(n % 7).unwrap(), value]);
        Op { time: i64::try_from(time).unwrap(), ..Op::new(kind, n % 50, f, value) }
    };
    let gap = MESSAGES * EVERY / OPERATIONS;
    let each = |n: u64| {
        // A process has one operation at a time: 50 of them, 30 ms apart.
        let (start, took) = (n * gap, 100_000 + scattered(n));
        let value = i64::try_from(n).unwrap();
        [op(n, start, OpType::Invoke, value), op(n, start + took, OpType::Ok, value)]
    };
    let mut ops: Vec<Op> = (0..OPERATIONS).flat_map(each).collect();
    ops.sort_by_key(|op| op.time);
    ops.iter_mut().enumerate().for_each(|(index, op)| op.index = index);
    ops
}

fn journal() -> String {
    let mut events: Vec<(u64, u64, &str)> = Vec::new();
    for n in 0..MESSAGES {
        events.push((n * EVERY, n, "send"));
        let end = if n.is_multiple_of(50) { "drop" } else { "recv" };
        events.push((n * EVERY + scattered(n) + 1, n, end));
    }
    events.sort_unstable();
    let mut text = String::new();
    for (time, n, event) in events {
        let (src, dest) = (n % 5 + 1, (n / 5) % 5 + 1);
        let kind = ["append", "append_ok", "vote", "gossip"][(n / 3 % 4) as usize];
        writeln!(
            text,
            "{{\"time\":{time},\"event\":\"{event}\",\"id\":{n},\"src\":\"n{src}\",\"dest\":\"n{dest}\",\
             \"body\":{{\"type\":\"{kind}\",\"msg_id\":{n},\"term\":{},\"entries\":[{},{}]}}}}",
            n / 9999, scattered(n), scattered(n + 1)
        )
        .unwrap();
    }
    text
}

/// A text of so many bytes that no compression makes smaller.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed;
    let mut digit = || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        char::from(b"0123456789abcdefghijklmnopqrstuvwxyz<>&'_-"[(state >> 33) as usize % 42])
    };
    (0..bytes).map(|_| digit()).collect()
}

#[test]
fn no_run_is_too_large_for_a_page() {
    // Every message has a type, an addressee and a body of its own, and every value is long.
    let mut journal = String::new();
    for n in 0..150_000_u64 {
        let (kind, body) = (noise(n, 30), noise(!n, 60));
        writeln!(
            journal,
            "{{\"time\":{},\"event\":\"send\",\"id\":{n},\"src\":\"n{kind}\",\"dest\":\"c{n}\",\
             \"body\":{{\"type\":\"{kind}\",\"x\":\"{body}\"}}}}",
            n * n,
        )
        .unwrap();
    }
    let op = |n: u64, kind| Op::new(kind, n, noise(n, 20), Edn::str(noise(n, 300)));
    let each = |n: u64| [op(n, OpType::Invoke), op(n, OpType::Info)];
    let mut history: Vec<Op> = (0..60_000).flat_map(each).collect();
    history.iter_mut().enumerate().for_each(|(at, op)| (op.index, op.time) = (at, at as i64));
    let long = noise(7, 3 << 20);
    let mut outcome = Outcome::new(Verdict::Invalid, [(&*long, Edn::str(long.as_str()))]);
    outcome.findings.push(Finding::new(&long));
    outcome.story = Some(long.clone());
    let mut material = Material::of_history(&long, &history, &outcome);
    material.traffic = report::Traffic::read(journal.as_bytes());
    material.nodes = (0..5000).map(|n| noise(n, 500)).collect();
    material.logs = (0..25).map(|n| (long.clone(), noise(n, 6000))).collect();
    material.facts = vec![("nemesis", long.clone())];
    material.reproduce = Some(long.clone());
    let page = report::html(&mut material);
    assert!(page.len() < 8 << 20, "{} bytes", page.len());
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hostile.html");
    std::fs::write(&file, page).unwrap();
    browser.open(&file);
    assert_eq!(browser.eval("document.getElementById('verdict').dataset.verdict"), "invalid");
    assert!(drawn(&mut browser, "latency") > 0);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn the_page_of_a_large_run_is_small_and_quick() {
    let (history, journal) = (history(), journal());
    let outcome = Outcome::new(Verdict::Valid, []);
    let mut material = Material::of_history("lin-kv", &history, &outcome);
    material.nodes = (1..=5).map(|n| format!("n{n}")).collect();
    material.concurrency = 50;
    let start = Instant::now();
    material.traffic = report::Traffic::read(journal.as_bytes());
    let page = report::html(&mut material);
    eprintln!("{} bytes, written in {:?}", page.len(), start.elapsed());
    assert!(page.len() < 8 << 20, "{} bytes", page.len());
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large.html");
    std::fs::write(&file, page).unwrap();
    let start = Instant::now();
    browser.open(&file);
    eprintln!("all drawn after {:?}", start.elapsed());
    let paint =
        browser.eval("performance.getEntriesByName('first-contentful-paint')[0]?.startTime");
    eprintln!("first paint after {paint} ms");
    let all = drawn(&mut browser, "latency");
    let start = Instant::now();
    drag(&mut browser, "latency");
    eprintln!("a zoom of {all} operations takes {:?}", start.elapsed());
    assert!(drawn(&mut browser, "latency") < all);
    browser.eval("document.getElementById('whole').click()");
    browser.settle();
    let start = Instant::now();
    drag(&mut browser, "diagram");
    eprintln!("a zoom of {MESSAGES} messages takes {:?}", start.elapsed());
    assert_eq!(browser.complaints, Vec::<String>::new());
}
