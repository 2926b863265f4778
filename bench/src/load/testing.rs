//! Helpers that the tests of the generators share.

use seaworthy::time::Time;

use super::{Ask, Invocation, Load, Next};
use crate::config::{RunArgs, RunConfig};
use crate::seed::Seed;

/// The run that these flags describe.
pub(super) fn config(flags: &str) -> RunConfig {
    let run = RunArgs::from_flags(flags.split_whitespace()).unwrap();
    RunConfig::new(run, Seed(1)).unwrap()
}

/// The first `count` operations of a generator whose workers are always free.
pub(super) fn ask_all(
    workload: &mut dyn Load,
    processes: &[u64],
    count: usize,
) -> Vec<(usize, Invocation)> {
    let mut draw = Seed(7).stream("generator", 0);
    let free: Vec<usize> = (0..processes.len()).collect();
    let mut ask = || {
        let now = Time::ZERO;
        match workload.next(&mut Ask { free: &free, processes, now, draw: &mut draw }) {
            Next::Invoke(worker, op) => (worker, op),
            other => panic!("expected an operation, got {other:?}"),
        }
    };
    (0..count).map(|_| ask()).collect()
}
