//! The state machine: a multi-version key-value store, as etcd's v3 API defines it.
//!
//! Every change gets the next *revision*, and all revisions since the last compaction can
//! be read. The store is pure: commands in, answers out, no clock and no I/O, and the same
//! commands in the same order give the same store on every server.
//!
//! It lives in persistent maps ([`imbl::OrdMap`]), so a clone costs nothing and stays as it
//! was: reads, and the writing of snapshots, work on a clone in another thread while the
//! original goes on.
//!
//! # The files
//!
//! `store` holds the parts and `views` the versions (`version`): in a `layer` in memory, or most of
//! them in a `tree`, whose bytes `base` knows; `range` reads; `write` carries out the commands;
//! `txn` transactions; `auth` users and roles; `lease` the leases and the keys attached to them,
//! which `grant` grants and revokes; `alarm` the alarms; `history` tells the events, for watches;
//! `check` refuses malformed requests before they reach a log; `command` and `snapshot` are the
//! bytes (`coding`), `entry` has long values share those of the log, `hash` their checksum; `plain` is a tree in memory.
//!
//! # Deliberately missing
//!
//! * The time. When a lease ends is not in the store: the leader knows
//!   ([`crate::lease`]), and says so by an entry of the log.
//!
//! The meaning of an operation, down to its errors and oddities, is etcd's decision;
//! `tests/oracle.rs` compares answer by answer.

mod alarm;
pub mod auth;
mod base;
mod check;
mod coding;
mod command;
mod entry;
mod error;
mod grant;
mod hash;
mod history;
mod key;
mod layer;
mod lease;
#[cfg(test)]
mod piece_tests;
mod plain;
mod planted;
mod range;
mod snapshot;
mod store;
mod tree;
#[cfg(test)]
mod tree_tests;
mod txn;
mod version;
mod views;
mod write;

#[cfg(test)]
mod tests;

pub use base::{Base, Batch, Entries, Part};
pub use check::{check_delete, check_put, check_range, check_txn};
pub use command::{By, Command, Response};
pub use error::{Code, Error};
pub use history::{Changes, KeyRange, PIECE_VERSIONS, TooOld, Wanted};
pub use lease::{Lease, MAX_LEASE_SECONDS};
pub use plain::PlainTree;
pub use store::Store;
pub use txn::{is_readonly, is_serializable};
