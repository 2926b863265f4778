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
use seaworthy_bench::history::{OpType, Process};
use seaworthy_bench::judge::{judge, reason};
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

/// What became of a run.
struct Run {
    /// The terms in which there was a leader.
    terms: BTreeSet<u64>,
    reads: (usize, usize),
    writes: (usize, usize),
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
    assert_eq!(outcome.verdict, Verdict::Valid, "{flags}: {}", reason(&outcome, report));
    let of = |kinds: &[OpType], reads: bool| {
        let clients = report.history.iter().filter(|op| matches!(op.process, Process::Client(_)));
        clients.filter(|op| kinds.contains(&op.kind) && (op.f == "read") == reads).count()
    };
    let counts = |reads| (of(&[OpType::Ok, OpType::Fail], reads), of(&[OpType::Invoke], reads));
    let terms = terms.lock().unwrap().clone();
    Run { terms, reads: counts(true), writes: counts(false) }
}

#[test]
fn slow_disks_cost_one_change_of_leader_at_most_and_reads_do_not_wait() {
    for fsync_ms in [600, 1200, 2500] {
        for seed in 1..=4 {
            let Run { terms, reads, writes } = run(fsync_ms, seed, "");
            let what = format!(
                "--fsync {fsync_ms} --seed {seed}: terms {terms:?}, reads {reads:?}, writes {writes:?}"
            );
            println!("{what}");
            // An fsync of several means in a row may cost one change of leader.
            let changes_max = usize::from(fsync_ms > 600);
            assert!(terms.len() <= 1 + changes_max, "{what}");
        }
    }
}
