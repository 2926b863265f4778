//! The nemesis: faults and their times.
//!
//! As Jepsen's combined nemesis package: partitions come and go in one flow, kills
//! and pauses in another. The first act of a flow comes at once, each later one a random
//! time of mean `--nemesis-interval` after the one before (`jepsen.generator/stagger`).
//! Faults that Maelstrom does not have (one-way cuts, slow spells) have flows of their own. Every
//! flow draws from its own stream, so that leaving one out does not change the others.

use std::collections::BTreeSet;
use std::time::Duration;

use seaworthy::message::NodeId;

use super::shapes::{Grudge, partition, targets};
use crate::config::{Fault, RunConfig};
use crate::edn::Edn;
use crate::seed::Draw;

/// Something the nemesis does to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Each key stops hearing the nodes in its set.
    Partition(Grudge),
    /// All nodes hear each other again.
    Heal,
    /// SIGKILL.
    Kill(Vec<usize>),
    /// Start the nodes that do not run.
    Start,
    /// SIGSTOP.
    Pause(Vec<usize>),
    /// SIGCONT to all.
    Resume,
    /// Cut these (from, to) directions.
    CutOneWay(BTreeSet<(usize, usize)>),
    /// Undo that.
    HealOneWay,
    /// Multiply latency by this.
    Slow(u32),
    /// Undo that.
    Fast,
    /// Ask the cluster to take this node out.
    RemoveMember(usize),
    /// Ask the cluster to take all nodes in.
    RestoreMembers,
    /// Messages in these (from, to) directions do not arrive for the time being.
    Stall(BTreeSet<(usize, usize)>),
    /// It arrives now.
    Release,
    /// No more operations for this node.
    Drain(usize),
    /// An empty node in the place of the one that is drained.
    Replace,
    /// Reset connections between these pairs of nodes, and refuse new ones.
    Reset(BTreeSet<(usize, usize)>),
    /// Undo that.
    HealReset,
    /// So many bytes a second for each connection between servers, in thousands.
    Throttle(u32),
    /// Undo that.
    Unthrottle,
    /// Lose the requests of clients to these nodes.
    LoseRequests(Vec<usize>),
    /// Lose the answers of these nodes to clients.
    LoseAnswers(Vec<usize>),
    /// Undo both.
    HealClients,
    /// Take all free space of these nodes' disks.
    FillDisks(Vec<usize>),
    /// Undo that.
    FreeDisks,
}

impl Act {
    /// Its name in the history.
    pub fn name(&self) -> &'static str {
        match self {
            Act::Partition(_) => "start-partition",
            Act::Heal => "stop-partition",
            Act::Kill(_) => "kill",
            Act::Start => "start",
            Act::Pause(_) => "pause",
            Act::Resume => "resume",
            Act::CutOneWay(_) => "start-one-way",
            Act::HealOneWay => "stop-one-way",
            Act::Slow(_) => "slow",
            Act::Fast => "fast",
            Act::RemoveMember(_) => "remove-member",
            Act::RestoreMembers => "restore-members",
            Act::Stall(_) => "stall",
            Act::Release => "release",
            Act::Drain(_) => "drain",
            Act::Replace => "replace",
            Act::Reset(_) => "start-reset",
            Act::HealReset => "stop-reset",
            Act::Throttle(_) => "throttle",
            Act::Unthrottle => "unthrottle",
            Act::LoseRequests(_) => "lose-requests",
            Act::LoseAnswers(_) => "lose-answers",
            Act::HealClients => "heal-clients",
            Act::FillDisks(_) => "fill-disk",
            Act::FreeDisks => "free-disk",
        }
    }

    /// The fault it begins; none if it ends one.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Act::Partition(_) => Some(Fault::Partition),
            Act::Kill(_) => Some(Fault::Kill),
            Act::Pause(_) => Some(Fault::Pause),
            Act::CutOneWay(_) => Some(Fault::OneWay),
            Act::Slow(_) => Some(Fault::Slow),
            Act::RemoveMember(_) => Some(Fault::Membership),
            Act::Stall(_) => Some(Fault::Stall),
            Act::Drain(_) => Some(Fault::Replace),
            Act::Reset(_) => Some(Fault::Reset),
            Act::Throttle(_) => Some(Fault::Throttle),
            Act::LoseRequests(_) | Act::LoseAnswers(_) => Some(Fault::Clients),
            Act::FillDisks(_) => Some(Fault::FullDisk),
            _ => None,
        }
    }
}

/// An act as the history tells it: `:f`, the value it is asked for with, and the value that tells
/// the deed.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultEvent {
    /// The act itself.
    pub act: Act,
    /// Its name in the history.
    pub f: &'static str,
    /// The kind of target that was asked for.
    pub asked: Edn,
    /// The nodes that the act struck.
    pub done: Edn,
}

