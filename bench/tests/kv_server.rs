//! The served cluster in the simulation: the faults that an exploration draws break no promise,
//! and planted bugs are found.
//!
//! `cargo test -p seaworthy-bench --features kv-mutants --test kv_server`; `KV_SEEDS` is
//! the number of seeds of each test, `KV_FROM` the first one. `MUTANTS` names the planted bugs to be
//! hunted, or is `all`, and `MUTANT_SEEDS` says for how long; the table in `docs/mutants-server.md` is
//! printed so.

// Tests take their number of seeds from the environment.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use seaworthy::coverage::Mark;
use seaworthy_bench::challenge::kv_server::KvServer;
use seaworthy_bench::check::Verdict;
use seaworthy_bench::config::{Fault, RunArgs, RunConfig};
use seaworthy_bench::explore::{Explore, Space, Trial, derive};
use seaworthy_bench::run::Run;
use seaworthy_bench::seed::{Draw, Seed};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seeds(from: u64) -> impl Iterator<Item = Seed> {
    let from = number("KV_FROM", from);
    (from..from + number("KV_SEEDS", 60)).map(Seed)
}

#[test]
fn faults_and_snapshots_break_no_promise() {
    let explore = Explore::of(KvServer).from(number("KV_FROM", 0)).seeds(number("KV_SEEDS", 60));
    let explored = explore.run();
    assert!(explored.is_ok(), "{}", explored.err().unwrap());
}

/// The run that an exploration draws, changed.
fn changed(seed: Seed, change: impl FnOnce(&mut RunArgs, &mut Draw)) -> RunConfig {
    let mut run = derive(&Space::of(&KvServer), seed);
    change(&mut run, &mut seed.stream("kv_server tests", 0));
    RunConfig::new(run, seed).unwrap()
}

/// A space in which servers are killed and cut off all the time, and each kill takes durable
/// data along.
fn forgetful(seed: Seed) -> RunConfig {
    let mut run = derive(&Space::of(&KvServer), seed);
    let mut draw = seed.stream("forgetful", 0);
    run.node_count = Some(*draw.pick(&[3, 3, 5]));
    run.nemesis = vec![Fault::Kill, Fault::Partition];
    run.nemesis_interval = *draw.pick(&[1.0, 2.0, 3.0]);
    run.time_limit = 20.0;
    run.rate = 50.0;
    run.latency = *draw.pick(&[1.0, 5.0]);
    run.latency_spread = 1.0;
    run.chaos.loss = 0.0;
    run.chaos.lasting_fault = false;
    run.chaos.roll_back = 1.0;
    run.chaos.fsync = 1.0;
    RunConfig::new(run, seed).unwrap()
}

/// Why a run is not valid, if it is not.
fn broken(config: &RunConfig) -> Option<String> {
    let ran = Run::of(&KvServer, config).simulate().unwrap();
    let Trial { verdict, why, .. } = Trial::of(&ran);
    (verdict != Verdict::Valid).then_some(why)
}

/// Does `work` with each item, on all cores.
fn in_threads<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

fn assert_none_broken(configs: impl Iterator<Item = RunConfig>) {
    let configs: Vec<RunConfig> = configs.collect();
    let all: Mutex<Vec<Seed>> = Mutex::default();
    in_threads(&configs, |config| {
        if let Some(why) = broken(config) {
            println!("seed {:?}: {why}", config.seed);
            all.lock().unwrap().push(config.seed);
        }
    });
    let broken = all.into_inner().unwrap();
    assert!(broken.is_empty(), "{} of {} break a promise: {broken:?}", broken.len(), configs.len());
}

#[test]
fn emptied_and_older_disks_break_no_promise() {
    assert_none_broken(seeds(1000).map(forgetful));
}

