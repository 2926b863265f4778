//! How long, and in how much memory, a history of sends and polls is judged.
//!
//! `cargo bench -p seaworthy-bench --bench kafka [-- OPERATIONS]`
//!
//! The history is made by a log that loses nothing, so that everything has to be looked
//! at: Maelstrom's ten keys in use with sixteen messages each, consumers that are assigned
//! the keys in use and poll what is new, and at the end one poll of everything by each of them.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock and reports on stdout"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy_bench::check::Verdict;
use seaworthy_bench::check::kafka::check;
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::{History, Op, OpType, Process};

const PROCESSES: u64 = 5;
const KEYS: u64 = 10;
const MESSAGES_PER_KEY: usize = 16;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let count = args.next().map_or(1_000_000, |arg| arg.parse().expect("a number of operations"));
    let history = Broker::new().run(count);
    let before = peak_mib();
    let start = Instant::now();
    let outcome = check(&history);
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(outcome.verdict, Verdict::Valid, "{:?}", outcome.get("error-types"));
    println!(
        "{} operations: {:?} in {seconds:.2} s, peak memory {} MiB ({before} MiB before)",
        history.len() / 2,
        outcome.verdict,
        peak_mib()
    );
}

/// The most memory this process has held at once.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}

/// A log for each key, and the consumers' positions.
struct Broker {
    rng: Pcg64Mcg,
    /// The messages of a key are 1, 2, 3 and so on at offsets 0, 1, 2 and so on.
    lengths: BTreeMap<u64, usize>,
    active: Vec<u64>,
    positions: Vec<BTreeMap<u64, usize>>,
    history: History,
}

impl Broker {
    fn new() -> Broker {
        Broker {
            rng: Pcg64Mcg::seed_from_u64(7),
            lengths: BTreeMap::new(),
            active: (0..KEYS).collect(),
            positions: vec![BTreeMap::new(); PROCESSES as usize],
            history: History::new(),
        }
    }

    fn run(mut self, count: usize) -> History {
        for _ in 0..count {
            let process = self.below(PROCESSES);
            match self.below(64) {
                0 => self.assign(process, self.active.clone()),
                1..32 => self.send(process),
                _ => self.poll(process),
            }
        }
        for process in 0..PROCESSES {
            self.assign(process, Vec::new());
            self.assign(process, self.lengths.keys().copied().collect());
            self.poll(process);
        }
        self.history
    }

    fn send(&mut self, process: u64) {
        let zeros = u64::from(self.rng.next_u64().trailing_zeros());
        let slot = (KEYS - 1 - zeros.min(KEYS - 1)) as usize;
        if self.lengths.get(&self.active[slot]) == Some(&MESSAGES_PER_KEY) {
            let newest = self.active.iter().max().copied().unwrap_or(0);
            self.active[slot] = newest + 1;
        }
        let key = self.active[slot];
        let length = self.lengths.entry(key).or_default();
        let (offset, value) = (Edn::from(*length), Edn::from(*length + 1));
        *length += 1;
        let send = |value| Edn::Vector(vec![Edn::keyword("send"), name(key), value]);
        let invoked = Edn::Vector(vec![send(value.clone())]);
        let completed = Edn::Vector(vec![send(Edn::Vector(vec![offset, value]))]);
        self.record(process, "send", invoked, completed);
    }

    fn poll(&mut self, process: u64) {
        let mut polled = Vec::new();
        for (key, position) in &mut self.positions[process as usize] {
            let length = self.lengths.get(key).copied().unwrap_or(0);
            if *position < length {
                let pair = |offset: usize| Edn::vector([offset, offset + 1]);
                polled.push((name(*key), Edn::Vector((*position..length).map(pair).collect())));
                *position = length;
            }
        }
        let invoked = Edn::Vector(vec![Edn::Vector(vec![Edn::keyword("poll")])]);
        let completed = Edn::Vector(vec![Edn::keyword("poll"), Edn::Map(polled)]);
        self.record(process, "poll", invoked, Edn::Vector(vec![completed]));
    }

    fn assign(&mut self, process: u64, keys: Vec<u64>) {
        let value = Edn::Vector(keys.iter().map(|key| name(*key)).collect());
        let old = std::mem::take(&mut self.positions[process as usize]);
        let kept = |key: u64| (key, old.get(&key).copied().unwrap_or(0));
        self.positions[process as usize] = keys.into_iter().map(kept).collect();
        self.record(process, "assign", value.clone(), value);
    }

    fn record(&mut self, process: u64, f: &str, invoked: Edn, completed: Edn) {
        for (kind, value) in [(OpType::Invoke, invoked), (OpType::Ok, completed)] {
            let index = self.history.len();
            self.history.push(Op {
                index,
                time: index as i64 * 1000,
                kind,
                process: Process::Client(process),
                f: f.into(),
                value,
                error: None,
                is_final: false,
                extra: Vec::new(),
            });
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }
}

fn name(key: u64) -> Edn {
    Edn::str(key.to_string())
}
