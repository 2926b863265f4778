//! Checkers of histories that are only recorded: no load of this bench makes them.

use super::{CheckOptions, Outcome, bank, long_fork};
use crate::history::Op;

/// Judges a history of one workload.
pub type Checker = fn(&[Op], &CheckOptions) -> Outcome;

/// One row a workload, in the order in which they are listed to users.
pub const RECORDED: [(&str, Checker); 2] = [
    ("bank", |history, options| bank::check(history, &options.bank)),
    ("long-fork", |history, options| long_fork::check(history, options.long_fork)),
];
