//! Best first: one configuration at a time, the most promising one next.
//!
//! The steps are those of the pass, one return at a time. A configuration is promising if it got
//! far and spent little: spent calls never come back, and are missed later. So
//! an indeterminate call is only used where no other way through the last few returns was
//! found. A history of few clients is decided with a handful of configurations for each
//! return, however many indeterminate calls there are. The search is exact; what bounds it
//! is its budget of work and memory.
//!
//! The configurations at returns are the nodes of a graph. A node *fails* when all its results
//! failed; `blame.rs` has the lesson of that. A result that an open node dominates is
//! not followed: it fails if that one does, and fails for the same reason, so that it becomes
//! another parent of that node. Every result is further on than its node, hence there are no
//! circles.

use std::collections::BTreeMap;

use super::blame::{Blame, Failure};
use super::config::{Config, Overflow, Spent};
use super::model::Model;
use super::pass::{End, MAX_POSSIBILITIES, possibilities};
use super::search::Precision;
use super::step::{Capacity, Stepper};
use super::timeline::{Event, Timeline};

/// Nodes at most: about 400 MB with 64 slots.
const MAX_NODES: usize = 2_000_000;

/// How many events of progress an indeterminate call is worth. Measured on 2 to 8 clients
/// with 2 to 50 values: 10 spends so freely that calls are missed later, 100 looks at
/// too many other ways first.
const SPENT_WEIGHT: i64 = 25;

/// Results of a return that spend fewer calls than that are found one number at a time,
/// before the others.
const ALL: u32 = 3;

/// Which results of a node are found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Those that spend so many indeterminate calls.
    Spending(u32),
    /// All that spend any, told apart by the classes that are blamed. They were `found`
    /// for so many classes, if they were.
    Rest { found: Option<usize> },
}

/// A configuration at a return that it owes or could use.
struct Node<const W: usize> {
    /// The number of events before the return.
    at: usize,
    config: Config<W>,
    /// The nodes of which it, or one that it dominates, is a result, and the calls that that result spent.
    parents: Vec<(NodeId, Spent)>,
    /// Results that did not fail so far.
    open: usize,
    /// Whether a task is waiting to find more results.
    is_waiting: bool,
    stage: Stage,
    /// Why the results failed that did.
    blame: Blame,
}

type NodeId = usize;

/// Something to do at a place of the timeline.
enum Task<const W: usize> {
    /// Finds the results of the next stage.
    Expand(NodeId),
    /// Goes on to the next return that matters, with a result of a node; without one, from the
    /// beginning.
    Follow(Option<NodeId>, Config<W>),
}

/// A search that can be continued.
pub(super) struct BestFirst<'t, const W: usize> {
    stepper: Stepper<'t, W>,
    nodes: Vec<Node<W>>,
    /// Tasks and their places, the best last; among equals, the newest.
    tasks: BTreeMap<(i64, u64), (usize, Task<W>)>,
    /// Tasks so far.
    task_count: u64,
    /// For each number of events, the nodes there that did not fail.
    open: Vec<Vec<NodeId>>,
    /// For each number of events, the failures there.
    failures: Vec<Vec<Failure<W>>>,
    /// The furthest return that had to be handled, and with which configurations.
    furthest: (usize, Vec<Config<W>>),
}

impl<'t, const W: usize> BestFirst<'t, W> {
    pub(super) fn new(model: &dyn Model, timeline: &'t Timeline) -> Self {
        let mut search = BestFirst {
            stepper: Stepper::new(timeline),
            nodes: Vec::new(),
            tasks: BTreeMap::new(),
            task_count: 0,
            open: vec![Vec::new(); timeline.events.len()],
            failures: vec![Vec::new(); timeline.events.len()],
            furthest: (0, Vec::new()),
        };
        let start = Stepper::start(model);
        search.plan(0, Task::Follow(None, start), &start, 0);
        search
    }

    /// Searches on, for so much work. The end, and the work it took.
    pub(super) fn run(&mut self, model: &mut dyn Model, budget: u64) -> (End, u64) {
        let before = self.stepper.work;
        self.stepper.max_work = before.saturating_add(budget);
        let end = self.advance(model);
        (end, self.stepper.work - before)
    }

