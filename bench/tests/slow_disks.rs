//! Lin-kv on disks that take longer than timeouts: who leads must not depend on them.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::Verdict;
use seaworthy_bench::config::{RunArgs, RunConfig};
use seaworthy_bench::history::{Op, OpType, Process};
use seaworthy_bench::judge::judge;
use seaworthy_bench::run;
use seaworthy_bench::seed::Seed;
use seaworthy_workloads::Options;
use seaworthy_workloads::lin_kv::LinKv;

/// The terms in which there was a leader.
type Terms = Arc<Mutex<BTreeSet<u64>>>;

/// Lin-kv on a node that notes in which terms it led.
struct Watched {
    inner: LinKv,
    terms: Terms,
}

impl Workload for Watched {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        self.inner.handle(cx, event);
        if let Some(raft) = self.inner.replica().raft().filter(|raft| raft.is_leader()) {
            self.terms.lock().unwrap().insert(raft.term().0);
        }
    }

    fn engine(&self) -> Option<&dyn Any> {
        self.inner.engine()
    }
}

/// The leaders and the operations of a run.
#[derive(Debug)]
struct Run {
    /// The terms in which there was a leader.
    terms: BTreeSet<u64>,
    /// Decided, and invoked.
    reads: (usize, usize),
    writes: (usize, usize),
    /// With an answer of any kind, of how many.
    answered: (usize, usize),
}

/// A minute on disks whose fsyncs take `fsync_ms` on average, exponentially distributed.
fn run(fsync_ms: u64, seed: u64, more: &str) -> Run {
    let flags = format!(
        "-w lin-kv --node-count 3 --concurrency 2n --rate 5 --time-limit 60 \
         --fsync {fsync_ms} --seed {seed} {more}"
    );
    let args = RunArgs::from_flags(flags.split_whitespace()).unwrap();
    let config = RunConfig::new(args, Seed(seed)).unwrap();
    let terms = Terms::default();
    let seen = terms.clone();
    let factory = Box::new(move || {
        let watched = Watched { inner: LinKv::new(&Options::default()), terms: seen.clone() };
        Box::new(watched) as Box<dyn Workload + Send>
    });
    let ran = run::Run::of(builtin("lin-kv").unwrap(), &config).nodes(factory).simulate().unwrap();
    let (outcome, report) = (judge(&ran).without("stats"), &ran.report);
    assert_eq!(outcome.verdict, Verdict::Valid, "{flags}: {}", outcome.decide().why);
    let of = |kinds: &[OpType], reads: bool| {
        let clients = report.history.iter().filter(|op| matches!(op.process, Process::Client(_)));
        clients.filter(|op| kinds.contains(&op.kind) && (op.f == "read") == reads).count()
    };
    let decided = [OpType::Ok, OpType::Fail];
    let counts = |reads| (of(&decided, reads), of(&[OpType::Invoke], reads));
    let (reads, writes) = (counts(true), counts(false));
    let timed_out = |op: &&Op| op.kind != OpType::Invoke && is_timeout(op);
    let silent = report.history.iter().filter(timed_out).count();
    let all = reads.1 + writes.1;
    let terms = terms.lock().unwrap().clone();
    Run { terms, reads, writes, answered: (all - silent, all) }
}

/// Whether the client was not told the outcome of its operation.
fn is_timeout(op: &Op) -> bool {
    let why = op.error.as_ref().map(|error| format!("{error}")).unwrap_or_default();
    why.contains("timeout")
}

/// Adds up twenty runs. Each has one term with a leader.
fn twenty(fsync_ms: u64) -> Run {
    let runs: Vec<Run> = (1..=20).map(|seed| run(fsync_ms, seed, "")).collect();
    let of = |part: fn(&Run) -> (usize, usize)| {
        runs.iter().map(part).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    let terms = runs.iter().flat_map(|run| run.terms.iter().copied()).collect();
    let sum = Run {
        terms,
        reads: of(|run| run.reads),
        writes: of(|run| run.writes),
        answered: of(|run| run.answered),
    };
    assert!(runs.iter().all(|run| run.terms.len() == 1), "--fsync {fsync_ms}: {runs:?}");
    sum
}

/// With one fsync at a time on each disk, and as many changes as these runs have, 87.5 % is
/// the most that can be answered at 1200 ms (docs/raft.md).
#[test]
fn slow_disks_cost_no_change_of_leader_and_only_what_changes_something_waits() {
    for (fsync_ms, percent) in [(600, 94), (1200, 86), (2500, 80)] {
        let sum = twenty(fsync_ms);
        let (answered, all) = sum.answered;
        assert!(100 * answered >= percent * all, "--fsync {fsync_ms}: {sum:?}");
    }
}

/// A leader checks its quorum only when an answer could have come. Where every message takes as
/// long as the others no run changes its leader. Where latencies are exponential some message
/// takes many times the mean: about one run in eight (30 of 240) changes its leader then.
#[test]
fn round_trips_of_seconds_cost_no_change_of_leader() {
    for (dist, at_most) in [("constant", 0), ("exponential", 16)] {
        let (mut changes, mut answered) = (0, (0, 0));
        for latency_ms in [750, 1000, 1500, 2500] {
            for seed in 1..=20 {
                let more = format!("--latency {latency_ms} --latency-dist {dist}");
                let run = run(0, seed, &more);
                changes += run.terms.len() - 1;
                answered = (answered.0 + run.answered.0, answered.1 + run.answered.1);
            }
        }
        assert!(100 * answered.0 >= 99 * answered.1, "{dist}: {answered:?}");
        assert!(changes <= at_most, "{changes} changes of leader in 80 {dist} runs");
    }
}
