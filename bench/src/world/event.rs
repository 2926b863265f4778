//! The things that can happen in a world, and the phases in which they do.

use seaworthy::message::Packet;
use seaworthy::time::Time;

use super::clients::RequestId;
use crate::directory::Party;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nodes start and are told who they are.
    Init,
    /// Nodes get the workload's preparation.
    Prepare,
    /// Operations at the given rate, under the nemesis.
    Main,
    /// Operations at the given rate, without any fault.
    Quiet,
    /// No new operations; open ones complete or time out.
    Drain,
    /// Healed, and left alone.
    Recover,
    /// The last operations.
    Last,
    /// Over.
    Over,
}

/// Something that is going to happen.
pub(super) enum Event {
    /// A message comes out of the network's queue.
    Deliver(Box<Flight>),
    /// A node asked to be woken.
    Wake(usize),
    /// A client's patience ends.
    Timeout(RequestId),
    /// The generator is asked again, unless it has been since.
    Generate(Time),
    /// A flow of the nemesis acts.
    Nemesis(usize),
    /// An act of the script is due.
    Scripted(usize),
    /// A change of members is asked for again, unless it was answered.
    Membership(u64),
    /// A node should have answered its init, or preparation, by now.
    Deadline(u64),
    /// The current phase has lasted long enough.
    PhaseEnd(Phase),
}

/// A message on its way.
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) src: Party,
    pub(super) dest: Party,
    pub(super) packet: Packet,
}
