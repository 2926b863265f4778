//! `lease`: keys that end with their lease, neither before it nor after it.
//!
//! A client grants a lease of a few seconds and puts two keys that belong to it in one
//! transaction. From then on clients read the keys, renew some of the leases and revoke others.
//! A lease is never expired early: it lives at least for its time from the moment at which its
//! grant or a renewal was *asked* for. Its keys go with it, both at once, and neither they nor the
//! lease ever come back. Without a leader a lease may live longer; at the end of a run, ten
//! seconds after the last fault, all are gone.

mod check;
mod load;

use super::contract::Challenge;
use crate::backend::sim::Factory;
use crate::check::{CheckOptions, Outcome};
use crate::config::RunConfig;
use crate::history::Op;
use crate::load::Load;

/// The challenge.
#[derive(Clone, Copy, Debug)]
pub struct Lease;

impl Challenge for Lease {
    fn name(&self) -> &'static str {
        "lease"
    }

    fn load(&self, _config: &RunConfig) -> Result<Box<dyn Load>, String> {
        Ok(Box::new(load::LeaseLoad::default()))
    }

    fn check(&self, history: &[Op], _options: &CheckOptions) -> Outcome {
        check::check(history)
    }

    fn nodes(&self, _config: &RunConfig) -> Result<Factory, String> {
        Err("lease needs real servers: --server SPEC".to_owned())
    }
}