/// A sequence of acts of one kind.
struct Flow {
    fault: Vec<Fault>,
    draw: Draw,
    /// For each fault of the flow, whether it is on.
    on: BTreeSet<Fault>,
}

/// All flows of a run.
pub struct Nemesis {
    nodes: Vec<NodeId>,
    interval: Duration,
    flows: Vec<Flow>,
}

impl Nemesis {
    /// The nemesis of a run.
    pub fn new(config: &RunConfig) -> Nemesis {
        let groups: [&[Fault]; 11] = [
            &[Fault::Partition],
            &[Fault::Kill, Fault::Pause],
            &[Fault::OneWay],
            &[Fault::Slow],
            &[Fault::Membership],
            &[Fault::Stall],
            &[Fault::Replace],
            &[Fault::Reset],
            &[Fault::Throttle],
            &[Fault::Clients],
            &[Fault::FullDisk],
        ];
        let mut flows = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let fault: Vec<Fault> = group.iter().copied().filter(|f| config.has(*f)).collect();
            if !fault.is_empty() {
                let draw = config.seed.stream("nemesis", index as u64);
                flows.push(Flow { fault, draw, on: BTreeSet::new() });
            }
        }
        let nodes = config.nodes.clone();
        Nemesis { nodes, interval: config.nemesis_interval, flows }
    }

    /// How many flows there are; each is asked for its acts separately.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Returns how long flow `index` waits for its first act: not at all, as with Jepsen. An act
    /// that asks something of the cluster waits for a cluster that can answer.
    pub fn first_delay(&mut self, index: usize) -> Duration {
        let asks = |fault: &Fault| matches!(fault, Fault::Membership | Fault::Replace);
        if self.flows[index].fault.iter().any(asks) { self.delay(index) } else { Duration::ZERO }
    }

    /// How long flow `index` waits after an act for its next one (Jepsen's stagger:
    /// uniform between 0 and twice the interval).
    pub fn delay(&mut self, index: usize) -> Duration {
        self.interval.mul_f64(2.0 * self.flows[index].draw.unit())
    }

    /// The next act of flow `index`.
    pub fn next(&mut self, index: usize) -> FaultEvent {
        let flow = &mut self.flows[index];
        let fault = *flow.draw.pick(&flow.fault);
        if flow.on.remove(&fault) {
            return relief(fault);
        }
        flow.on.insert(fault);
        inflict(fault, &self.nodes, &mut flow.draw)
    }

    /// The acts that end all faults that may be going on, for the end of a test.
    pub fn last_acts(&self) -> Vec<FaultEvent> {
        let faults = self.flows.iter().flat_map(|f| f.fault.iter());
        faults.map(|fault| relief(*fault)).collect()
    }
}

/// The act that ends `fault`.
pub fn relief(fault: Fault) -> FaultEvent {
    let act = match fault {
        Fault::Partition => Act::Heal,
        Fault::Kill => Act::Start,
        Fault::Pause => Act::Resume,
        Fault::OneWay => Act::HealOneWay,
        Fault::Slow => Act::Fast,
        Fault::Membership => Act::RestoreMembers,
        Fault::Stall => Act::Release,
        Fault::Replace => Act::Replace,
        Fault::Reset => Act::HealReset,
        Fault::Throttle => Act::Unthrottle,
        Fault::Clients => Act::HealClients,
        Fault::FullDisk => Act::FreeDisks,
    };
    tell(act, &[])
}

fn inflict(fault: Fault, nodes: &[NodeId], draw: &mut Draw) -> FaultEvent {
    let kind = |kind: Option<&str>| kind.map_or(Edn::Nil, Edn::keyword);
    let (asked, act) = match fault {
        Fault::Partition => {
            let (shape, grudge) = partition(nodes.len(), draw);
            (Edn::keyword(shape), Act::Partition(grudge))
        }
        Fault::Kill => {
            let (target, chosen) = targets(nodes.len(), draw);
            (kind(target), Act::Kill(chosen))
        }
        Fault::Pause => {
            let (target, chosen) = targets(nodes.len(), draw);
            (kind(target), Act::Pause(chosen))
        }
        Fault::FullDisk => {
            let (target, chosen) = targets(nodes.len(), draw);
            (kind(target), Act::FillDisks(chosen))
        }
        Fault::OneWay => (Edn::Nil, Act::CutOneWay(one_way(nodes.len(), draw))),
        Fault::Membership => (Edn::Nil, Act::RemoveMember(draw.below(nodes.len()))),
        Fault::Slow => (Edn::Nil, Act::Slow(*draw.pick(&[2, 5, 20]))),
        Fault::Stall => (Edn::Nil, Act::Stall(one_way(nodes.len(), draw))),
        Fault::Replace => (Edn::Nil, Act::Drain(draw.below(nodes.len()))),
        Fault::Reset => (Edn::Nil, Act::Reset(one_way(nodes.len(), draw))),
        Fault::Throttle => (Edn::Nil, Act::Throttle(*draw.pick(&[5, 20, 100]))),
        Fault::Clients => {
            let is_heard = draw.chance(0.5);
            let (target, chosen) = targets(nodes.len(), draw);
            let act = if is_heard { Act::LoseAnswers(chosen) } else { Act::LoseRequests(chosen) };
            (kind(target), act)
        }
    };
    FaultEvent { asked, ..tell(act, nodes) }
}

