//! How long the linearizability checker takes: `cargo bench -p seaworthy-bench --bench linear`.
//!
//! Each line is one whole check, from operations to result map. The first line is a
//! test as Maelstrom runs it, only longer; the others are adversarial: one key that all
//! processes use all the time. `wrong` is how many reads were given another result; with 20
//! processes and 5 values, a few such reads nearly always have an explanation.
//!
//! `cargo bench -p seaworthy-bench --bench linear -- sweep COUNT FIRST` instead draws so many
//! histories, from the seed FIRST on, whose verdict is known: large ones that are linearizable
//! by construction, and small corrupted ones that the referee judges. It prints each wrong
//! verdict and each history that was given up. See docs/checkers.md.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

mod generate;
mod sweep;

use std::time::Instant;

use generate::{Plan, correct, mutated};
use seaworthy_bench::check::linear::check_lin_kv;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [command, count, first] = args.as_slice()
        && command == "sweep"
        && let (Ok(count), Ok(first)) = (count.parse::<u64>(), first.parse::<u64>())
    {
        sweep::run(first..first + count);
        return;
    }
    let wide = Plan {
        operations: 100_000,
        keys: 100,
        processes: 20,
        values: 5,
        info_percent: 5,
        mix: [2, 1, 2],
    };
    let narrow = Plan { operations: 10_000, keys: 1, ..wide };
    let long = Plan { operations: 100_000, processes: 5, info_percent: 1, ..narrow };
    let plans = [
        ("100 keys, 5 % info", wide),
        ("one key, 5 % info", narrow),
        ("one key, no info", Plan { info_percent: 0, ..narrow }),
        ("one key, reads and writes", Plan { mix: [1, 1, 0], ..narrow }),
        ("one key, cas only after a write", Plan { mix: [0, 1, 20], ..narrow }),
        ("one key, writes and few reads", Plan { mix: [1, 9, 0], ..narrow }),
        ("one key, 5 clients, 1 % info, long", long),
        ("one key, 8 clients, 1 % info, long", Plan { processes: 8, ..long }),
        ("ten keys, 20 clients, 1 % info, long", Plan { processes: 20, keys: 10, ..long }),
        ("one key, 30 % info", Plan { info_percent: 30, ..narrow }),
        ("one key, 100 processes", Plan { processes: 100, ..narrow }),
    ];
    println!("{:<38} {:>8} {:>8} {:>9}  verdict", "history", "ops", "wrong", "time");
    for (name, plan) in plans {
        for wrong in [0, 1, 1000] {
            let history = if wrong == 0 { correct(plan, 0) } else { mutated(plan, 0, wrong) };
            let start = Instant::now();
            let outcome = check_lin_kv(&history);
            let ms = start.elapsed().as_secs_f64() * 1e3;
            let verdict = outcome.verdict.to_edn();
            println!("{name:<38} {:>8} {wrong:>8} {ms:>6.0} ms  {verdict}", plan.operations);
        }
    }
}
