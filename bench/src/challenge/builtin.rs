//! Maelstrom's ten workloads, one row each.

use seaworthy_workloads::{build, parse_args};

use super::contract::{Challenge, FAULTS, Knob};
use crate::backend::sim::{Factory, Inspector};
use crate::check::txn::Flavour;
use crate::check::{
    CheckOptions, Outcome, Verdict, counter, echo, kafka, linear, set_full, txn, unique_ids,
};
use crate::config::{Fault, RunConfig};
use crate::history::{Events, Op};
use crate::invariant::RaftInvariants;
use crate::load::{self, Invocation, Load, lin_kv, simple};

/// A built-in challenge: a row of [`ALL`].
#[derive(Clone, Copy)]
pub struct Builtin {
    name: &'static str,
    load: fn(&RunConfig) -> Result<Box<dyn Load>, String>,
    check: fn(Events<'_>, &CheckOptions) -> Outcome,
    looks_once: bool,
    is_well_formed: fn(&Invocation) -> bool,
    operation: Option<&'static str>,
    members: Members,
    knobs: &'static [Knob],
}

/// Which nodes of a workload let their clients choose the members: only a workload that is
/// replicated by Raft has members.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    Fixed,
    OfOwnNodes,
    OfAllNodes,
}

/// Small logs, so that the effects of long ones come in seconds: snapshots, in pieces. The
/// state of a register stays small; those of the others grow all the time, and so would the
/// number of pieces.
const REGISTER: &[Knob] = &[
    ("--compact-bytes", &["300", "3000", "30000"]),
    ("--keep-entries", &["0", "3", "30"]),
    ("--append-bytes", &["300", "3000"]),
    ("--max-early", &["0", "1"]),
    ("--snapshot-chunk", &["30", "100", "500"]),
    // Few pieces at a time take many round trips, in which leaders can change.
    ("--max-inflight", &["1", "2", "8"]),
    ("--follower-reads", &[""]),
];
const RAFT: &[Knob] = &[
    ("--compact-bytes", &["300", "3000", "30000"]),
    ("--keep-entries", &["0", "3", "30"]),
    ("--append-bytes", &["300", "3000"]),
    ("--max-early", &["0", "1"]),
    ("--snapshot-chunk", &["500", "2000", "5000"]),
    ("--max-inflight", &["2", "8"]),
    ("--follower-reads", &[""]),
];
/// Whole states instead of deltas.
const GOSSIP: &[Knob] = &[("--keep-deltas", &["1", "10", "100"])];

const ECHO: Builtin = Builtin {
    name: "echo",
    load: |_| Ok(Box::new(simple::Echo)),
    check: |history, _| echo::check(&history.whole()),
    looks_once: false,
    is_well_formed: |_| true,
    operation: Some("echo"),
    members: Members::Fixed,
    knobs: &[],
};

const TXN: Builtin = Builtin {
    operation: Some("txn"),
    members: Members::OfOwnNodes,
    knobs: RAFT,
    looks_once: true,
    ..ECHO
};

const GOSSIPED: Builtin = Builtin { operation: None, knobs: GOSSIP, ..ECHO };

