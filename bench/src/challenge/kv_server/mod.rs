//! `kv-server`: the served cluster (`seaworthy-server`) in the simulation.
//!
//! Its nodes are the servers themselves, with the same state machine and the same node of the
//! cluster; only sockets, files and gRPC are left out. Clients use registers and lists by
//! etcd's operations. `load` holds their operations, `check` judges their histories.
//!
//! In builds with the cargo feature `kv-server`.

mod check;
mod lease;
mod load;
mod watch;

use std::sync::{Arc, Mutex};

use seaworthy_server::node::Options;
use seaworthy_server::simulated::{Ledger, SimulatedServer};

use super::contract::{Challenge, FAULTS, Knob};
use crate::backend::sim::{Factory, Inspector};
use crate::check::{CheckOptions, Outcome};
use crate::config::{Fault, RunArgs, RunConfig};
use crate::history::Op;
use crate::invariant::RaftInvariants;
use crate::load::{Invocation, Load};
use crate::seed::Seed;

/// The challenge.
pub struct KvServer;

/// Small logs, so that snapshots are taken, and sent in pieces, in runs of seconds.
const KNOBS: &[Knob] = &[
    ("--snapshot-bytes", &["300", "3000", "30000"]),
    ("--keep-entries", &["0", "3", "30"]),
    ("--append-bytes", &["1000", "5000", "100000"]),
];

/// The options of a server, from the arguments of the nodes. The timing suits an operator's network
/// whose longest link takes `farthest_ms`.
fn options(args: &[String], farthest_ms: f64) -> Result<Options, String> {
    let farthest_ms = farthest_ms as u64;
    let mut options = Options {
        election_timeout_ms: (5 * farthest_ms).max(500),
        heartbeat_ms: farthest_ms.max(100),
        ..Options::default()
    };
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next().and_then(|value| value.parse().ok());
        let value: u64 = value.ok_or_else(|| format!("{name} needs a number"))?;
        match name.as_str() {
            "--snapshot-bytes" => options.snapshot_bytes = value,
            "--keep-entries" => options.keep_entries = value,
            "--append-bytes" => options.max_append_bytes = value as usize,
            "--election-timeout" => options.election_timeout_ms = value,
            "--heartbeat" => options.heartbeat_ms = value,
            _ => return Err(format!("kv-server has no option {name}")),
        }
    }
    Ok(options)
}

impl Challenge for KvServer {
    fn name(&self) -> &'static str {
        "kv-server"
    }

    fn load(&self, config: &RunConfig) -> Result<Box<dyn Load>, String> {
        Ok(Box::new(load::KvLoad::new(config)?))
    }

    fn check(&self, history: &[Op], options: &CheckOptions) -> Outcome {
        check::check(history, options)
    }

    fn nodes(&self, config: &RunConfig) -> Result<Factory, String> {
        let options = options(&config.args.args, config.args.farthest_ms())?;
        let ledger: Arc<Mutex<Ledger>> = Arc::default();
        Ok(Box::new(move || Box::new(SimulatedServer::new(options, Arc::clone(&ledger)))))
    }

    fn knobs(&self) -> &'static [Knob] {
        KNOBS
    }

    fn faults(&self, own: bool) -> Vec<Fault> {
        FAULTS.iter().copied().chain(own.then_some(Fault::Membership)).collect()
    }

    /// A removed server ends.
    fn serves_when_removed(&self) -> bool {
        false
    }

    /// Disks forget in half of all runs, but not where a majority may be gone for good, or members come
    /// and go: a change may leave no server to spare.
    fn tame(&self, run: &mut RunArgs) {
        let mut draw = Seed(run.seed.unwrap_or(0)).stream("kv-server", 0);
        let strength = *draw.pick(&[0.0, 0.0, 0.0, 0.1, 0.3, 1.0]);
        if !run.chaos.lasting_fault && !run.nemesis.contains(&Fault::Membership) {
            run.chaos.roll_back = strength;
        }
    }

    fn inspector(&self) -> Option<Inspector> {
        Some(Box::new(RaftInvariants::default()))
    }

    fn is_well_formed(&self, op: &Invocation) -> bool {
        load::is_well_formed(op)
    }
}
