//! `lock` and `lock-without-token`: clients change a list under a lock of a served cluster.
//!
//! A client takes a lock (a key that belongs to a lease, made by a transaction that compares its
//! create revision with 0), reads a list, does something for a moment, writes the list with one
//! element more, and gives the lease up. The lock is a promise with an end: a holder that is held
//! up for longer than its lease lives writes although another one holds the lock.
//!
//! * `lock` writes in a transaction that compares the create revision of the lock's key, the
//!   *fencing token*: a deposed holder's write is refused. Every update must be there.
//! * `lock-without-token` writes as if the lock were a mutex. Where there are pauses (`--nemesis
//!   pause`, which holds up servers, and here some of the holders) this loses updates, whatever
//!   the store: the workload shows it.
//!
//! Source: etcd's concurrency package and its documentation on lock and fencing; Jepsen's analysis
//! of etcd 3.4.3.

mod check;
mod load;

use super::contract::Challenge;
use crate::backend::sim::Factory;
use crate::check::{CheckOptions, Outcome};
use crate::config::{Fault, RunConfig};
use crate::history::Op;
use crate::load::Load;

/// The challenge, with or without fencing tokens.
#[derive(Clone, Copy, Debug)]
pub struct Lock {
    name: &'static str,
}

impl Lock {
    /// Writes name their fencing token.
    pub const WITH_TOKEN: Lock = Lock { name: "lock" };
    /// Writes trust the lock.
    pub const WITHOUT_TOKEN: Lock = Lock { name: "lock-without-token" };
}

impl Challenge for Lock {
    fn name(&self) -> &'static str {
        self.name
    }

    fn load(&self, config: &RunConfig) -> Result<Box<dyn Load>, String> {
        Ok(Box::new(load::LockLoad::new(config.has(Fault::Pause))))
    }

    fn check(&self, history: &[Op], _options: &CheckOptions) -> Outcome {
        check::check(history)
    }

    fn nodes(&self, _config: &RunConfig) -> Result<Factory, String> {
        Err(format!("{} needs real servers: --server SPEC", self.name))
    }
}
