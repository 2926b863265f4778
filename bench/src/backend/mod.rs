//! The backends: where the nodes of a run live.
//!
//! The world speaks to a cluster of nodes through one trait. [`sim`] keeps them
//! in-process, on virtual time; [`process`] runs real binaries that speak over their pipes;
//! [`server`] runs real servers that speak over sockets. Nemesis, clients and checkers are the
//! same code for all of them, and so is the network, except that a server's peers talk through
//! proxies that are told its [`Weather`].

mod ears;
mod fault;
pub(crate) mod guard;
mod log;
mod loss;
pub mod process;
pub mod server;
pub mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seaworthy::message::Packet;
use seaworthy::time::Time;

pub use ears::Ears;
pub use fault::NodeFault;

/// Nodes that can be started, talked to, hurt and healed. Nodes are named by
/// their index in the run's configuration.
pub trait Cluster {
    /// Starts a node that is not running. It knows nothing until its `init`.
    fn start(&mut self, now: Time, node: usize, out: &mut Outbox);

    /// Hands the network's message number `id` to a running node. A paused one gets it
    /// when it resumes.
    fn deliver(&mut self, now: Time, node: usize, id: u64, packet: Packet, out: &mut Outbox);

    /// The moment asked for by [`Outbox::wakes`] has come.
    fn wake(&mut self, now: Time, node: usize, out: &mut Outbox);

    /// SIGKILL: whatever was not on stable storage is gone.
    fn kill(&mut self, now: Time, node: usize);

    /// The disk of a node that was killed is lost with it. Real processes keep theirs: their files
    /// are their own affair.
    fn wipe(&mut self, _node: usize) {}

    /// The disk of a node has no space left. Only disks that the backend has made can be filled.
    fn fill_disk(&mut self, _node: usize, _out: &mut Outbox) {}

    /// It has again, as much as it had before.
    fn free_disk(&mut self, _node: usize, _out: &mut Outbox) {}

    /// SIGSTOP.
    fn pause(&mut self, now: Time, node: usize);

    /// SIGCONT.
    fn resume(&mut self, now: Time, node: usize, out: &mut Outbox);

    /// The faults are over for good: from now on the disks too are ones that a cluster can
    /// make progress on. Of real disks there is nothing to end.
    fn calm(&mut self) {}

    /// The state of the network between nodes has changed. A backend whose nodes send through
    /// the world has nothing to do, and does not ask which it is.
    fn expose(&mut self, _weather: &dyn Fn() -> Weather, _out: &mut Outbox) {}

    /// Whether an answer that comes after its client gave up is no fault of the node: over a
    /// socket it reaches a closed connection, and nothing else happens.
    fn may_answer_late(&self) -> bool {
        false
    }

    /// Stops a node's output from being heard, after it broke the protocol.
    fn mute(&mut self, node: usize);

    /// White-box check after a step; the text says which invariant broke.
    fn violation(&self) -> Option<String> {
        None
    }

    /// The members that were committed since the last call, as seen from inside.
    fn new_members(&mut self) -> Vec<Members> {
        Vec::new()
    }

    /// The last lines a node wrote to its log, for a report.
    fn last_lines(&self, node: usize) -> Vec<String>;

    /// Returns a node's last output on its stdout, for a report; nothing of a node without one.
    fn printed(&self, _node: usize) -> Option<Printed> {
        None
    }
}

/// A cluster on the real clock, whose nodes are heard from other threads.
pub trait Live: Cluster {
    /// Something that a thread tells the world.
    type Heard;

    /// Turns it into outputs.
    fn take(&mut self, now: Time, heard: Self::Heard) -> Outbox;

    /// Looks at the nodes, a few times a second.
    fn glance(&mut self) -> Outbox {
        Outbox::default()
    }

    /// The nodes that have ended by themselves, to be asked for at the end of a run.
    fn quitters(&mut self) -> Outbox;
}

/// The network between nodes, by (from, to).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Directions in which everything is lost.
    pub cut: BTreeSet<(usize, usize)>,
    /// Directions in which everything waits.
    pub stalled: BTreeSet<(usize, usize)>,
    /// How long everything takes, where it takes any time.
    pub delay: BTreeMap<(usize, usize), Duration>,
    /// Pairs, in either order, whose connections are reset and refused.
    pub torn: BTreeSet<(usize, usize)>,
    /// Thousands of bytes a second for each direction of a connection, if that is limited.
    pub kilobytes: Option<u32>,
}

/// Who takes part, from some moment on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The voters, by index.
    pub voters: BTreeSet<usize>,
    /// Voters and learners.
    pub all: BTreeSet<usize>,
}

/// The stdout of a node, as far as a report needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// How many bytes came.
    pub bytes: u64,
    /// The last lines, oldest first.
    pub lines: Vec<String>,
    /// The bytes after the end of the last line.
    pub unfinished: Option<String>,
}

/// The outputs of nodes during a call.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The outputs of each node, in order.
    pub outputs: Vec<(usize, Output)>,
    /// Nodes that want a [`Cluster::wake`], and when.
    pub wakes: Vec<(usize, Time)>,
}

/// Something a node did on its own.
#[derive(Debug)]
pub enum Output {
    /// It sent a message.
    Send(Packet),
    /// It did something no node may do.
    Fault(NodeFault),
}

/// The first `limit` characters of a text that may be anything.
pub fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
