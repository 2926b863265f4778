//! The contract that each workload fulfils.

use std::any::Any;

use super::context::Context;
use super::event::Event;

/// The logic of a node: a state machine over events.
pub trait Workload {
    /// Reacts to one event. Effects go into `cx`; they take place after the
    /// return, in the order in which they were asked for.
    fn handle(&mut self, cx: &mut Context<'_>, event: Event);

    /// Returns the engine inside, if there is one, for white-box checks: the
    /// [`Raft`](crate::raft::Raft) of a linearizable workload. The contract knows no
    /// engine; an inspector looks whether this is one that it knows.
    fn engine(&self) -> Option<&dyn Any> {
        None
    }
}
