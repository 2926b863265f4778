//! A run whose course is written down instead of drawn.
//!
//! A [`Script`] lists every act of the nemesis and every operation of the main phases
//! with its time. A run can write down its script, and a script can be edited and
//! run again: shrinking and replaying are made of that. Everything else is
//! drawn as ever: the network's whims from one number for each message (see
//! [`super::net`]), the nodes' own from theirs. The last operations after the recovery
//! are not part of a script: they follow from the earlier ones.

use std::collections::BTreeSet;
use std::time::Duration;

use super::nemesis::{Act, FaultEvent, relief};
use crate::config::Fault;
use crate::load::Invocation;

/// An operation, when and by whom it is invoked.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedOp {
    /// Time since the operations began. If the worker is busy then, the operation
    /// waits until it is not.
    pub at: Duration,
    /// Who invokes it.
    pub worker: usize,
    /// The operation.
    pub op: Invocation,
}

/// The acts and operations of a run, in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// The acts of the nemesis, by time since the operations began.
    pub acts: Vec<(Duration, Act)>,
    /// The operations of the phases before the last one.
    pub ops: Vec<PlannedOp>,
}

/// Where the course of a run comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Course {
    /// The generator and the nemesis draw it from the seed.
    #[default]
    Drawn,
    /// The same, and it is written down in the report.
    Recorded,
    /// It is given.
    Scripted(Script),
}

impl Script {
    /// The acts that end every fault which the others may have begun.
    pub(super) fn last_acts(&self) -> Vec<FaultEvent> {
        let faults: BTreeSet<Fault> = self.acts.iter().filter_map(|(_, a)| a.fault()).collect();
        faults.into_iter().map(relief).collect()
    }
}