    fn advance(&mut self, model: &mut dyn Model) -> End {
        loop {
            if let Some(reason) = self.stepper.excess() {
                return End::Stopped(reason);
            }
            if self.nodes.len() > MAX_NODES {
                return End::Stopped("too many configurations to remember".into());
            }
            let Some((key, (at, task))) = self.tasks.pop_last() else {
                return self.died(model);
            };
            self.stepper.work += self.stepper.frontier.at().abs_diff(at) as u64;
            self.stepper.frontier.go_to(at, model);
            match task {
                Task::Follow(parent, config) => {
                    if let Some(end) = self.follow(model, parent, config) {
                        return end;
                    }
                }
                Task::Expand(id) => {
                    if !self.expand(model, id) {
                        // It is done again if the search continues.
                        self.tasks.insert(key, (at, Task::Expand(id)));
                    }
                }
            }
        }
    }

    /// Adds a task for `config`, after which it will have spent `more` calls at least.
    fn plan(&mut self, at: usize, task: Task<W>, config: &Config<W>, more: u32) {
        let spent = self.stepper.spent.total(config.spent) + more;
        let loss = SPENT_WEIGHT * i64::from(spent) + i64::from(config.owed.len());
        let progress = i64::try_from(at).expect("a history fits into memory");
        self.task_count += 1;
        self.tasks.insert((progress - loss, self.task_count), (at, task));
    }

    /// Goes on with `config` to the next return that it owes or could use. Returns the end
    /// if there is none.
    fn follow(
        &mut self,
        model: &mut dyn Model,
        parent: Option<NodeId>,
        mut config: Config<W>,
    ) -> Option<End> {
        loop {
            match self.stepper.frontier.next() {
                None => {
                    let possibilities = possibilities(&self.stepper, [&config].into_iter());
                    return Some(End::Survived { possibilities, is_exact: true });
                }
                Some(Event::Return(call)) => {
                    let slot = self.stepper.frontier.slot(call);
                    if config.owed.has(slot) || config.usable.has(slot) {
                        break;
                    }
                    self.stepper.frontier.forward(model);
                }
                Some(Event::Invoke(call)) => {
                    self.stepper.frontier.forward(model);
                    self.stepper.admit(model, call, &mut config);
                }
            }
            self.stepper.work += 1;
        }
        self.arrive(parent, config);
        None
    }

    /// Makes a node of `config`, which is at the frontier, unless another one covers it.
    fn arrive(&mut self, parent: Option<NodeId>, config: Config<W>) {
        let at = self.stepper.frontier.at();
        self.note(at, config);
        let table = &self.stepper.spent;
        self.stepper.work += (self.failures[at].len() + self.open[at].len()) as u64 + 1;
        if let Some(known) = self.failures[at].iter().find(|known| known.covers(&config, table)) {
            let blame = known.blame(table);
            if let Some(parent) = parent {
                self.fail(parent, config.spent, &blame);
                self.close(parent);
            }
            return;
        }
        let parents: Vec<(NodeId, Spent)> =
            parent.map(|id| (id, config.spent)).into_iter().collect();
        let covers = |id: &&NodeId| self.nodes[**id].config.dominates(&config, table);
        if let Some(id) = self.open[at].iter().find(covers) {
            self.nodes[*id].parents.extend(parents);
            return;
        }
        let id = self.nodes.len();
        let (stage, blame) = (Stage::Spending(0), Blame::new(at));
        self.nodes.push(Node { at, config, parents, open: 0, is_waiting: true, stage, blame });
        self.open[at].push(id);
        self.plan(at, Task::Expand(id), &config, 0);
    }

