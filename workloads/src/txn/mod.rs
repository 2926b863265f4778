//! Transactions over registers and lists, at the isolation that is asked for.
//!
//! A transaction is a list of micro-operations: `["r", k, null]`, `["w", k, v]` and
//! `["append", k, v]`, keys and values any JSON. The option `--isolation` decides how
//! much it may see of others:
//!
//! * `strict-serializable`: transactions happen one after the other, in an order that
//!   agrees with real time (Herlihy and Wing's linearizability, of the whole database).
//!   This excludes every anomaly of Adya's hierarchy, and stale reads besides; it costs
//!   a majority of the nodes. See [`strict`].
//! * `read-committed`, and `read-uncommitted`, which is served the same: transactions see
//!   others only whole, but not always the latest, and not every node sees them in the
//!   same order. This excludes Adya's G0 and G1 and fractured reads; it costs nothing,
//!   and every node answers at once, also when it is cut off. See [`committed`].
//!
//! Deliberately missing: transactions that go on after an answer. A transaction is
//! known as a whole before it begins, so nothing has to be locked or validated.

pub mod committed;
pub mod database;
mod planted;
mod protocol;
pub mod strict;

use seaworthy::node::Workload;

use crate::options::{Isolation, Options};

/// The transactional workload at the isolation the options ask for.
pub fn build(options: &Options) -> Box<dyn Workload + Send> {
    match options.isolation {
        Isolation::StrictSerializable => Box::new(strict::Strict::new(options)),
        Isolation::ReadCommitted | Isolation::ReadUncommitted => {
            Box::new(committed::Committed::new(options))
        }
    }
}
