//! Checkers: a history in, a verdict and its reasons out.
//!
//! A checker is a pure function. Its verdict has three values, because a history
//! may simply not tell; `unknown` never counts as a pass. Result maps have Jepsen's
//! keys. Where a checker is stricter than Jepsen's on purpose, its module says so, and
//! the result says so under a key that Jepsen does not have. A finding that would turn a verdict
//! of the reference is a part of its own, `:stricter`, beside the workload's.
//!
//! Each challenge names its checker ([`crate::challenge`]); [`compose()`] judges a whole test.

pub mod availability;
pub mod bank;
mod compose;
pub mod counter;
pub mod echo;
pub mod exceptions;
mod finding;
pub mod kafka;
pub mod linear;
pub mod long_fork;
mod names;
pub mod net;
mod options;
mod outcome;
pub mod set_full;
pub mod stats;
mod table;
#[cfg(test)]
mod tests;
pub mod txn;
pub mod unique_ids;

pub use availability::Availability;
pub use compose::{compose, results};
pub use finding::{Class, Decision, Finding, Symptom, Verdict, decide, quote, reasons};
pub use net::NetStats;
pub use options::CheckOptions;
pub use outcome::Outcome;
pub(crate) use outcome::{operations, operations_that_repeat};
pub use table::{Checker, RECORDED};
