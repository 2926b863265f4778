//! How long, and in how much memory, a history of transactions is judged: of list-append, or
//! with `rw` of rw-register.
//!
//! `cargo bench -p seaworthy-bench --bench txn [-- TRANSACTIONS [STALE]] [rw]`
//!
//! The history is made by a store that runs each transaction at one instant between its
//! invocation and its completion, so it is strictly serializable: the checker
//! has to build the whole graph and finds no way out early. With STALE one read in so many
//! misses the last element, which makes one large component of the graph.

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
use seaworthy_bench::check::txn::Flavour;
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::OpType;

const PROCESSES: usize = 20;
/// Keys in use at a time, and writes until a key is replaced: Maelstrom's.
const KEYS: u64 = 10;
const WRITES_PER_KEY: i64 = 16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flavour = match args.iter().any(|arg| arg == "rw") {
        true => Flavour::RwRegister,
        false => Flavour::ListAppend,
    };
    let is_number = |arg: &&String| arg.parse::<u64>().is_ok();
    let is_valid = args.iter().filter(is_number).count() < 2;
    let write = |sink, args: &[String]| {
        let mut numbers = args.iter().filter_map(|arg| arg.parse().ok());
        let count = numbers.next().unwrap_or(1_000_000);
        Store::new(sink, flavour, numbers.next()).run(count as usize);
    };
    measure::run(flavour.name(), write, is_valid);
}

/// The state of a process.
enum Slot {
    Idle,
    Invoked(Vec<Edn>),
    Executed(Vec<Edn>),
}

/// A store of lists, with the processes that use it.
struct Store {
    rng: Pcg64Mcg,
    flavour: Flavour,
    stale: Option<u64>,
    lists: BTreeMap<i64, Vec<Edn>>,
    /// The keys in use, and how often each was written.
    active: Vec<(i64, i64)>,
    sink: Sink,
}

impl Store {
    fn new(sink: Sink, flavour: Flavour, stale: Option<u64>) -> Store {
        Store {
            rng: Pcg64Mcg::seed_from_u64(7),
            flavour,
            stale,
            lists: BTreeMap::new(),
            active: (0..KEYS as i64).map(|key| (key, 0)).collect(),
            sink,
        }
    }

    fn run(&mut self, count: usize) {
        let mut slots: Vec<Slot> = (0..PROCESSES).map(|_| Slot::Idle).collect();
        let mut invoked = 0;
        while invoked < count || slots.iter().any(|slot| !matches!(slot, Slot::Idle)) {
            let process = self.below(PROCESSES as u64) as usize;
            slots[process] = match std::mem::replace(&mut slots[process], Slot::Idle) {
                Slot::Idle if invoked == count => Slot::Idle,
                Slot::Idle => {
                    invoked += 1;
                    let txn = self.generate();
                    self.record(process, OpType::Invoke, txn.clone());
                    Slot::Invoked(txn)
                }
                Slot::Invoked(txn) => Slot::Executed(self.execute(txn)),
                Slot::Executed(txn) => {
                    self.record(process, OpType::Ok, txn);
                    Slot::Idle
                }
            };
        }
    }

    /// One to four micro-operations; later keys are exponentially likelier.
    fn generate(&mut self) -> Vec<Edn> {
        let length = 1 + self.below(4);
        (0..length).map(|_| self.micro_operation()).collect()
    }

    fn micro_operation(&mut self) -> Edn {
        let slot =
            (KEYS - 1 - u64::from(self.rng.next_u64().trailing_zeros()).min(KEYS - 1)) as usize;
        if self.below(2) == 0 {
            return mop("r", self.active[slot].0, Edn::Nil);
        }
        if self.active[slot].1 == WRITES_PER_KEY {
            let last = self.active.iter().map(|(key, _)| *key).max().unwrap();
            self.active[slot] = (last + 1, 0);
        }
        self.active[slot].1 += 1;
        let (key, value) = self.active[slot];
        let write = if self.flavour == Flavour::ListAppend { "append" } else { "w" };
        mop(write, key, Edn::Int(value))
    }

    fn execute(&mut self, txn: Vec<Edn>) -> Vec<Edn> {
        txn.into_iter().map(|mop| self.apply(mop)).collect()
    }

    fn apply(&mut self, micro: Edn) -> Edn {
        let parts = micro.as_seq().unwrap();
        let key = parts[1].as_int().unwrap();
        let miss = self.stale.is_some_and(|reads| self.below(reads) == 0);
        let list = self.lists.entry(key).or_default();
        if parts[0].as_text() != Some("r") {
            list.push(parts[2].clone());
            return micro;
        }
        let seen = list.len().saturating_sub(usize::from(miss));
        let value = match self.flavour {
            Flavour::ListAppend => Edn::Vector(list[..seen].to_vec()),
            Flavour::RwRegister => list[..seen].last().cloned().unwrap_or_default(),
        };
        mop("r", key, value)
    }

    fn record(&mut self, process: usize, kind: OpType, txn: Vec<Edn>) {
        self.sink.record(process as u64, kind, "txn", Edn::Vector(txn));
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }
}

fn mop(f: &str, key: i64, value: Edn) -> Edn {
    Edn::Vector(vec![Edn::keyword(f), Edn::Int(key), value])
}
