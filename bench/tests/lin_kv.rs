//! Lin-kv in the simulation: pinned seeds with every fault, the round trips without, and that a
//! cluster which gets nowhere is found out.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::check::{Outcome, Verdict};
use seaworthy_bench::config::{RunArgs, RunConfig};
use seaworthy_bench::history::{Op, OpType, Process, pairs};
use seaworthy_bench::judge::judge;
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::Seed;
use seaworthy_bench::world::Report;
use seaworthy_workloads::Options;
use seaworthy_workloads::lin_kv::LinKv;

fn config(flags: &str) -> RunConfig {
    let typed = ["-w", "lin-kv"].into_iter().chain(flags.split_whitespace());
    RunConfig::new(RunArgs::from_flags(typed).unwrap(), Seed(1)).unwrap()
}

/// Simulates a run and judges it.
fn run(flags: &str) -> (Outcome, Report) {
    let config = config(flags);
    let ran = Run::of(builtin("lin-kv").unwrap(), &config).simulate().unwrap();
    (judge(&ran).without("stats"), ran.report)
}

/// Everything at once.
const STORM: &str = "--nemesis partition,kill,pause,one-way,slow,membership \
    --nemesis-interval 1 --loss 0.05 --duplicate 0.1 --reorder 0.1 --clock-skew 0.1 \
    --fsync 1 --torn-writes 0.5 --quiet-phase 6";

#[test]
fn pinned_seeds_with_every_fault_are_valid() {
    for (seed, shape) in [
        (1, "--node-count 3 --concurrency 2n --rate 20 --time-limit 10"),
        (2, "--node-count 5 --concurrency 2n --rate 20 --time-limit 10 --latency 5"),
        (3, "--node-count 4 --concurrency 4n --rate 50 --time-limit 5 --latency 20"),
    ] {
        let flags = format!("{shape} {STORM} --seed {seed}");
        let (outcome, report) = run(&flags);
        assert_eq!(outcome.verdict, Verdict::Valid, "{flags}: {}", outcome.decide().why);
        let answered = report.history.iter().filter(|op| op.kind == OpType::Ok).count();
        assert!(answered > 20, "{flags}: only {answered} operations succeeded");
    }
}

