//! The values that flags take.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::check::Availability;

/// How the latency of a message is drawn, given its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LatencyDist {
    /// Always the mean.
    Constant,
    /// Uniform between 0 and twice the mean.
    Uniform,
    /// Exponential.
    Exponential,
}

/// The kinds of fault the nemesis switches on and off during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Fault {
    /// Cut the network in Jepsen's shapes.
    Partition,
    /// SIGKILL nodes, restart them later.
    Kill,
    /// SIGSTOP nodes, SIGCONT them later.
    Pause,
    /// Cut links in one direction only.
    OneWay,
    /// Multiply latency for a while.
    Slow,
    /// Remove members and add them again (workloads of Raft on our own nodes).
    Membership,
    /// Hold back everything on some links, and deliver it when the link is free again.
    Stall,
    /// Ask a node nothing for a while, then put an empty one in its place (simulation;
    /// not for consensus).
    Replace,
    /// Reset the connections on some links and refuse new ones; where messages have no
    /// connections, lose them.
    Reset,
    /// Give each connection between servers few bytes a second (--server).
    Throttle,
    /// Lose the requests of all clients to some nodes, or the answers of those nodes.
    Clients,
    /// Take all free space of some nodes' disks, and give it back later (--server, as root).
    FullDisk,
}

/// How servers reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkKind {
    /// On one host, through proxies of the bench.
    Proxies,
    /// Each on a host of its own, a network namespace, with links that are cut (as root).
    Namespaces,
}

/// The overlay that broadcast's `topology` message suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// A two-dimensional grid.
    Grid,
    /// A line.
    Line,
    /// A binary tree.
    Tree,
    /// A tree with 2 children a node.
    Tree2,
    /// A tree with 3 children a node.
    Tree3,
    /// A tree with 4 children a node.
    Tree4,
    /// Each node with each other.
    Total,
}

/// How many operations must succeed (`--availability`), if any must.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand(pub Option<Availability>);

impl FromStr for Demand {
    type Err = String;

    fn from_str(s: &str) -> Result<Demand, String> {
        if s == "none" { Ok(Demand(None)) } else { s.parse().map(|a| Demand(Some(a))) }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(Availability::Total) => f.write_str("total"),
            Some(Availability::Fraction(part)) => write!(f, "{part}"),
        }
    }
}

/// A number of workers: a count, or a multiple of the number of nodes (`4n`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many.
    Fixed(usize),
    /// This many for each node.
    PerNode(usize),
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(s: &str) -> Result<Concurrency, String> {
        let (digits, per_node) = s.strip_suffix('n').map_or((s, false), |d| (d, true));
        let count: usize =
            digits.parse().map_err(|_| "expected a number, or one followed by n".to_owned())?;
        match (count, per_node) {
            (0, _) => Err("at least one worker is needed".into()),
            (count, true) => Ok(Concurrency::PerNode(count)),
            (count, false) => Ok(Concurrency::Fixed(count)),
        }
    }
}
