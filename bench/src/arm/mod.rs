//! The two arms: where the nodes of a run live.
//!
//! The world speaks to a cluster of nodes through one trait. [`sim`] keeps them
//! in-process, on virtual time; [`process`] runs real binaries. Network, nemesis,
//! clients, services and checkers are the same code for both.

pub(crate) mod guard;
pub mod process;
pub mod sim;

use std::fmt;

use seaworthy::message::Packet;
use seaworthy::time::Time;

/// Nodes that can be started, talked to, hurt and healed. Nodes are named by
/// their index in the run's configuration.
pub trait Cluster {
    /// Starts a node that is not running. It knows nothing until its `init`.
    fn start(&mut self, now: Time, node: usize, out: &mut Outbox);

    /// Hands a message to a running node. A paused one gets it when it resumes.
    fn deliver(&mut self, now: Time, node: usize, packet: Packet, out: &mut Outbox);

    /// The moment asked for by [`Outbox::wakes`] has come.
    fn wake(&mut self, now: Time, node: usize, out: &mut Outbox);

    /// SIGKILL: whatever was not on stable storage is gone.
    fn kill(&mut self, now: Time, node: usize);

    /// The disk of a node that was killed is lost with it. Real processes keep theirs: what
    /// they write, and where, is their own affair.
    fn wipe(&mut self, _node: usize) {}

    /// SIGSTOP.
    fn pause(&mut self, now: Time, node: usize);

    /// SIGCONT.
    fn resume(&mut self, now: Time, node: usize, out: &mut Outbox);

    /// The faults are over for good: from now on the disks too are ones that a cluster can
    /// make progress on. Of real disks there is nothing to end.
    fn calm(&mut self) {}

    /// Stops a node's output from being heard, after it broke the protocol.
    fn mute(&mut self, node: usize);

    /// White-box check after a step; the text says which invariant broke.
    fn violation(&self) -> Option<String> {
        None
    }

    /// The last lines a node wrote to its log, for a report.
    fn last_lines(&self, node: usize) -> Vec<String>;
}

/// What nodes did during a call.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What each node did, in order.
    pub acts: Vec<(usize, Act)>,
    /// Nodes that want a [`Cluster::wake`], and when.
    pub wakes: Vec<(usize, Time)>,
}

/// Something a node did on its own.
#[derive(Debug)]
pub enum Act {
    /// It sent a message.
    Send(Packet),
    /// It did something no node may do.
    Fault(NodeFault),
}

/// How a node can break the rules of the protocol, whatever the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeFault {
    /// A line on stdout that is no message.
    Garbage {
        /// The line, shortened.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A message to somebody who does not exist.
    UnknownDestination {
        /// To whom.
        dest: String,
        /// The message's body, shortened.
        body: String,
    },
    /// A message in the name of somebody else.
    ForgedSource {
        /// Whose name it used.
        src: String,
    },
    /// It ended by itself.
    Exited {
        /// With which status.
        status: String,
    },
    /// It panicked (simulation).
    Panicked {
        /// The message and the place.
        message: String,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// No `init_ok` in time, or an error instead.
    NoInit {
        /// What happened instead.
        reason: String,
    },
    /// More messages than any workload needs.
    Flood {
        /// How many messages it sent so far.
        sent: u64,
        /// How many it got from others.
        received: u64,
    },
}

impl fmt::Display for NodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeFault::Garbage { line, reason } => {
                write!(f, "printed a line that is no message ({reason}): {line}")
            }
            NodeFault::UnknownDestination { dest, body } => {
                write!(f, "sent a message to {dest}, which does not exist: {body}")
            }
            NodeFault::ForgedSource { src } => {
                write!(f, "sent a message in the name of {src}")
            }
            NodeFault::Exited { status } => write!(f, "exited by itself ({status})"),
            NodeFault::Panicked { message } => write!(f, "panicked: {message}"),
            NodeFault::NotStarted { reason } => write!(f, "could not be started: {reason}"),
            NodeFault::NoInit { reason } => write!(f, "did not complete init: {reason}"),
            NodeFault::Flood { sent, received } => {
                write!(f, "flooded the network: {sent} messages sent, {received} received")
            }
        }
    }
}

/// The first `limit` characters of a text that may be anything.
pub fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