/// The event of `act`, with its own value as the one asked for.
pub fn tell(act: Act, nodes: &[NodeId]) -> FaultEvent {
    let done = match &act {
        Act::Partition(grudge) => {
            Edn::Vector(vec![Edn::keyword("isolated"), tell_grudge(nodes, grudge)])
        }
        Act::Kill(chosen) => tell_nodes(nodes, chosen, "killed"),
        Act::Pause(chosen) => tell_nodes(nodes, chosen, "paused"),
        Act::CutOneWay(links) | Act::Stall(links) | Act::Reset(links) => {
            let tell = |(from, to): &(usize, usize)| {
                Edn::Vector(vec![Edn::str(nodes[*from].as_str()), Edn::str(nodes[*to].as_str())])
            };
            Edn::Vector(links.iter().map(tell).collect())
        }
        Act::RemoveMember(node) | Act::Drain(node) => Edn::str(nodes[*node].as_str()),
        Act::Slow(factor) => Edn::Int(i64::from(*factor)),
        Act::Throttle(kilobytes) => Edn::Int(i64::from(*kilobytes)),
        Act::LoseRequests(chosen) => tell_nodes(nodes, chosen, "unheard"),
        Act::LoseAnswers(chosen) => tell_nodes(nodes, chosen, "unanswered"),
        Act::FillDisks(chosen) => tell_nodes(nodes, chosen, "full"),
        Act::Heal | Act::HealOneWay | Act::HealReset | Act::HealClients => {
            Edn::keyword("network-healed")
        }
        Act::Unthrottle => Edn::keyword("bandwidth-restored"),
        Act::FreeDisks => Edn::keyword("freed"),
        Act::Start => Edn::keyword("started"),
        Act::Resume => Edn::keyword("resumed"),
        Act::Fast => Edn::keyword("latency-restored"),
        Act::RestoreMembers => Edn::keyword("asked"),
        Act::Release => Edn::keyword("delivered"),
        Act::Replace => Edn::keyword("replaced"),
    };
    FaultEvent { f: act.name(), act, asked: Edn::Nil, done }
}

/// A random non-empty set of directions between different nodes; often the kind
/// that hurts most, a node that is heard but hears no other, or the reverse.
fn one_way(n: usize, draw: &mut Draw) -> BTreeSet<(usize, usize)> {
    if n < 2 {
        return BTreeSet::new();
    }
    let victim = draw.below(n);
    let others = (0..n).filter(|i| *i != victim);
    match draw.below(3) {
        0 => others.map(|o| (o, victim)).collect(),
        1 => others.map(|o| (victim, o)).collect(),
        _ => {
            let mut links: Vec<(usize, usize)> =
                (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b).collect();
            draw.shuffle(&mut links);
            let count = 1 + draw.below(links.len());
            links.into_iter().take(count).collect()
        }
    }
}

fn tell_grudge(nodes: &[NodeId], grudge: &Grudge) -> Edn {
    let name = |i: &usize| Edn::str(nodes[*i].as_str());
    let tell = |(node, unheard): (&usize, &BTreeSet<usize>)| {
        (name(node), Edn::Set(unheard.iter().map(name).collect()))
    };
    Edn::Map(grudge.iter().map(tell).collect())
}

fn tell_nodes(nodes: &[NodeId], chosen: &[usize], what: &str) -> Edn {
    let tell = |i: &usize| (Edn::str(nodes[*i].as_str()), Edn::keyword(what));
    Edn::Map(chosen.iter().map(tell).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn flows_flip_and_flop() {
        let draw = Seed(1).stream("x", 0);
        let mut flow_on = false;
        let nodes: Vec<NodeId> = ["n0", "n1", "n2"].map(NodeId::from).to_vec();
        let fault = vec![Fault::Partition];
        let flows = vec![Flow { fault, draw, on: BTreeSet::new() }];
        let mut nemesis = Nemesis { nodes, interval: Duration::from_secs(1), flows };
        for _ in 0..10 {
            let healed = nemesis.next(0).act == Act::Heal;
            assert_eq!(healed, flow_on);
            flow_on = !flow_on;
        }
    }
}
