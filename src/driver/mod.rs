//! Real input and output: the driver carries out the effects of a [`Node`].
//!
//! [`run`] is one loop on one thread. A turn takes everything that has arrived,
//! hands it to the node, and carries out the node's effects: all records of
//! the turn go to storage in one group with one flush, all messages leave with one
//! write. The flush runs while the loop goes on, so a message that need not wait
//! for it ([`Effect::Send`]) does not; records that come meanwhile are the next group.
//! Group commit is therefore not a feature, it is the loop.
//!
//! There are no unbounded queues. A turn is bounded by the lines that one [`Transport::receive`]
//! hands over, writing is awaited before more is read, and nothing is read while too much waits for
//! the disk.
//!
//! [`Transport`] and [`Opener`] are the two seams. [`Stdio`] is the one transport;
//! storage is a directory ([`DataDir`]) or nothing ([`Volatile`]).
//!
//! Deliberately missing: more than one thread of node logic, a queue of messages
//! that the other side does not read, and retrying a failed disk. After an error
//! from storage its content is unknown, so the node stops.
//!
//! [`Node`]: crate::node::Node
//! [`Effect::Send`]: crate::node::Effect::Send

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the driver is where clock and entropy enter; the purity wall is for what it drives"
)]

mod commit;
mod event_loop;
mod lines;
mod open;
mod stdio;
#[cfg(test)]
mod tests;
mod transport;

use std::hash::{BuildHasher, RandomState};

use crate::node::{Node, Workload};

pub use event_loop::run;
#[cfg(feature = "postgres")]
pub use open::Database;
pub use open::{DataDir, Opener, Volatile};
pub use stdio::Stdio;
pub use transport::{Arrival, DriverError, Transport};

/// Runs a workload as this process's node: on stdin and stdout, until stdin ends.
///
/// # Errors
/// [`DriverError`], after which nothing more was sent.
pub fn run_stdio(
    workload: Box<dyn Workload + Send>,
    opener: impl Opener,
) -> Result<(), DriverError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DriverError::Transport)?;
    let node = Node::new(workload, entropy());
    let result = runtime.block_on(async { run(node, Stdio::open(), opener).await });
    // A read that still blocks a helper thread must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// 64 bits from the operating system, different at every start of a process.
fn entropy() -> u64 {
    // The standard library keys its hashers with 128 bits of the system's entropy;
    // the hash of anything under such a key is as unpredictable as the key.
    RandomState::new().hash_one("seaworthy")
}
