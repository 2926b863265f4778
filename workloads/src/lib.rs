//! The workloads of a node: one module for each challenge.
//!
//! A workload is the thin mapping between the protocol of its clients and the shell of an
//! engine of the `seaworthy` crate; [`all`] is the one table of them that the
//! binary, the bench and the tests read. [`mod@echo`] is the smallest complete example.
//!
//! The feature `cli` (on by default) adds the command line of the binary. Without it the
//! library takes plain [`Options`] and depends on no parser.
//!
//! Deliberately missing: input, output, clocks and threads; see `seaworthy::driver`.

pub mod all_workloads;
pub mod broadcast;
#[cfg(feature = "cli")]
pub mod cli;
pub mod counter;
pub mod echo;
mod entry;
pub mod g_set;
pub mod kafka;
pub mod lin_kv;
pub mod options;
mod pending_reads;
mod planted;
mod reply;
pub mod seq_counter;
mod table;
pub mod txn;
pub mod unique_ids;

#[cfg(feature = "cli")]
pub use cli::{Cli, parse_args};
pub use entry::Entry;
pub use options::Options;
pub use table::{UnknownWorkload, all, build};