/// Seeds that once failed, each with the bug that it had found.
const ONCE_FAILED: &[&str] = &[
    // A member that was removed while it could not be reached never learnt of it.
    "--node-count 5 --concurrency 4n --time-limit 20 --rate 20 \
     --nemesis partition,one-way,slow,membership --nemesis-interval 2 --reorder 0.5 \
     --torn-writes 0.1 --quiet-phase 6 --seed 232",
    // Votes were split twice, and each time all nodes waited for a whole timeout.
    "--node-count 7 --concurrency 2n --time-limit 10 --rate 100 --latency 100 \
     --latency-dist uniform --nemesis pause,one-way,slow,membership --nemesis-interval 5 \
     --key-count 5 --max-writes-per-key 64 --clock-skew 0.3 --fsync 10 --quiet-phase 6 \
     --seed 3574",
    // A member that missed its removal knew no node that could tell it: the leader was
    // none of the members it asked for votes.
    "--node-count 4 --concurrency 2n --time-limit 20 --rate 100 --latency 5 \
     --latency-dist exponential --nemesis kill,one-way,membership,partition \
     --nemesis-interval 0.6 --duplicate 0.3 --fsync 50 --torn-writes 0.5 \
     --quiet-phase 6 --seed 3405 -- lin-kv",
    // A leader without a quorum waited for a whole timeout before it stood again, while
    // its last words, which came late, kept the others from standing.
    "--node-count 3 --concurrency 4n --time-limit 5 --rate 20 --latency 100 \
     --latency-dist uniform --nemesis kill,pause,one-way,slow,membership \
     --nemesis-interval 5 --key-count 2 --max-writes-per-key 4 --reorder 0.5 \
     --clock-skew 0.1 --quiet-phase 6 --seed 7067 -- lin-kv",
    // A replica that looked for a way around a cut became the leader, and went on to
    // send its own requests by that way.
    "--node-count 3 --concurrency 2n --time-limit 10 --rate 20 --latency 5 \
     --latency-dist exponential --nemesis partition,kill --nemesis-interval 5 \
     --key-count 2 --duplicate 0.1 --reorder 0.1 --clock-skew 0.1 --quiet-phase 6 \
     --seed 44 -- lin-kv",
    // Votes were split twice; then a leader that had left handed over to a server that
    // lacked its last entry.
    "--node-count 3 --concurrency 4n --time-limit 5 --rate 20 --latency 100 \
     --nemesis partition,kill,membership --nemesis-interval 2 --key-count 5 \
     --max-writes-per-key 64 --reorder 0.5 --fsync 10 --quiet-phase 6 --seed 106620 \
     -- lin-kv",
    // A refusal that an acknowledgement had overtaken was taken for a loss of memory, and
    // an entry that had overtaken another was sent once more, all too slowly.
    "--node-count 2 --concurrency 2n --time-limit 20 --rate 50 --latency 100 \
     --latency-dist exponential --nemesis slow,stall --nemesis-interval 1 \
     --topology tree4 --key-count 5 --max-txn-length 2 --max-writes-per-key 4 \
     --duplicate 0.3 --reorder 0.01 --clock-skew 0.1 --torn-writes 0.1 --quiet-phase 6 \
     --seed 521016 -- lin-kv",
    // One that was to become a member again waited for ever for a leader that was none
    // any more: the next one knew nothing of it.
    "--node-count 4 --concurrency 4n --time-limit 20 --rate 100 --latency 1 \
     --latency-dist uniform --nemesis partition,pause,one-way,slow,membership \
     --nemesis-interval 5 --topology tree3 --key-count 2 --max-writes-per-key 4 \
     --loss 0.15 --reorder 0.5 --fsync 10 --quiet-phase 6 --seed 521335 -- lin-kv",
    // An append was lost and not asked after, because reads put off every heartbeat.
    "--node-count 4 --concurrency 4n --time-limit 20 --rate 100 --latency 1 \
     --latency-spread 4 --latency-dist uniform --nemesis membership --nemesis-interval 2 \
     --topology tree4 --key-count 2 --max-writes-per-key 4 --loss 0.05 --duplicate 0.01 \
     --reorder 0.5 --clock-skew 0.3 --quiet-phase 6 --seed 500996 -- lin-kv \
     --keep-entries 30 --append-bytes 3000 --max-early 0 --snapshot-chunk 100 \
     --max-inflight 1 --follower-reads",
    // Reads at a node that was sent a snapshot waited until it had come.
    "--node-count 5 --concurrency 2n --time-limit 20 --rate 100 --latency 20 \
     --latency-dist uniform --nemesis partition,kill --nemesis-interval 0.3 \
     --topology total --key-count 2 --max-txn-length 2 --max-writes-per-key 64 \
     --reorder 0.01 --quiet-phase 6 --seed 500202 -- lin-kv --compact-bytes 300 \
     --keep-entries 0 --append-bytes 300 --max-early 0 --snapshot-chunk 30 \
     --max-inflight 1 --follower-reads",
    // A node that died before its disk held anything was known already, took itself for one
    // that had lost everything, and was missing in the quorum that another one needed.
    "--node-count 3 --concurrency 2n --time-limit 5 --rate 50 --latency-dist exponential \
     --nemesis kill,one-way,slow --nemesis-interval 1 --topology tree3 --key-count 2 \
     --max-writes-per-key 4 --reorder 0.01 --fsync 50 --roll-back 0.3 --quiet-phase 6 \
     --seed 1009672 -- lin-kv",
    // The same, in a change of members that needed its vote.
    "--node-count 3 --concurrency 4n --time-limit 20 --rate 20 --latency 5 \
     --latency-dist uniform --nemesis one-way,slow,membership,partition,kill \
     --nemesis-interval 0.6 --topology tree4 --loss 0.01 --fsync 50 --torn-writes 0.1 \
     --quiet-phase 6 --seed 400127 -- lin-kv",
    // The bench's own fault: a kill undid on the disk what a follower had taken back in a term that
    // was not durable, and the invariant did not know.
    "--node-count 5 --concurrency 4n --time-limit 3 --rate 150 --latency 0.5 \
     --latency-dist exponential --nemesis kill,stall,partition --nemesis-interval 0.05 \
     --topology line --key-count 2 --max-txn-length 2 --duplicate 0.1 --reorder 0.1 --fsync 1 \
     --quiet-phase 4 --seed 1747 -- lin-kv --election-timeout 60 --heartbeat 15",
    // A request to add a node was answered by a leader, and then carried out once more by the next
    // leader, although the node had been removed on purpose meanwhile.
    "--node-count 3 --concurrency 2n --time-limit 20 --rate 100 --latency-dist exponential \
     --nemesis one-way,slow,membership --nemesis-interval 0.3 --key-count 5 --max-txn-length 6 \
     --max-writes-per-key 4 --reorder 0.01 --torn-writes 0.1 --quiet-phase 6 --seed 26117292 \
     -- lin-kv",
    // The leader's answer that a cas changes nothing came too late to count, because a copy had gone
    // by way of another meanwhile, and the log took longer than the client waited.
    "--node-count 4 --concurrency 2n --time-limit 5 --latency 100 --latency-dist exponential \
     --nemesis partition,kill,one-way,slow --nemesis-interval 0.3 --topology tree --key-count 5 \
     --max-txn-length 6 --max-writes-per-key 64 --loss 0.01 --duplicate 0.1 --clock-skew 0.1 \
     --fsync 0.1 --roll-back 1 --quiet-phase 6 --seed 26119500 -- lin-kv",
];

