//! Best first: one configuration at a time, the most promising one next.
//!
//! The steps are those of the pass, one return at a time. A configuration is promising if it got
//! far and spent little: spent calls never come back, and are missed later. So an indeterminate
//! call is only used where no other way through the last few returns was found. A history of few
//! clients is decided with a handful of configurations for each return, however many indeterminate
//! calls there are. The search is exact; its bound is its budget of work and memory.

use std::collections::BTreeMap;

use super::config::{Config, Overflow};
use super::finding::Precision;
use super::graph::{ALL, Arrival, Graph, Node, NodeId, Stage};
use super::model::Model;
use super::pass::{End, MAX_POSSIBILITIES, possibilities};
use super::step::{Capacity, Stepper};
use super::timeline::{Event, Timeline};

/// Nodes and tasks at most, more than the history has events: about 100 MB with 64 slots.
const MAX_NODES: usize = 400_000;

/// How many events of progress an indeterminate call is worth. Measured on 2 to 8 clients
/// with 2 to 50 values: 10 spends so freely that calls are missed later, 100 looks at
/// too many other ways first.
const SPENT_WEIGHT: i64 = 25;

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
    graph: Graph<W>,
    /// Tasks and their places, the best last; among equals, the newest.
    tasks: BTreeMap<(i64, u64), (usize, Task<W>)>,
    /// Tasks so far.
    task_count: u64,
    /// The furthest return that had to be handled, and with which configurations.
    furthest: (usize, Vec<Config<W>>),
    /// How many events of progress an indeterminate call is worth.
    weight: i64,
    max_nodes: usize,
}

impl<'t, const W: usize> BestFirst<'t, W> {
    pub(super) fn new(model: &dyn Model, timeline: &'t Timeline) -> Self {
        Self::weighing(model, timeline, SPENT_WEIGHT)
    }

    /// The same with another worth of an indeterminate call. The verdict does not depend on it.
    pub(super) fn weighing(model: &dyn Model, timeline: &'t Timeline, weight: i64) -> Self {
        let mut search = BestFirst {
            stepper: Stepper::new(timeline),
            graph: Graph::new(timeline.events.len()),
            tasks: BTreeMap::new(),
            task_count: 0,
            furthest: (0, Vec::new()),
            weight,
            max_nodes: timeline.events.len() + MAX_NODES,
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
            if self.graph.nodes.len() + self.tasks.len() > self.max_nodes {
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
        let loss = self.weight * i64::from(spent) + i64::from(config.owed.len());
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

    /// Goes on from `config`, which is at the frontier, when its turn comes.
    fn arrive(&mut self, parent: Option<NodeId>, config: Config<W>) {
        let at = self.stepper.frontier.at();
        self.note(at, config);
        match self.graph.arrive(parent, config, &mut self.stepper) {
            Arrival::Failed(blame) => {
                if let Some(parent) = parent {
                    self.graph.fail(parent, config.spent, &blame, &self.stepper);
                    self.close(parent);
                }
            }
            Arrival::Covered => {}
            Arrival::New(id) => self.plan(at, Task::Expand(id), &config, 0),
        }
    }

    /// Finds the results of a node's stage. Returns false if that was too much work.
    fn expand(&mut self, model: &mut dyn Model, id: NodeId) -> bool {
        let Some(Event::Return(call)) = self.stepper.frontier.next() else {
            unreachable!("nodes are at returns");
        };
        let Node { at, config, stage, .. } = self.graph.nodes[id];
        let before = self.stepper.spent.total(config.spent);
        let (least, most) = match stage {
            Stage::Spending(count) => (before + count, before + count),
            // Those of one call and more, too: fewer were told apart when they were found.
            Stage::Rest { .. } => (before + 1, u32::MAX),
        };
        // Nothing is dropped, so that nothing but the budget ends this.
        let capacity = Capacity { max_per_state: usize::MAX, overflow: Overflow::Evict };
        self.stepper.max_spent = most;
        self.stepper.spent.critical = Some(self.graph.nodes[id].blame.classes());
        self.stepper.exhausted.clear();
        let next = self.stepper.complete(model, [&config].into_iter(), call, capacity);
        self.stepper.spent.critical = None;
        if self.stepper.excess().is_some() {
            return false;
        }
        let (node, table) = (&mut self.graph.nodes[id], &self.stepper.spent);
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
        match self.graph.nodes[id].stage {
            Stage::Rest { found: Some(_) } => self.close(id),
            _ => self.wait(id),
        }
        true
    }

    /// Plans the next stage of a node.
    fn wait(&mut self, id: NodeId) {
        let node = &mut self.graph.nodes[id];
        node.is_waiting = true;
        let more = match node.stage {
            Stage::Spending(count) => count,
            Stage::Rest { .. } => ALL,
        };
        let (at, config) = (node.at, node.config);
        self.plan(at, Task::Expand(id), &config, more);
    }

    /// Lets the node fail if all its results did.
    fn close(&mut self, id: NodeId) {
        for id in self.graph.close(id, &mut self.stepper) {
            self.wait(id);
        }
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