    /// Finds the results of a node's stage. Returns false if that was too much work.
    fn expand(&mut self, model: &mut dyn Model, id: NodeId) -> bool {
        let Some(Event::Return(call)) = self.stepper.frontier.next() else {
            unreachable!("nodes are at returns");
        };
        let Node { at, config, stage, .. } = self.nodes[id];
        let before = self.stepper.spent.total(config.spent);
        let (least, most) = match stage {
            Stage::Spending(count) => (before + count, before + count),
            // Those of one call and more, too: fewer were told apart when they were found.
            Stage::Rest { .. } => (before + 1, u32::MAX),
        };
        // Nothing is dropped, so that nothing but the budget ends this.
        let capacity = Capacity { max_per_state: usize::MAX, overflow: Overflow::Evict };
        self.stepper.max_spent = most;
        self.stepper.spent.critical = Some(self.nodes[id].blame.classes());
        self.stepper.exhausted.clear();
        let next = self.stepper.complete(model, [&config].into_iter(), call, capacity);
        self.stepper.spent.critical = None;
        if self.stepper.excess().is_some() {
            return false;
        }
        let (node, table) = (&mut self.nodes[id], &self.stepper.spent);
        node.stage = match stage {
            Stage::Spending(count) if count + 1 < ALL => Stage::Spending(count + 1),
            Stage::Spending(_) => Stage::Rest { found: None },
            Stage::Rest { .. } => Stage::Rest { found: Some(node.blame.len()) },
        };
        for class in &self.stepper.exhausted {
            node.blame.add(*class, table.count(config.spent, *class));
        }
        // The others were found before. Results that are tried twice fail at once.
        let is_new = |result: &&Config<W>| table.total(result.spent) >= least;
        let results: Vec<Config<W>> = next.iter().filter(is_new).copied().collect();
        node.open += results.len();
        node.is_waiting = false;
        for result in results {
            self.plan(at + 1, Task::Follow(Some(id), result), &result, 0);
        }
        match self.nodes[id].stage {
            Stage::Rest { found: Some(_) } => self.close(id),
            _ => self.wait(id),
        }
        true
    }

    /// Plans the next stage of a node.
    fn wait(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        node.is_waiting = true;
        let more = match node.stage {
            Stage::Spending(count) => count,
            Stage::Rest { .. } => ALL,
        };
        let (at, config) = (node.at, node.config);
        self.plan(at, Task::Expand(id), &config, more);
    }

    /// Notes that a result of the node, which spent `spent`, failed.
    fn fail(&mut self, id: NodeId, spent: Spent, blame: &Blame) {
        let (node, table) = (&mut self.nodes[id], &self.stepper.spent);
        node.open -= 1;
        let before = node.config.spent;
        node.blame.inherit(blame, |class| table.count(spent, class) - table.count(before, class));
    }

    /// Lets the node fail, and those that have no other way, if all its results did.
    fn close(&mut self, id: NodeId) {
        let mut ids = vec![id];
        while let Some(id) = ids.pop() {
            let node = &mut self.nodes[id];
            if node.open > 0 || node.is_waiting {
                continue;
            }
            if node.stage != (Stage::Rest { found: Some(node.blame.len()) }) {
                self.wait(id);
                continue;
            }
            let (at, config) = (node.at, node.config);
            let (parents, blame) =
                (std::mem::take(&mut node.parents), std::mem::take(&mut node.blame));
            self.open[at].retain(|other| *other != id);
            self.remember(at, config, &blame);
            for (parent, spent) in parents {
                self.fail(parent, spent, &blame);
                ids.push(parent);
            }
        }
    }

    /// Remembers that `config` failed.
    fn remember(&mut self, at: usize, config: Config<W>, blame: &Blame) {
        let returned_at = |slot| self.stepper.frontier.returned_at(slot, at);
        let table = &mut self.stepper.spent;
        let failure = Failure::new(config, blame, table, returned_at);
        let failures = &mut self.failures[at];
        failures.retain(|other| !failure.includes(other, table));
        failures.push(failure);
    }

    /// Notes which configurations reached the furthest return.
    fn note(&mut self, at: usize, config: Config<W>) {
        let (furthest, reached) = &mut self.furthest;
        if at > *furthest {
            *furthest = at;
            reached.clear();
        }
        if at == *furthest && reached.len() < MAX_POSSIBILITIES {
            reached.push(config);
        }
    }

    /// The end after everything failed: the furthest return is impossible.
    fn died(&mut self, model: &dyn Model) -> End {
        self.stepper.frontier.go_to(self.furthest.0, model);
        let Some(Event::Return(call)) = self.stepper.frontier.next() else {
            unreachable!("only a return fails");
        };
        let before = possibilities(&self.stepper, self.furthest.1.iter());
        End::Died { call, before, precision: Precision::Some }
    }
}
