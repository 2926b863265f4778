//! One hunt: seed after seed, until a mutant is found or the seeds are used up.
//!
//! A detector that finds a mutant must find nothing without it: each catch is tried again on the
//! same seed with nothing planted, and if that fails too, it is an alarm of the healthy
//! build, and no catch.

use seaworthy::planted::{self, Mutant};
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::{Class, Finding, Outcome, Verdict, reasons};
use seaworthy_bench::config::{RunConfig, command};
use seaworthy_bench::explore::ordered::Ordered;
use seaworthy_bench::judge::judge;
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::Seed;
use seaworthy_bench::world::Report;

use crate::schedule::{Schedule, is_about_progress};
use crate::table::{Alarm, Healthy, Row, say};

/// The first seeds of two hunts are this far apart.
const STRIDE: u64 = 1_000_000;

/// Whether invariants are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Only the histories of clients count.
    BlackBox,
    /// Invariants are checked, and the engines' assertions hold.
    WhiteBox,
}

/// The checker or invariant that found a mutant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detector {
    /// The workload's checker.
    Checker(String),
    /// No answers although all faults were over.
    Progress(String),
    /// An invariant of this bench.
    Invariant(String),
    /// A node stopped by an assertion, or by a panic of any kind.
    Stop(String),
}

/// The detector that one run set off, and its length.
struct Ran {
    found: Option<Detector>,
    simulated_s: f64,
}

/// How a mutant was found.
#[derive(Clone, Debug)]
pub(crate) struct Catch {
    pub(crate) detector: Detector,
    /// The seed that did it.
    pub(crate) seed: u64,
    /// How many seeds it took, the last one included.
    pub(crate) seeds: u64,
    pub(crate) simulated_s: f64,
}

/// A search for one mutant.
#[derive(Clone, Copy)]
pub(crate) struct Hunt {
    pub(crate) mutant: Mutant,
    pub(crate) method: Method,
    pub(crate) seeds: u64,
    pub(crate) jobs: usize,
}

impl Hunt {
    /// Hunts several times, from different first seeds; the median catch. `None` if
    /// most hunts end without one.
    pub(crate) fn median_of(self, hunts: u64) -> Option<Catch> {
        let mut catches: Vec<Catch> = Vec::new();
        for hunt in 0..hunts {
            catches.extend(self.from(hunt * STRIDE));
            let misses = hunt + 1 - catches.len() as u64;
            if 2 * misses > hunts {
                return None;
            }
        }
        // A missed mutant would have taken the most seeds.
        catches.sort_by_key(|catch| catch.seeds);
        let middle = hunts as usize / 2;
        (middle < catches.len()).then(|| catches.swap_remove(middle))
    }

    fn from(self, first: u64) -> Option<Catch> {
        let schedule = Schedule::of(self.mutant);
        let attempt = |seed| {
            let ran = run(&schedule, Some(self.mutant), self.method, seed);
            let counts = match (&ran.found, self.method) {
                // A node that stops by itself is noticed, but not by the history of clients.
                (Some(Detector::Stop(_)), Method::BlackBox) | (None, _) => false,
                // Nor does silence tell of a broken promise of another kind.
                (Some(Detector::Progress(_)), Method::BlackBox)
                    if !is_about_progress(self.mutant) =>
                {
                    false
                }
                _ => run(&schedule, None, self.method, seed).found.is_none(),
            };
            (counts, ran)
        };
        let mut found = ordered(first, self.seeds, self.jobs).search(attempt, |_| {});
        let last = found.last?;
        let simulated_s = found.by_seed.values().map(|ran| ran.simulated_s).sum();
        let detector = found.by_seed.remove(&last).and_then(|ran| ran.found)?;
        Some(Catch { detector, seed: last, seeds: last - first + 1, simulated_s })
    }
}

/// Explores every space without a mutant, and tells every alarm as it comes.
pub(crate) fn healthy(from: u64, seeds: u64, rows: &[Row], jobs: usize) -> Healthy {
    let mutant = |seed: u64| rows[(seed % rows.len() as u64) as usize].mutant;
    let attempt = |seed: Seed| {
        let schedule = Schedule::of(mutant(seed.0));
        let mut ran = run(&schedule, None, Method::WhiteBox, seed);
        let is_late = matches!(ran.found, Some(Detector::Progress(_)));
        if is_late && !schedule.promises_progress() {
            ran.found = None;
        }
        if let Some(detector) = &ran.found {
            let command = command(&schedule.run(seed));
            say(&format!("ALARM of the healthy build: {detector:?}\n  {command}"));
        }
        (false, ran)
    };
    let ran = ordered(from, seeds, jobs).search(attempt, |_| {}).by_seed;
    let simulated_s = ran.values().map(|ran| ran.simulated_s).sum();
    let seeds = ran.len() as u64;
    let alarms = ran
        .into_iter()
        .filter_map(|(seed, ran)| Some(Alarm { seed, mutant: mutant(seed), detector: ran.found? }));
    Healthy { seeds, simulated_s, alarms: alarms.collect() }
}

fn ordered(from: u64, seeds: u64, jobs: usize) -> Ordered<'static> {
    Ordered { from, seeds, jobs, stop: &|| false }
}

fn run(schedule: &Schedule, planted: Option<Mutant>, method: Method, seed: Seed) -> Ran {
    let config = RunConfig::new(schedule.run(seed), seed).expect("schedules make sense");
    plant(planted, method, || simulate(&config, method))
}

/// Does something with a mutant planted, in this thread.
pub(crate) fn plant<T>(mutant: Option<Mutant>, method: Method, act: impl FnOnce() -> T) -> T {
    planted::activate(mutant, method == Method::BlackBox);
    let result = act();
    planted::activate(None, false);
    result
}

fn simulate(config: &RunConfig, method: Method) -> Ran {
    let challenge = builtin(&config.args.workload).expect("schedules name built-in challenges");
    let ran = Run::of(challenge, config).simulate().expect("schedules make sense");
    let (outcome, report) = (judge(&ran).without("stats"), &ran.report);
    let simulated_s = report.duration.as_nanos() as f64 / 1e9;
    let found = (outcome.verdict == Verdict::Invalid).then(|| detector(&outcome, report, method));
    Ran { found, simulated_s }
}

/// Returns the most telling detector. From outside that is the workload's checker, also if a node
/// stopped as well; inside, the first that struck.
fn detector(outcome: &Outcome, report: &Report, method: Method) -> Detector {
    let of = |is_it: fn(&Finding) -> bool| outcome.findings.iter().find(|finding| is_it(finding));
    let why = outcome.decide().why;
    let of_workload =
        |finding: &Finding| finding.part == "workload" && finding.verdict == Verdict::Invalid;
    let checker = of(of_workload);
    let checker = checker.map(|_| Detector::Checker(reasons(&outcome.findings).join("; ")));
    let stop = (!report.blames.is_empty()).then(|| Detector::Stop(why.clone()));
    let progress = of(|finding| finding.class == Class::Progress);
    let progress = progress.map(|finding| Detector::Progress(finding.text.clone()));
    let invariant = report.violation.clone().map(Detector::Invariant);
    let order = match method {
        Method::BlackBox => [checker, stop, progress, invariant],
        Method::WhiteBox => [invariant, stop, checker, progress],
    };
    order.into_iter().flatten().next().unwrap_or(Detector::Checker(why))
}
