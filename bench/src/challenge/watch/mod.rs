//! `watch`: watchers of a served cluster see every change, in order, once.
//!
//! Clients write values to a few keys, and read what was changed by watching: a watch names the
//! revision from which on it wants the events, takes those that come within a moment, and ends;
//! the client's next one goes on behind the last event. So the run watches how events survive
//! reconnects to servers that were killed, cut off or behind. `load` is what clients do, `check`
//! judges what they saw.
//!
//! Only servers with etcd's API can be watched (`seaworthy test --server`).

mod check;
mod load;

use super::contract::Challenge;
use crate::backend::sim::Factory;
use crate::check::{CheckOptions, Outcome};
use crate::config::RunConfig;
use crate::history::Op;
use crate::load::Load;

/// The challenge.
pub struct Watch;

impl Challenge for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn load(&self, _config: &RunConfig) -> Result<Box<dyn Load>, String> {
        Ok(Box::new(load::WatchLoad::default()))
    }

    fn check(&self, history: &[Op], _options: &CheckOptions) -> Outcome {
        check::check(history)
    }

    fn nodes(&self, _config: &RunConfig) -> Result<Factory, String> {
        Err("watch needs real servers: --server SPEC".to_owned())
    }
}
