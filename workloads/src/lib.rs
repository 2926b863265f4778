//! What a node does: one file, one challenge.
//!
//! A workload is the thin mapping between the protocol of its clients and an
//! engine of the `seaworthy` crate; [`all`] is the one table of them that the
//! binary, the bench and the tests read. [`mod@echo`] is the smallest complete example.
//!
//! Deliberately missing: input, output, clocks and threads; see `seaworthy::driver`.

pub mod broadcast;
mod canonical;
pub mod cli;
pub mod counter;
pub mod echo;
pub mod everything;
pub mod g_set;
pub mod kafka;
pub mod lin_kv;
pub mod seq_counter;
mod table;
pub mod txn;
mod undecided;
pub mod unique_ids;

pub use cli::{Cli, Options, parse_args};
pub use table::{Entry, UnknownWorkload, all, build};
