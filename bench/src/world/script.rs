//! A run whose course is written down instead of drawn.
//!
//! A [`Script`] lists every act of the nemesis and every operation of the main phases
//! with its time. A run can write down its script, and a script can be edited and
//! run again: that is what shrinking and replaying are made of. Everything else is
//! drawn as ever: the network's whims from one number for each message (see
//! [`super::net`]), the nodes' own from theirs. The last operations after the recovery
//! are not part of a script: what they have to ask follows from what came before.

use std::collections::BTreeSet;
use std::time::Duration;

use super::nemesis::{Act, Deed, relief, tell};
use super::phases::Phase;
use super::{Event, World};
use crate::backend::Cluster;
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
    /// What.
    pub op: Invocation,
}

/// What happens in a run, in order of time.
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
    /// Everything that ends what the acts may have begun.
    pub(super) fn last_acts(&self) -> Vec<Deed> {
        let faults: BTreeSet<Fault> = self.acts.iter().filter_map(|(_, a)| a.fault()).collect();
        faults.into_iter().map(relief).collect()
    }
}

impl<C: Cluster> World<C> {
    /// Lets the run take this course; to be called before it begins.
    #[must_use]
    pub fn on(mut self, course: Course) -> World<C> {
        self.course = course;
        self
    }

    pub(super) fn schedule_script(&mut self) {
        let Course::Scripted(script) = &self.course else { return };
        for (index, (at, _)) in script.acts.iter().enumerate() {
            self.queue.push(self.now + *at, Event::Scripted(index));
        }
    }

    /// An act of the script is due. If its time has been cut off, it does not happen: the
    /// quiet phase has no faults.
    pub(super) fn act_by_script(&mut self, index: usize) {
        if self.phase != Phase::Main {
            return;
        }
        let Course::Scripted(script) = &self.course else { return };
        let deed = tell(script.acts[index].1.clone(), &self.config.nodes);
        self.carry_out(deed);
    }

    /// Issues the operations of the script that are due and whose workers are free.
    pub(super) fn generate_by_script(&mut self) {
        let since = self.now - self.clients.origin();
        let mut index = 0;
        loop {
            let Course::Scripted(script) = &mut self.course else { return };
            match script.ops.get(index) {
                None => return,
                Some(op) if op.at > since => {
                    let at = self.clients.origin() + op.at;
                    return self.generate_later(at);
                }
                Some(op) if !self.clients.is_free(op.worker) => index += 1,
                Some(_) => {
                    let planned = script.ops.remove(index);
                    self.issue(planned.worker, planned.op);
                }
            }
        }
    }

    pub(super) fn write_down_act(&mut self, act: &Act) {
        let at = self.now - self.clients.origin();
        self.written.acts.push((at, act.clone()));
    }

    pub(super) fn write_down_op(&mut self, worker: usize, op: &Invocation) {
        let at = self.now - self.clients.origin();
        self.written.ops.push(PlannedOp { at, worker, op: op.clone() });
    }
}
