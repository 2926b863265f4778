//! From a long run that fails to the shortest that fails in the same way.
//!
//! Greedy and deterministic: one change at a time, each tried by running it; a change after which
//! the run still fails is kept, and everything is tried again until nothing can go. Lists (of
//! faults, of operations) are thinned by delta debugging: halves first, then quarters,
//! down to single items (Zeller and Hildebrandt, "Simplifying and isolating
//! failure-inducing input", 2002). Changes that make runs cheap come first, because
//! everything after it is tried on cheaper runs.
//!
//! Deliberately missing: changes of an operation's value.

use std::time::Duration;

use super::Space;
use super::plan::Plan;
use super::trial::Trial;
use crate::check::Symptom;
use crate::config::{Concurrency, LatencyDist, RunConfig};
use crate::world::nemesis::Act;
use crate::world::script::Course;

/// The limits of one attempt at shrinking.
pub struct Budget<'a> {
    /// How many runs it may take.
    pub runs: usize,
    /// Whether to stop with the best there is; asked before each run.
    pub stop: &'a dyn Fn() -> bool,
}

/// The end of the attempt.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// How many runs it took.
    pub runs: usize,
    /// Whether nothing more could go; otherwise the budget ended first.
    pub complete: bool,
    /// Whether the run fails as a plan too, in the same way; otherwise nothing was taken
    /// away.
    pub fails: bool,
}

/// The run of `config` as a plan: the smallest that fails in the same way.
///
/// # Errors
/// A sentence about the flag that makes no sense.
pub fn smallest(
    config: &RunConfig,
    space: &Space<'_>,
    budget: &Budget<'_>,
) -> Result<Shrunk, String> {
    let mut ran = space.run(config)?.course(Course::Recorded).simulate()?;
    let script = std::mem::take(&mut ran.report.script);
    let plan = Plan { run: config.args.clone(), script, symptom: Trial::of(&ran).symptom };
    let again = symptom(&plan, space)?;
    match plan.symptom.clone().filter(|symptom| symptom.is_shown_by(again.as_ref())) {
        Some(symptom) => Ok(shrink(plan, &symptom, space, budget)),
        None => Ok(Shrunk { plan, runs: 0, complete: false, fails: false }),
    }
}

/// How the run of a plan fails.
fn symptom(plan: &Plan, space: &Space<'_>) -> Result<Option<Symptom>, String> {
    let config = plan.config()?;
    let course = Course::Scripted(plan.script.clone());
    Ok(Trial::of(&space.run(&config)?.course(course).simulate()?).symptom)
}

/// Shrinks `plan`, which fails with `symptom`.
fn shrink(plan: Plan, symptom: &Symptom, space: &Space<'_>, budget: &Budget<'_>) -> Shrunk {
    let mut shrinker = Shrinker { best: plan, symptom, space, budget, runs: 0 };
    let mut complete = false;
    while !complete && !shrinker.spent() {
        let before = shrinker.size();
        shrinker.pass();
        complete = shrinker.size() == before && !shrinker.spent();
    }
    let symptom = Some(symptom.clone());
    Shrunk { plan: Plan { symptom, ..shrinker.best }, runs: shrinker.runs, complete, fails: true }
}

struct Shrinker<'a> {
    best: Plan,
    symptom: &'a Symptom,
    space: &'a Space<'a>,
    budget: &'a Budget<'a>,
    runs: usize,
}

/// After the last thing that happens, how long a run goes on.
const TAIL: Duration = Duration::from_millis(500);
/// Time that is not worth taking away.
const SHORT: Duration = Duration::from_millis(50);