/// Seeds at which a promise was broken once: an older copy of a data directory was refused when it
/// was started, and listened to when it was started again, because its life had a higher number by
/// then; or the bench held a server to a promise that it had given with a directory that was taken
/// from it since; or a server tried a transaction again for longer than its client waited; or the
/// simulation wrote the batches of two trees in another order than they were handed out; or a leader whose
/// tree was ahead of the commit index that it knew encoded no state for the server it needed to go on, or left
/// a joint configuration once it did; or a state that was encoded for another server was gone before it was sent;
/// or the bench ended its last phase while six of seven nodes were still on their way back.
#[test]
fn seeds_that_broke_a_promise_keep_it() {
    let forgetful = [4, 12, 17, 21, 23, 74, 80, 107, 1049, 1116, 1122].map(Seed).map(forgetful);
    let drawn = [126, 157, 372, 90135, 31197, 311347, 511610, 725847, 736265]
        .map(|seed| changed(Seed(seed), |_, _| ()));
    assert_none_broken(forgetful.into_iter().chain(drawn));
}

/// Members come and go all the time, and eight seconds without a fault are enough for all to be back.
fn coming_and_going(seed: Seed) -> RunConfig {
    let Seed(number) = seed;
    let (nodes, latency, fsync) = (3 + number % 3, 1 + number % 4 * 10, number % 3 * 5);
    let flags = format!(
        "-w kv-server --node-count {nodes} --concurrency 2n --rate 60 --time-limit 8 \
         --latency {latency} --latency-dist exponential --fsync {fsync} \
         --nemesis membership,kill,partition,pause --nemesis-interval 0.7 --quiet-phase 8"
    );
    RunConfig::new(RunArgs::from_flags(flags.split_whitespace()).unwrap(), seed).unwrap()
}

/// Seeds at which a server was added, and the answer to that lost: it was not started, and so the
/// cluster refused all other additions for want of a quorum.
#[test]
fn an_added_server_is_started_although_the_answer_was_lost() {
    let lost = [3014, 3039, 3073, 3089, 3095, 3111, 3133];
    assert_none_broken(lost.into_iter().map(Seed).map(coming_and_going));
}

/// Seeds at which a founder that had never taken part refused a server that was added; and seeds at
/// which a leader left a joint configuration and committed an entry before the next in one turn.
#[test]
fn added_servers_are_listened_to_and_joint_configurations_are_left() {
    let refused = [4397, 5180, 5486];
    let left = [3416, 3800, 3848, 3896];
    assert_none_broken(refused.into_iter().chain(left).map(Seed).map(coming_and_going));
}

/// Half of the servers have a tree: their logs go on from it, and a server that was added or is behind gets a
/// state that is encoded when it asks. Without this the seeds above would show nothing of that.
#[test]
fn logs_go_on_from_trees_and_states_in_them_reach_other_servers() {
    let events = [
        Mark::TreeCheckpoint,
        Mark::TreeEncoded,
        Mark::TreeStateSent,
        Mark::SnapshotInstalled,
        Mark::LogKept,
    ];
    let came_up = |number| {
        let mut run = coming_and_going(Seed(number)).args;
        run.args = ["--snapshot-bytes", "3000", "--keep-entries", "3"].map(str::to_owned).to_vec();
        let config = RunConfig::new(run, Seed(number)).unwrap();
        let ran = Run::of(&KvServer, &config).simulate().unwrap();
        let Trial { verdict, why, marks, .. } = Trial::of(&ran);
        assert_eq!(verdict, Verdict::Valid, "seed {number}: {why}");
        let hit = events.map(|mark| marks.has(mark));
        println!("seed {number}: {hit:?}");
        hit.iter().all(|hit| *hit)
    };
    let runs = (0..6).filter(|number| came_up(*number)).count();
    assert!(runs >= 3, "all of {events:?} in {runs} of 6 runs");
}

/// A seed at which two additions of one node were under way, so that a server was a member that the
/// operator never started.
#[test]
fn an_addition_that_comes_too_late_is_taken_back() {
    assert_none_broken([701_818].into_iter().map(|seed| changed(Seed(seed), |_, _| ())));
}

#[cfg(feature = "kv-mutants")]
#[path = "kv_server/planted.rs"]
mod planted;
