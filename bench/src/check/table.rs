//! Which checker judges which workload.

use super::{
    CheckOptions, Outcome, bank, counter, echo, kafka, linear, long_fork, set_full, txn, unique_ids,
};
use crate::check::txn::Flavour;
use crate::history::Op;

/// Judges a history of one workload.
pub type Checker = fn(&[Op], &CheckOptions) -> Outcome;

/// One row a workload, in the order in which they are listed to users.
const TABLE: &[(&str, Checker)] = &[
    ("echo", |history, _| echo::check(history)),
    ("unique-ids", |history, _| unique_ids::check(history)),
    ("broadcast", |history, _| set_full::check(history, "broadcast")),
    ("g-set", |history, _| set_full::check(history, "add")),
    ("g-counter", |history, _| counter::check(history)),
    ("pn-counter", |history, _| counter::check(history)),
    ("lin-kv", |history, _| linear::check_lin_kv(history)),
    ("kafka", |history, _| kafka::check(history)),
    ("txn-list-append", |history, options| txn::check(history, Flavour::ListAppend, &options.txn)),
    ("txn-rw-register", |history, options| txn::check(history, Flavour::RwRegister, &options.txn)),
    ("bank", |history, options| bank::check(history, &options.bank)),
    ("long-fork", |history, options| long_fork::check(history, options.long_fork)),
];

/// The checker of a workload, by Maelstrom's name.
pub fn workload(name: &str) -> Option<Checker> {
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, checker)| *checker)
}

/// The names of all workloads that can be judged.
pub fn workloads() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}