impl Shrinker<'_> {
    fn spent(&self) -> bool {
        self.runs >= self.budget.runs || (self.budget.stop)()
    }

    /// Returns the parts that a pass must change to be worth another.
    fn size(&self) -> String {
        format!("{:?} {:?}", self.best.run, self.best.script)
    }

    /// Keeps the best plan as `change` leaves it, if it still fails in the same way.
    fn try_change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        if self.spent() || same(&plan, &self.best) {
            return false;
        }
        // A plan that makes no sense as a run is no smaller run.
        if plan.config().is_err() {
            return false;
        }
        self.runs += 1;
        let symptom = symptom(&plan, self.space);
        let fails = symptom.is_ok_and(|own| self.symptom.is_shown_by(own.as_ref()));
        if fails {
            self.best = plan;
        }
        fails
    }

    fn pass(&mut self) {
        // Nodes before operations: a story of fewer nodes is simpler even if it has more
        // operations.
        self.fewer_nodes();
        self.shorten();
        self.drop_kinds_of_fault();
        self.fewer_operations();
        self.fewer_acts();
        self.fewer_workers();
        self.weaken();
        self.close_gaps();
    }

    /// Drops the last acts and operations, and the time after them.
    fn shorten(&mut self) {
        for keep in [0.1, 0.25, 0.5, 0.75, 0.9] {
            let end = Duration::from_secs_f64(self.best.run.time_limit).mul_f64(keep);
            if self.try_change(|plan| cut(plan, end)) {
                break;
            }
        }
        self.try_change(|plan| plan.run.time_limit = last_moment(plan).as_secs_f64());
        self.try_change(|plan| plan.run.chaos.quiet_phase = 0.0);
    }

    fn drop_kinds_of_fault(&mut self) {
        self.try_change(|plan| plan.script.acts.clear());
        for fault in self.best.run.nemesis.clone() {
            self.try_change(|plan| {
                plan.run.nemesis.retain(|f| *f != fault);
                plan.script.acts.retain(|(_, act)| act.fault().or(ends(act)) != Some(fault));
            });
        }
        self.try_change(|plan| plan.run.latency_spread = 1.0);
        self.try_change(|plan| {
            plan.run.latency_spread = 1.0;
            plan.run.latency = 0.0;
            plan.run.latency_dist = LatencyDist::Constant;
        });
        self.try_change(|plan| plan.run.latency_dist = LatencyDist::Constant);
        self.try_change(|plan| plan.run.chaos.loss = 0.0);
        self.try_change(|plan| plan.run.chaos.duplicate = 0.0);
        self.try_change(|plan| plan.run.chaos.reorder = 0.0);
        self.try_change(|plan| plan.run.chaos.clock_skew = 0.0);
        self.try_change(|plan| plan.run.chaos.fsync = 0.0);
        self.try_change(|plan| plan.run.chaos.torn_writes = 0.0);
        self.try_change(|plan| plan.run.chaos.roll_back = 0.0);
        self.try_change(|plan| plan.run.chaos.lasting_fault = false);
    }

    fn fewer_nodes(&mut self) {
        let Some(nodes) = self.best.run.node_count else { return };
        for fewer in 1..nodes {
            if self.try_change(|plan| keep_nodes(plan, nodes, fewer)) {
                break;
            }
        }
    }

    fn fewer_workers(&mut self) {
        if let Concurrency::PerNode(count) = self.best.run.concurrency {
            for fewer in 1..count {
                let nodes = self.best.run.node_count.unwrap_or(1);
                let changed = self.try_change(|plan| {
                    plan.run.concurrency = Concurrency::PerNode(fewer);
                    plan.script.ops.iter_mut().for_each(|op| op.worker %= fewer * nodes);
                });
                if changed {
                    break;
                }
            }
        }
    }

    fn fewer_operations(&mut self) {
        let mut chunk = self.best.script.ops.len();
        while chunk > 0 && !self.spent() {
            let mut from = 0;
            while from < self.best.script.ops.len() && !self.spent() {
                let to = (from + chunk).min(self.best.script.ops.len());
                if !self.try_change(|plan| drop(plan.script.ops.drain(from..to))) {
                    from = to;
                }
            }
            chunk /= 2;
        }
    }

    fn fewer_acts(&mut self) {
        let mut chunk = self.best.script.acts.len();
        while chunk > 0 && !self.spent() {
            let mut from = 0;
            while from < self.best.script.acts.len() && !self.spent() {
                let to = (from + chunk).min(self.best.script.acts.len());
                if !self.try_change(|plan| drop(plan.script.acts.drain(from..to))) {
                    from = to;
                }
            }
            chunk /= 2;
        }
    }

    /// Fewer victims for each act, and weaker faults of network, clock and disk.
    fn weaken(&mut self) {
        for index in 0..self.best.script.acts.len() {
            while let Some(weaker) = one_victim_less(&self.best.script.acts[index].1)
                .into_iter()
                .find(|act| self.try_change(|plan| plan.script.acts[index].1 = act.clone()))
            {
                // It is in the plan already; look for the next.
                drop(weaker);
            }
        }
        self.try_change(|plan| plan.run.latency /= 2.0);
        self.try_change(|plan| {
            plan.run.latency_spread = (plan.run.latency_spread / 2.0).max(1.0);
        });
        self.try_change(|plan| plan.run.chaos.fsync /= 2.0);
        let milder = |p: f64| if p > 0.01 { p / 2.0 } else { p };
        self.try_change(|plan| plan.run.chaos.loss = milder(plan.run.chaos.loss));
        self.try_change(|plan| plan.run.chaos.duplicate = milder(plan.run.chaos.duplicate));
        self.try_change(|plan| plan.run.chaos.reorder = milder(plan.run.chaos.reorder));
        self.try_change(|plan| plan.run.chaos.clock_skew = milder(plan.run.chaos.clock_skew));
    }

    /// Takes time away where nothing happens.
    fn close_gaps(&mut self) {
        let mut from = Duration::ZERO;
        while let Some(next) = next_moment(&self.best, from) {
            let gap = next - from;
            for left in [0.0, 0.25, 0.5, 0.75] {
                let less = gap.mul_f64(1.0 - left);
                if gap > SHORT && self.try_change(|plan| pull(plan, next, less)) {
                    break;
                }
            }
            from = next_moment(&self.best, from).unwrap_or(next);
        }
    }
}

fn same(a: &Plan, b: &Plan) -> bool {
    a.script == b.script && format!("{:?}", a.run) == format!("{:?}", b.run)
}

