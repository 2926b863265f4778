//! The configurations that the search for the best reached, and which of them failed.
//!
//! The configurations at returns are the nodes of a graph. A node *fails* when all its results
//! failed; `blame.rs` has the lesson of that. A result that an open node dominates is
//! not followed: it fails if that one does, and fails for the same reason, so that it becomes
//! another parent of that node. Every result is further on than its node, hence there are no
//! circles.

use super::blame::{Blame, Failure};
use super::config::{Config, Spent};
use super::frontier::Frontier;
use super::step::Stepper;

/// Results of a return that spend fewer calls than that are found one number at a time,
/// before the others.
pub(super) const ALL: u32 = 3;

/// Which results of a node are found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Those that spend so many indeterminate calls.
    Spending(u32),
    /// All that spend any, told apart by the classes that are blamed. They were `found`
    /// for so many classes, if they were.
    Rest { found: Option<usize> },
}

/// A configuration at a return that it owes or could use.
pub(super) struct Node<const W: usize> {
    /// The number of events before the return.
    pub(super) at: usize,
    pub(super) config: Config<W>,
    /// The nodes of which it, or one that it dominates, is a result, and the calls that the result
    /// spent.
    parents: Vec<(NodeId, Spent)>,
    /// Results that did not fail so far.
    pub(super) open: usize,
    /// Whether a task is waiting to find more results.
    pub(super) is_waiting: bool,
    pub(super) stage: Stage,
    /// Why the results failed that did.
    pub(super) blame: Blame,
}

/// A node's position among all of them.
pub(super) type NodeId = usize;

/// All nodes.
pub(super) struct Graph<const W: usize> {
    pub(super) nodes: Vec<Node<W>>,
    /// For each number of events, the nodes there that did not fail.
    open: Vec<Vec<NodeId>>,
    /// For each number of events, the failures there.
    failures: Vec<Vec<Failure<W>>>,
}

/// The fate of a configuration that arrives at a return.
pub(super) enum Arrival {
    /// It fails, as is known already.
    Failed(Blame),
    /// An open node dominates it.
    Covered,
    /// It is a node of its own.
    New(NodeId),
}

impl<const W: usize> Graph<W> {
    pub(super) fn new(events: usize) -> Self {
        let (open, failures) = (vec![Vec::new(); events], vec![Vec::new(); events]);
        Graph { nodes: Vec::new(), open, failures }
    }

    /// Makes a node of `config`, a result of `parent`, at the frontier, unless another one
    /// covers it.
    pub(super) fn arrive(
        &mut self,
        parent: Option<NodeId>,
        config: Config<W>,
        stepper: &mut Stepper<'_, W>,
    ) -> Arrival {
        let at = stepper.frontier.at();
        stepper.work += (self.failures[at].len() + self.open[at].len()) as u64 + 1;
        let table = &stepper.spent;
        if let Some(known) = self.failures[at].iter().find(|known| known.covers(&config, table)) {
            return Arrival::Failed(known.blame(table));
        }
        let parents = parent.map(|id| (id, config.spent)).into_iter();
        let covers = |id: &&NodeId| self.nodes[**id].config.dominates(&config, table);
        if let Some(id) = self.open[at].iter().find(covers) {
            self.nodes[*id].parents.extend(parents);
            return Arrival::Covered;
        }
        let id = self.nodes.len();
        self.open[at].push(id);
        self.nodes.push(Node {
            at,
            config,
            parents: parents.collect(),
            open: 0,
            is_waiting: true,
            stage: Stage::Spending(0),
            blame: Blame::new(at),
        });
        Arrival::New(id)
    }

    /// Notes that a result of the node, which spent `spent`, failed.
    pub(super) fn fail(
        &mut self,
        id: NodeId,
        spent: Spent,
        blame: &Blame,
        stepper: &Stepper<'_, W>,
    ) {
        let (node, table) = (&mut self.nodes[id], &stepper.spent);
        node.open -= 1;
        let before = node.config.spent;
        node.blame.inherit(blame, |class| table.count(spent, class) - table.count(before, class));
    }

    /// Lets the node fail, and those that have no other way, if all its results did. Returns
    /// the nodes of which more results have to be found first.
    pub(super) fn close(&mut self, id: NodeId, stepper: &mut Stepper<'_, W>) -> Vec<NodeId> {
        let (mut ids, mut unfinished) = (vec![id], Vec::new());
        while let Some(id) = ids.pop() {
            let node = &mut self.nodes[id];
            if node.open > 0 || node.is_waiting {
                continue;
            }
            if node.stage != (Stage::Rest { found: Some(node.blame.len()) }) {
                node.is_waiting = true;
                unfinished.push(id);
                continue;
            }
            let (at, config) = (node.at, node.config);
            let (parents, blame) =
                (std::mem::take(&mut node.parents), std::mem::take(&mut node.blame));
            self.open[at].retain(|other| *other != id);
            self.remember(at, config, &blame, stepper);
            for (parent, spent) in parents {
                self.fail(parent, spent, &blame, stepper);
                ids.push(parent);
            }
        }
        unfinished
    }

    /// Remembers that `config` failed.
    fn remember(
        &mut self,
        at: usize,
        config: Config<W>,
        blame: &Blame,
        stepper: &mut Stepper<'_, W>,
    ) {
        let frontier: &Frontier<'_, W> = &stepper.frontier;
        let table = &mut stepper.spent;
        let failure = Failure::new(config, blame, table, |slot| frontier.returned_at(slot, at));
        let failures = &mut self.failures[at];
        failures.retain(|other| !failure.includes(other, table));
        failures.push(failure);
    }
}
