//! How long, and in how much memory, a history of sends and polls is judged.
//!
//! `cargo bench -p seaworthy-bench --bench kafka [-- OPERATIONS]`
//!
//! The history is made by a log that loses nothing, so that everything has to be looked
//! at: Maelstrom's ten keys in use with sixteen messages each, consumers that are assigned
//! the keys in use and poll new messages, and at the end one poll of everything by each of them.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock and reports on stdout"
)]

mod measure;

use std::collections::BTreeMap;

use measure::Sink;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::OpType;

const PROCESSES: u64 = 5;
const KEYS: u64 = 10;
const MESSAGES_PER_KEY: usize = 16;

fn main() {
    let write = |sink, args: &[String]| {
        let count = args.first().map_or(1_000_000, |arg| arg.parse().expect("a number"));
        Broker::new(sink).run(count);
    };
    measure::run("kafka", write, true);
}

/// A log for each key, and the consumers' positions.
struct Broker {
    rng: Pcg64Mcg,
    /// The messages of a key are 1, 2, 3 and so on at offsets 0, 1, 2 and so on.
    lengths: BTreeMap<u64, usize>,
    active: Vec<u64>,
    positions: Vec<BTreeMap<u64, usize>>,
    sink: Sink,
}

impl Broker {
    fn new(sink: Sink) -> Broker {
        Broker {
            rng: Pcg64Mcg::seed_from_u64(7),
            lengths: BTreeMap::new(),
            active: (0..KEYS).collect(),
            positions: vec![BTreeMap::new(); PROCESSES as usize],
            sink,
        }
    }

    fn run(mut self, count: usize) {
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
        self.sink.record(process, OpType::Invoke, f, invoked);
        self.sink.record(process, OpType::Ok, f, completed);
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }
}

fn name(key: u64) -> Edn {
    Edn::str(key.to_string())
}
