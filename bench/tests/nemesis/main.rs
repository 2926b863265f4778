//! The schedule of partitions against an independent model of Jepsen's rules.
//!
//! Both are run many times, and their acts must have the same distribution. The answers of wrong
//! nodes to partitions are in `wrong`.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

mod model;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};

use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::backend::sim::Factory;
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::Outcome;
use seaworthy_bench::config::{RunArgs, RunConfig};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::Process;
use seaworthy_bench::judge::judge;
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::Seed;
use seaworthy_bench::world::Report;

const SEEDS: u64 = 1000;

/// For each node the nodes that it does not hear.
type Grudge = BTreeMap<usize, BTreeSet<usize>>;

/// An act of the nemesis: seconds since the operations began, and the cut; none where it healed.
type Act = (f64, Option<(String, Grudge)>);

/// A node that answers nothing: only the acts of the nemesis count here.
struct Silent;

impl Workload for Silent {
    fn handle(&mut self, _cx: &mut Context<'_>, _event: Event) {}
}

/// Simulates a run.
fn run(flags: &str, nodes: Factory) -> (Outcome, Report) {
    let run = RunArgs::from_flags(flags.split_whitespace()).unwrap();
    let config = RunConfig::new(run, Seed(0)).unwrap();
    let challenge = builtin(&config.args.workload).unwrap();
    let ran = Run::of(challenge, &config).nodes(nodes).uninspected().simulate().unwrap();
    (judge(&ran).without("stats"), ran.report)
}

/// Returns the acts of the nemesis in a run whose nodes do nothing.
fn acts_of_run(flags: &str, seed: u64) -> Vec<Act> {
    let flags = format!("-w echo --rate 0.2 --nemesis partition {flags} --seed {seed}");
    acts_of(&run(&flags, Box::new(|| Box::new(Silent))).1)
}

/// Returns the acts of the nemesis, from the history.
fn acts_of(report: &Report) -> Vec<Act> {
    let mut asked = None;
    let mut acts = Vec::new();
    for op in report.history.iter().filter(|op| op.process == Process::Nemesis) {
        let seconds = op.time as f64 / 1e9;
        match (asked.take(), op.f.as_str()) {
            (None, _) => asked = Some(op.value.clone()),
            (Some(kind), "start-partition") => {
                let kind = kind.as_text().unwrap().to_owned();
                acts.push((seconds, Some((kind, grudge(&op.value)))));
            }
            (Some(_), _) => acts.push((seconds, None)),
        }
    }
    acts
}

/// Reads `[:isolated {"n0" #{"n1"} ..}]`.
fn grudge(value: &Edn) -> Grudge {
    let index = |name: &Edn| name.as_text().unwrap()[1..].parse::<usize>().unwrap();
    let entries = value.as_seq().unwrap()[1].entries().unwrap();
    entries
        .iter()
        .map(|(k, v)| (index(k), v.as_seq().unwrap().iter().map(index).collect()))
        .collect()
}

/// The share of `limit` between a cut and the act that heals it.
fn share_cut(acts: &[Act], limit: f64) -> f64 {
    let ends = acts.iter().skip(1).map(|(at, _)| *at).chain([limit]);
    let cut = acts.iter().zip(ends).filter(|((_, cut), _)| cut.is_some());
    cut.map(|((at, _), end)| end - at).sum::<f64>() / limit
}

/// Mean, and the standard error of the mean.
fn mean(samples: &[f64]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Fails if two means differ by more than four standard errors.
fn assert_same_mean(what: &str, ours: &[f64], model: &[f64]) {
    let ((a, error_a), (b, error_b)) = (mean(ours), mean(model));
    let error = error_a.hypot(error_b);
    assert!((a - b).abs() <= 4.0 * error, "{what}: {a:.3} and {b:.3}, standard error {error:.4}");
}

#[test]
fn the_first_cut_comes_at_once_and_the_share_of_time_is_jepsens() {
    let draw = &mut Seed(77).stream("model", 0);
    // Seconds, and the share that was measured in runs of the real Maelstrom.
    for (limit, measured) in [(10.0, 0.78), (20.0, 0.63), (30.0, 0.58), (60.0, 0.54)] {
        let flags = format!("--node-count 3 --time-limit {limit}");
        let ours: Vec<Vec<Act>> = (0..SEEDS).map(|seed| acts_of_run(&flags, seed)).collect();
        let model: Vec<Vec<Act>> =
            (0..20 * SEEDS).map(|_| model::acts(3, 10.0, limit, draw)).collect();
        assert!(ours.iter().all(|acts| acts[0].0 == 0.0 && acts[0].1.is_some()));
        let shares = |runs: &[Vec<Act>]| -> Vec<f64> {
            runs.iter().map(|acts| share_cut(acts, limit)).collect()
        };
        let counts =
            |runs: &[Vec<Act>]| -> Vec<f64> { runs.iter().map(|acts| acts.len() as f64).collect() };
        assert_same_mean("share", &shares(&ours), &shares(&model));
        assert_same_mean("acts", &counts(&ours), &counts(&model));
        let (share, _) = mean(&shares(&ours));
        assert!((share - measured).abs() < 0.03, "{limit} s: {share:.3}, Maelstrom {measured}");
    }
}

/// How often each shape was cut. Up to five nodes a shape is the whole grudge; with more
/// nodes there are too many rings, and the numbers of nodes that are not heard stand for it.
fn shapes(runs: &[Vec<Act>], n: usize) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for (kind, grudge) in runs.iter().flatten().filter_map(|(_, cut)| cut.as_ref()) {
        let name = if n <= 5 {
            format!("{kind} {grudge:?}")
        } else {
            let mut sizes: Vec<usize> = grudge.values().map(BTreeSet::len).collect();
            sizes.sort_unstable();
            format!("{kind} {sizes:?}")
        };
        *counts.entry(name).or_insert(0.0) += 1.0;
    }
    counts
}

#[test]
fn shapes_come_as_often_as_jepsens() {
    let draw = &mut Seed(78).stream("model", 0);
    for n in [1, 2, 3, 4, 5, 6, 7, 9] {
        let flags = format!("--node-count {n} --time-limit 20 --nemesis-interval 1");
        let ours: Vec<Vec<Act>> = (0..SEEDS).map(|seed| acts_of_run(&flags, seed)).collect();
        let model: Vec<Vec<Act>> = (0..SEEDS).map(|_| model::acts(n, 1.0, 20.0, draw)).collect();
        let (ours, model) = (shapes(&ours, n), shapes(&model, n));
        let (total_a, total_b) = (ours.values().sum::<f64>(), model.values().sum::<f64>());
        assert!(total_a > 8.0 * SEEDS as f64, "{n} nodes: {total_a} cuts");
        // Two-sample chi-squared; of rare shapes only the model's share is looked at.
        let (mut statistic, mut cells) = (0.0, 0.0);
        let names: BTreeSet<&String> = ours.keys().chain(model.keys()).collect();
        for name in names {
            let (a, b) = (ours.get(name).unwrap_or(&0.0), model.get(name).unwrap_or(&0.0));
            if a + b < 20.0 {
                continue;
            }
            let expected = (total_b / total_a).sqrt() * a - (total_a / total_b).sqrt() * b;
            statistic += expected * expected / (a + b);
            cells += 1.0;
        }
        let freedom: f64 = cells - 1.0;
        let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
        assert!(statistic <= bound, "{n} nodes: chi-squared {statistic:.1} of {cells} shapes");
        // Of one and two nodes the four kinds differ by name only, if at all.
        let expected_cells = [4.0, 4.0, 9.0, 14.0, 32.0];
        if let Some(expected) = expected_cells.get(n - 1) {
            assert_eq!(cells, *expected, "{n} nodes");
        }
    }
}
