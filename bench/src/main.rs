//! The `seaworthy` command: test nodes, explore seeds, judge histories.

use std::process::ExitCode;

use seaworthy_bench::challenge::Challenges;

fn main() -> ExitCode {
    seaworthy_bench::main(Challenges::builtin())
}