/// The fault that an act ends.
fn ends(act: &Act) -> Option<crate::config::Fault> {
    use crate::config::Fault;
    match act {
        Act::Heal => Some(Fault::Partition),
        Act::Start => Some(Fault::Kill),
        Act::Resume => Some(Fault::Pause),
        Act::HealOneWay => Some(Fault::OneWay),
        Act::Fast => Some(Fault::Slow),
        Act::RestoreMembers => Some(Fault::Membership),
        Act::Release => Some(Fault::Stall),
        Act::Replace => Some(Fault::Replace),
        Act::HealReset => Some(Fault::Reset),
        Act::Unthrottle => Some(Fault::Throttle),
        Act::HealClients => Some(Fault::Clients),
        Act::FreeDisks => Some(Fault::FullDisk),
        _ => None,
    }
}

fn cut(plan: &mut Plan, end: Duration) {
    plan.script.ops.retain(|op| op.at < end);
    plan.script.acts.retain(|(at, _)| *at < end);
    plan.run.time_limit = end.as_secs_f64();
}

fn last_moment(plan: &Plan) -> Duration {
    let ops = plan.script.ops.iter().map(|op| op.at);
    let acts = plan.script.acts.iter().map(|(at, _)| *at);
    let limit = Duration::from_secs_f64(plan.run.time_limit);
    ops.chain(acts).max().map_or(TAIL, |last| last + TAIL).min(limit)
}

fn next_moment(plan: &Plan, after: Duration) -> Option<Duration> {
    let ops = plan.script.ops.iter().map(|op| op.at);
    let acts = plan.script.acts.iter().map(|(at, _)| *at);
    ops.chain(acts).filter(|at| *at > after).min()
}

/// Lets everything from `from` on happen earlier.
fn pull(plan: &mut Plan, from: Duration, by: Duration) {
    let acts = plan.script.acts.iter_mut().map(|(at, _)| at);
    let times = plan.script.ops.iter_mut().map(|op| &mut op.at).chain(acts);
    times.filter(|at| **at >= from).for_each(|at| *at -= by);
    plan.run.time_limit = (plan.run.time_limit - by.as_secs_f64()).max(0.0);
}

/// The same with only the first `fewer` nodes; their workers take over the
/// operations of the others.
fn keep_nodes(plan: &mut Plan, nodes: usize, fewer: usize) {
    plan.run.node_count = Some(fewer);
    let workers = match plan.run.concurrency {
        Concurrency::PerNode(count) => count * fewer,
        Concurrency::Fixed(count) => count,
    };
    for op in &mut plan.script.ops {
        // A client of a node that stays goes on asking it.
        let (node, row) = (op.worker % nodes, op.worker / nodes);
        op.worker = (row * fewer + node % fewer) % workers;
    }
    for (_, act) in &mut plan.script.acts {
        match act {
            Act::Kill(chosen)
            | Act::Pause(chosen)
            | Act::LoseRequests(chosen)
            | Act::LoseAnswers(chosen)
            | Act::FillDisks(chosen) => chosen.retain(|n| *n < fewer),
            Act::Partition(grudge) => {
                grudge.retain(|n, _| *n < fewer);
                grudge.values_mut().for_each(|unheard| unheard.retain(|n| *n < fewer));
            }
            Act::CutOneWay(links) | Act::Stall(links) | Act::Reset(links) => {
                links.retain(|(a, b)| *a < fewer && *b < fewer);
            }
            Act::RemoveMember(node) | Act::Drain(node) => *node %= fewer,
            _ => {}
        }
    }
    plan.script.acts.retain(|(_, act)| match act {
        Act::Kill(chosen)
        | Act::Pause(chosen)
        | Act::LoseRequests(chosen)
        | Act::LoseAnswers(chosen)
        | Act::FillDisks(chosen) => !chosen.is_empty(),
        Act::Partition(grudge) => grudge.values().any(|unheard| !unheard.is_empty()),
        Act::CutOneWay(links) | Act::Stall(links) | Act::Reset(links) => !links.is_empty(),
        _ => true,
    });
}

/// The same act on one node or link less, in every way.
fn one_victim_less(act: &Act) -> Vec<Act> {
    let without = |chosen: &Vec<usize>, index: usize| {
        let mut fewer = chosen.clone();
        fewer.remove(index);
        fewer
    };
    match act {
        Act::Kill(chosen) if chosen.len() > 1 => {
            (0..chosen.len()).map(|i| Act::Kill(without(chosen, i))).collect()
        }
        Act::Pause(chosen) if chosen.len() > 1 => {
            (0..chosen.len()).map(|i| Act::Pause(without(chosen, i))).collect()
        }
        Act::CutOneWay(links) if links.len() > 1 => {
            let fewer = |link| links.iter().filter(|l| *l != link).copied().collect();
            links.iter().map(|link| Act::CutOneWay(fewer(link))).collect()
        }
        Act::Stall(links) if links.len() > 1 => {
            let fewer = |link| links.iter().filter(|l| *l != link).copied().collect();
            links.iter().map(|link| Act::Stall(fewer(link))).collect()
        }
        _ => Vec::new(),
    }
}
