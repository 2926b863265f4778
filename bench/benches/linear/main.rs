//! How long the linearizability checker takes: `cargo bench -p seaworthy-bench --bench linear`.
//!
//! Each line of the table is one check in a process of its own, from operations to
//! result map; its CPU time and its peak memory include the operations. A
//! *good* history is linearizable by construction. A *bad* one is a good one with another result for
//! some reads, *stale* values that the register had, or a *garbage* one that it never had; with
//! 20 clients and 5 values, a few stale reads nearly always have an explanation.
//!
//! `-- write docs/checkers.md` replaces the table in that file. `-- sweep COUNT FIRST` instead draws
//! so many histories, from the seed FIRST on, whose verdict is known: large ones that are
//! linearizable by construction, and small corrupted ones that the referee judges. It
//! prints each wrong verdict and each history that was given up. See docs/checkers.md.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

mod generate;
mod sweep;
mod table;

use std::fs;

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["sweep", count, first] => {
            let number = |text: &str| text.parse::<u64>().map_err(|why| format!("{text}: {why}"));
            let (count, first) = (number(count)?, number(first)?);
            sweep::run(first..first + count);
        }
        ["case", number] => {
            let number = number.parse().map_err(|why| format!("{number}: {why}"))?;
            println!("{}", table::measure(number)?);
        }
        ["write", path] => {
            let text = fs::read_to_string(path).map_err(|why| format!("{path}: {why}"))?;
            let text = table::replaced(&text, &table::make()?)?;
            fs::write(path, text).map_err(|why| format!("{path}: {why}"))?;
        }
        _ => print!("{}", table::make()?),
    }
    Ok(())
}