#[test]
fn pinned_seeds_that_once_failed_are_valid() {
    for flags in ONCE_FAILED {
        let (outcome, _) = run(flags);
        assert_eq!(outcome.verdict, Verdict::Valid, "{flags}: {}", outcome.decide().why);
    }
}

/// The operations that succeeded at node `node` of three after the first two seconds:
/// the name, and how long each took in milliseconds.
fn latencies(history: &[Op], node: u64) -> Vec<(String, f64)> {
    let pairs = pairs(history).unwrap();
    let mut all = Vec::new();
    for pair in &pairs {
        let Some(done) = pair.completion else { continue };
        let Process::Client(process) = pair.invoke.process else { continue };
        let is_settled = pair.invoke.time > 2_000_000_000;
        if is_settled && done.kind != OpType::Info && process % 3 == node {
            let ms = (done.time - pair.invoke.time) as f64 / 1e6;
            let failed =
                if done.kind == OpType::Fail && pair.invoke.f == "cas" { "failed " } else { "" };
            all.push((format!("{failed}{}", pair.invoke.f), ms));
        }
    }
    all
}

#[test]
fn without_faults_answers_take_exactly_the_round_trips_they_need() {
    let (_, report) =
        run("--node-count 3 --concurrency 2n --rate 10 --time-limit 60 --latency 100");
    for node in 0..3 {
        let all = latencies(&report.history, node);
        for f in ["read", "write", "cas", "failed cas"] {
            let of_kind: Vec<f64> = all.iter().filter(|(g, _)| g == f).map(|(_, ms)| *ms).collect();
            assert!(of_kind.len() > 2, "only {} {f} at n{node}", of_kind.len());
            let took = |ms: f64| of_kind.iter().filter(|took| (*took - ms).abs() < 0.001).count();
            let (one, two) = (took(200.0), took(400.0));
            let what = format!("{f} at n{node}: {of_kind:?}");
            assert_eq!(one + two, of_kind.len(), "{what}");
            match f {
                "read" => assert_eq!(two, 0, "{what}"),
                // A request that changes nothing takes one, also at a follower. Whether it does may
                // change on the way.
                "failed cas" => assert!(one > 5 * two, "{what}"),
                _ if node == 0 => assert!(one > 5 * two, "{what}"),
                _ => assert!(two > one, "{what}"),
            }
        }
    }
}

/// Lin-kv on a node that falls silent at some moment, to all or to its peers.
struct Silenced {
    inner: LinKv,
    after_ms: u64,
    only_to_peers: bool,
}

impl Workload for Silenced {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let is_peer = |kind: &str| kind == LinKv::PEER;
        let drop = match &event {
            Event::Message(message) => !self.only_to_peers || is_peer(&message.body.kind),
            _ => !self.only_to_peers,
        };
        if !drop || cx.now().as_millis() < self.after_ms {
            self.inner.handle(cx, event);
        }
    }
}

fn verdict_on(silenced: fn() -> Silenced) -> (Verdict, String) {
    let config = config("--node-count 3 --concurrency 2n --rate 20 --time-limit 4 --quiet-phase 6");
    let factory = Box::new(move || Box::new(silenced()) as Box<dyn Workload + Send>);
    let run = Run::of(builtin("lin-kv").unwrap(), &config).nodes(factory).uninspected();
    let outcome = judge(&run.simulate().unwrap()).without("stats");
    (outcome.verdict, format!("{:?}", outcome.to_edn()))
}

#[test]
fn a_cluster_that_elects_nobody_makes_no_progress() {
    let deaf =
        || Silenced { inner: LinKv::new(&Options::default()), after_ms: 2000, only_to_peers: true };
    let (verdict, why) = verdict_on(deaf);
    assert_eq!(verdict, Verdict::Invalid, "{why}");
    assert!(why.contains("progress"), "{why}");
}

#[test]
fn nodes_that_stop_answering_make_no_progress() {
    let mute = || Silenced {
        inner: LinKv::new(&Options::default()),
        after_ms: 8000,
        only_to_peers: false,
    };
    assert_eq!(verdict_on(mute).0, Verdict::Invalid);
    let never = || Silenced {
        inner: LinKv::new(&Options::default()),
        after_ms: u64::MAX,
        only_to_peers: false,
    };
    let (verdict, why) = verdict_on(never);
    assert_eq!(verdict, Verdict::Valid, "{why}");
}