/// All of them, in the order in which they are listed to users.
pub const ALL: [Builtin; 10] = [
    ECHO,
    Builtin {
        name: "unique-ids",
        load: |_| Ok(Box::new(simple::UniqueIds)),
        check: |history, _| unique_ids::check(&history.whole()),
        operation: Some("generate"),
        ..ECHO
    },
    Builtin {
        name: "broadcast",
        load: |config| Ok(Box::new(simple::Elements::broadcast(config))),
        check: |history, _| set_full::check(&history.whole(), "broadcast"),
        ..GOSSIPED
    },
    Builtin {
        name: "g-set",
        load: |config| Ok(Box::new(simple::Elements::g_set(config))),
        check: |history, _| set_full::check(&history.whole(), "add"),
        ..GOSSIPED
    },
    Builtin {
        name: "g-counter",
        load: |config| Ok(Box::new(simple::Counter::new(config, 0))),
        check: |history, _| counter::check(&history.whole()),
        ..GOSSIPED
    },
    Builtin {
        name: "pn-counter",
        load: |config| Ok(Box::new(simple::Counter::new(config, -5))),
        check: |history, _| counter::check(&history.whole()),
        ..GOSSIPED
    },
    Builtin {
        name: "lin-kv",
        load: |config| Ok(Box::new(lin_kv::LinKv::new(config)?)),
        check: |history, _| linear::check_lin_kv(&history.whole()),
        is_well_formed: |op| lin_kv::pair(op).is_some(),
        operation: None,
        members: Members::OfAllNodes,
        knobs: REGISTER,
        ..ECHO
    },
    Builtin {
        name: "kafka",
        load: |config| Ok(Box::new(load::kafka::Kafka::new(config)?)),
        check: check_kafka,
        is_well_formed: |op| op.f != "send" || load::kafka::message(op).is_some(),
        operation: None,
        ..TXN
    },
    Builtin {
        name: "txn-list-append",
        load: |config| Ok(Box::new(load::txn::Txn::new(config, load::txn::Holds::Lists)?)),
        check: |history, options| txn::check(history, Flavour::ListAppend, &options.txn),
        ..TXN
    },
    Builtin {
        name: "txn-rw-register",
        load: |config| Ok(Box::new(load::txn::Txn::new(config, load::txn::Holds::Values)?)),
        check: |history, options| txn::check(history, Flavour::RwRegister, &options.txn),
        ..TXN
    },
];

/// An older view of committed offsets than another node's is an anomaly only where the nodes
/// promise one view.
fn check_kafka(history: Events<'_>, options: &CheckOptions) -> Outcome {
    let mut outcome = kafka::check(history);
    if let Some(stricter) = &mut outcome.stricter
        && !options.commits_are_shared
    {
        stricter.verdict = Verdict::Valid;
    }
    outcome
}

/// The built-in challenge of this name.
///
/// # Errors
/// A sentence with the names that there are.
pub fn builtin(name: &str) -> Result<&'static dyn Challenge, String> {
    static ROWS: [Builtin; 10] = ALL;
    let row = ROWS.iter().find(|row| row.name == name);
    let known = || ROWS.map(|row| row.name).join(", ");
    Ok(row.ok_or_else(|| format!("there is no workload {name}; there are {}", known()))?)
}

/// The argument of our own nodes that serve a workload: two workloads are transactions.
pub fn served(workload: &str) -> &str {
    workload.strip_prefix("txn-").map_or(workload, |_| "txn")
}

impl Challenge for Builtin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn load(&self, config: &RunConfig) -> Result<Box<dyn Load>, String> {
        (self.load)(config)
    }

    fn check(&self, history: &[Op], options: &CheckOptions) -> Outcome {
        (self.check)(history.into(), options)
    }

    fn check_events(&self, history: Events<'_>, options: &CheckOptions) -> Outcome {
        (self.check)(history, options)
    }

    fn looks_once(&self) -> bool {
        self.looks_once
    }

    /// Our own nodes, built as the binary `seaworthy-node` would: which workload they serve is
    /// theirs to say; by default they serve everything.
    fn nodes(&self, config: &RunConfig) -> Result<Factory, String> {
        let cli = parse_args(&config.args.args).map_err(|e| e.to_string())?;
        build(cli.workload.as_deref(), &cli.options()).map_err(|e| e.to_string())?;
        Ok(Box::new(move || {
            build(cli.workload.as_deref(), &cli.options()).expect("it was built a moment ago")
        }))
    }

    fn arguments(&self) -> Vec<String> {
        // Nodes that serve everything cannot know the meaning of a bare `read` while all that ever
        // happened was reads; an exploration meets such runs.
        vec![served(self.name).to_owned()]
    }

    fn knobs(&self) -> &'static [Knob] {
        self.knobs
    }

    fn faults(&self, own: bool) -> Vec<Fault> {
        let has_members = match self.members {
            Members::Fixed => false,
            Members::OfOwnNodes => own,
            Members::OfAllNodes => true,
        };
        FAULTS.iter().copied().chain(has_members.then_some(Fault::Membership)).collect()
    }

    fn inspector(&self) -> Option<Inspector> {
        Some(Box::new(RaftInvariants::default()))
    }

    fn is_well_formed(&self, op: &Invocation) -> bool {
        (self.is_well_formed)(op)
    }

    fn operation(&self) -> Option<&'static str> {
        self.operation
    }
}
