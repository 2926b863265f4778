//! One hunt: seed after seed, until a mutant is found or the seeds are used up.
//!
//! What finds a mutant must find nothing without it: each catch is tried again on the
//! same seed with nothing planted, and if that fails too, it is an alarm of the healthy
//! build, and no catch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use seaworthy::mutant::{self, Mutant};
use seaworthy_bench::check::{Outcome, Verdict, reasons};
use seaworthy_bench::config::RunConfig;
use seaworthy_bench::edn::Edn;
use seaworthy_bench::explore::command;
use seaworthy_bench::judge::{judge, reason};
use seaworthy_bench::run;
use seaworthy_bench::world::Report;
use seaworthy_bench::world::journal::Journal;
use seaworthy_bench::world::seed::Seed;

use crate::schedule::Schedule;
use crate::table::{Alarm, Healthy, Row, say};

/// The first seeds of two hunts are this far apart.
const STRIDE: u64 = 1_000_000;

/// Whether anybody looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Only what clients see counts.
    BlackBox,
    /// Invariants are checked, and the engines' assertions hold.
    WhiteBox,
}

/// What found a mutant.
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

/// What a run came to.
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
    pub(crate) manner: Manner,
    pub(crate) seeds: u64,
    pub(crate) jobs: usize,
}

impl Hunt {
    /// Hunts several times, from different first seeds; the median catch. `None` if
    /// most hunts end without one.
    pub(crate) fn median_of(self, hunts: u64) -> Option<Catch> {
        let mut catches: Vec<Option<Catch>> = Vec::new();
        for hunt in 0..hunts {
            let catch = self.from(hunt * STRIDE);
            let missed = catch.is_none();
            catches.push(catch);
            // Another long search would hardly change the median.
            if missed {
                break;
            }
        }
        catches.sort_by_key(|c| c.as_ref().map_or(u64::MAX, |c| c.seeds));
        catches.swap_remove(catches.len() / 2)
    }

    fn from(self, first: u64) -> Option<Catch> {
        let schedule = Schedule::of(self.mutant);
        let ran = in_order(first, self.seeds, self.jobs, |seed| {
            let ran = run_one(&schedule, Some(self.mutant), self.manner, seed);
            let counts = match (&ran.found, self.manner) {
                // A node that stops by itself is noticed, but not by what clients see.
                (Some(Detector::Stop(_)), Manner::BlackBox) | (None, _) => false,
                _ => run_one(&schedule, None, self.manner, seed).found.is_none(),
            };
            (counts, ran)
        });
        let last = ran.iter().find(|(_, (counts, _))| *counts).map(|(seed, _)| *seed)?;
        let simulated_s = ran.range(..=last).map(|(_, (_, ran))| ran.simulated_s).sum();
        let detector = ran.get(&last).and_then(|(_, ran)| ran.found.clone())?;
        Some(Catch { detector, seed: last, seeds: last - first + 1, simulated_s })
    }
}

/// Explores every space without a mutant, and tells every alarm as it comes.
pub(crate) fn healthy(from: u64, seeds: u64, rows: &[Row], jobs: usize) -> Healthy {
    let spaces = rows.len().max(1) as u64;
    let ran = in_order(from, seeds, jobs, |seed| {
        let mutant = rows[usize::try_from(seed % spaces).unwrap_or(0)].mutant;
        let schedule = Schedule::of(mutant);
        let ran = run_one(&schedule, None, Manner::WhiteBox, seed);
        if let Some(detector) = &ran.found {
            let command = command(&schedule.run(Seed(seed)));
            say(&format!("ALARM of the healthy build: {detector:?}\n  {command}"));
        }
        (false, ran)
    });
    let alarms = ran.iter().filter_map(|(seed, (_, ran))| {
        let mutant = rows[usize::try_from(seed % spaces).unwrap_or(0)].mutant;
        let detector = ran.found.clone()?;
        Some(Alarm { seed: *seed, mutant, detector })
    });
    let simulated_s = ran.values().map(|(_, ran)| ran.simulated_s).sum();
    Healthy { seeds: ran.len() as u64, simulated_s, alarms: alarms.collect() }
}

/// Runs seeds in parallel until one ends the search; what all up to that one came to.
/// The result does not depend on `jobs`.
fn in_order<T: Send>(
    first: u64,
    count: u64,
    jobs: usize,
    run: impl Fn(u64) -> (bool, T) + Sync,
) -> BTreeMap<u64, (bool, T)> {
    let (next, last) = (AtomicU64::new(first), AtomicU64::new(first.saturating_add(count)));
    let all = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last.load(Ordering::Relaxed) {
                        return;
                    }
                    let (ends, ran) = run(seed);
                    if ends {
                        last.fetch_min(seed + 1, Ordering::Relaxed);
                    }
                    all.lock().expect("nobody panics with it").insert(seed, (ends, ran));
                }
            });
        }
    });
    let mut all = all.into_inner().expect("nobody panics with it");
    all.split_off(&last.into_inner());
    all
}

fn run_one(schedule: &Schedule, planted: Option<Mutant>, manner: Manner, seed: u64) -> Ran {
    let run = schedule.run(Seed(seed));
    let config = RunConfig::new(run, Seed(seed)).expect("schedules make sense");
    mutant::activate(planted, manner == Manner::BlackBox);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| simulate(&config, manner)));
    mutant::activate(None, false);
    ran.unwrap_or_else(|_| {
        let simulated_s = (config.time_limit + config.quiet_phase).as_secs_f64();
        Ran { found: Some(Detector::Stop(LAST_PANIC.take())), simulated_s }
    })
}

fn simulate(config: &RunConfig, manner: Manner) -> Ran {
    let nodes = run::factory(config).expect("schedules make sense");
    let inspector = run::inspector(config);
    let (report, _) = run::simulate_nodes(config, nodes, inspector, Journal::off(), &mut |_| {})
        .expect("schedules make sense");
    let outcome = judge(config, &report).without("stats");
    let simulated_s = report.duration.as_nanos() as f64 / 1e9;
    let found = (outcome.verdict == Verdict::Invalid).then(|| detector(&outcome, &report, manner));
    Ran { found, simulated_s }
}

/// What was found, the most telling first. From outside that is what clients saw, also
/// if a node stopped as well; inside, what was seen first.
fn detector(outcome: &Outcome, report: &Report, manner: Manner) -> Detector {
    let failed = |name: &str| {
        let part = outcome.details.iter().find(|(key, _)| key.as_text() == Some(name));
        part.map(|(_, part)| part).filter(|part| part.get("valid?") == Some(&Edn::Bool(false)))
    };
    let why = reason(outcome, report);
    let checker = failed("workload").map(|_| Detector::Checker(reasons(outcome).join("; ")));
    let stop = (!report.blames.is_empty()).then(|| Detector::Stop(why.clone()));
    let progress = failed("progress").map(|part| {
        let count = |key: &str| part.get(key).and_then(Edn::as_int).unwrap_or(0);
        let (unanswered, asked) = (count("unanswered-count"), count("asked-count"));
        Detector::Progress(format!("{unanswered} of {asked} operations unanswered"))
    });
    let invariant = report.violation.clone().map(Detector::Invariant);
    let order = match manner {
        Manner::BlackBox => [checker, stop, progress, invariant],
        Manner::WhiteBox => [invariant, stop, checker, progress],
    };
    order.into_iter().flatten().next().unwrap_or(Detector::Checker(why))
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics of nodes are results here, and not printed.
pub(crate) fn keep_panics_quiet() {
    panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("a panic");
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line()));
        LAST_PANIC.set(format!("{text}{}", place.unwrap_or_default()));
    }));
}
