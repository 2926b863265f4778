//! Where each mutant can show: the space of configurations that is explored for it.
//!
//! A space is the one of `seaworthy explore`, in which every knob is drawn from the seed,
//! with some knobs fixed or bounded: a bug of snapshots needs snapshots.

use seaworthy::mutant::Mutant;
use seaworthy_bench::config::{Concurrency, Fault, RunArgs};
use seaworthy_bench::explore::{Space, derive};
use seaworthy_bench::world::seed::{Draw, Seed};

/// A space of configurations.
pub(crate) struct Schedule {
    workload: &'static str,
    /// Arguments for the nodes.
    args: &'static [&'static str],
    nodes: &'static [usize],
    /// What the nemesis always has.
    needs: &'static [Fault],
    /// What is fixed beyond that.
    fix: fn(&mut RunArgs, &mut Draw),
}

/// Small logs and snapshots, so that both are exercised in seconds.
const SNAPSHOTS: &[&str] = &["--compact-bytes", "300", "--keep-entries", "3"];

/// Nothing beyond.
fn as_drawn(_: &mut RunArgs, _: &mut Draw) {}

/// Elections all the time, and messages that take long enough to cross them.
fn stormy(run: &mut RunArgs, draw: &mut Draw) {
    run.nemesis_interval = *draw.pick(&[0.3, 0.6, 1.0]);
    run.latency = *draw.pick(&[1.0, 5.0, 20.0]);
    run.rate = *draw.pick(&[20.0, 50.0, 100.0]);
    run.chaos.reorder = *draw.pick(&[0.0, 0.1, 0.5]);
    run.chaos.fsync = *draw.pick(&[0.1, 10.0, 50.0]);
}

/// As [`stormy`], and disks so slow that a kill finds something unsynced.
fn slow_disks(run: &mut RunArgs, draw: &mut Draw) {
    stormy(run, draw);
    run.chaos.fsync = *draw.pick(&[10.0, 50.0, 100.0]);
}

/// As [`stormy`], and everything comes twice.
fn doubled(run: &mut RunArgs, draw: &mut Draw) {
    stormy(run, draw);
    run.chaos.duplicate = *draw.pick(&[0.1, 0.3]);
    run.chaos.reorder = *draw.pick(&[0.1, 0.5]);
}

/// Clocks that differ less than the margin of a lease allows for.
fn leases(run: &mut RunArgs, draw: &mut Draw) {
    stormy(run, draw);
    run.chaos.clock_skew = *draw.pick(&[0.0, 0.05]);
}

/// Members come and go in bad weather.
fn changing(run: &mut RunArgs, draw: &mut Draw) {
    stormy(run, draw);
    run.time_limit = 20.0;
    run.nemesis_interval = *draw.pick(&[0.6, 1.0]);
}

/// Few clients a node, many operations.
fn busy(run: &mut RunArgs, draw: &mut Draw) {
    run.rate = 100.0;
    run.concurrency = Concurrency::PerNode(2);
    run.nemesis_interval = *draw.pick(&[0.6, 1.0, 2.0]);
    run.chaos.fsync = *draw.pick(&[10.0, 50.0, 100.0]);
}

impl Schedule {
    /// The space of a mutant.
    pub(crate) fn of(mutant: Mutant) -> Schedule {
        use Fault::{Kill, Membership, OneWay, Partition, Pause};
        use Mutant::*;
        const FEW: &[usize] = &[3, 3, 5];
        let raft = Schedule {
            workload: "lin-kv",
            args: &[],
            nodes: FEW,
            needs: &[Partition],
            fix: stormy,
        };
        let gossip = Schedule {
            workload: "g-set",
            args: &[],
            nodes: FEW,
            needs: &[Kill, Partition],
            fix: busy,
        };
        match mutant {
            LocalReadAtLeader | ReadBeforeOwnCommit | CommitBeyondAppend => raft,
            LocalReadAnywhere => Schedule { needs: &[], fix: as_drawn, ..raft },
            CommitEarlierTerm => Schedule {
                args: &["--append-bytes", "1"],
                nodes: &[3, 5, 5],
                needs: &[Partition, Kill],
                fix: slow_disks,
                ..raft
            },
            VoteNotPersisted | AckBeforeDurable | AnswerOnAppend => {
                Schedule { needs: &[Kill, Partition], fix: slow_disks, ..raft }
            }
            VoteByLengthOnly | KeepConflict | IgnorePrevTerm => {
                Schedule { needs: &[Partition, OneWay], ..raft }
            }
            StaleAck | TruncateAlways | CountVotesTwice => {
                Schedule { needs: &[Partition, Kill], fix: doubled, ..raft }
            }
            HalfIsQuorum => Schedule { nodes: &[4, 4, 2, 6], ..raft },
            LeaderIgnoresTerm => Schedule { needs: &[Partition, OneWay, Pause], ..raft },
            EarlyChange | ConfigAtCommit | NewVotersCommit | LearnersCount => Schedule {
                nodes: &[3, 4, 4, 5],
                needs: &[Membership, Partition, Kill],
                fix: changing,
                ..raft
            },
            NoPreVote | NoCheckQuorum => Schedule { needs: &[], fix: as_drawn, ..raft },
            FixedTimeout => Schedule { needs: &[Kill, Partition], fix: as_drawn, ..raft },
            LongLease => Schedule {
                args: &["--lease-reads"],
                needs: &[Partition, Pause],
                fix: leases,
                ..raft
            },
            OldSnapshot => {
                Schedule { args: SNAPSHOTS, needs: &[Partition, Kill], fix: doubled, ..raft }
            }
            SnapshotNotPersisted => {
                Schedule { args: SNAPSHOTS, needs: &[Partition, Kill], fix: slow_disks, ..raft }
            }
            NoSessions | RetryIsNew | DefiniteRefusal => {
                Schedule { needs: &[Partition, Pause], ..raft }
            }
            OwnCopyAtOnce => Schedule { nodes: &[1], needs: &[Kill], fix: slow_disks, ..raft },
            ForgetUnacknowledged | OkBeforeDurable => gossip,
            IgnoreIncarnation => Schedule { workload: "broadcast", ..gossip },
            ReuseReplica | MergeByAdding => Schedule { workload: "pn-counter", ..gossip },
            IdsFromZero => Schedule { workload: "unique-ids", fix: as_drawn, ..gossip },
            PollUncommitted => Schedule { workload: "kafka", fix: stormy, ..raft },
            KeyByKey => Schedule { workload: "txn-rw-register", needs: &[], fix: as_drawn, ..raft },
            ReplyInOrder => {
                Schedule { workload: "pn-counter", args: &["--store", "seq-kv"], ..gossip }
            }
        }
    }

    /// The run that `seed` stands for.
    pub(crate) fn run(&self, seed: Seed) -> RunArgs {
        let served = self.workload.strip_prefix("txn-").map_or(self.workload, |_| "txn");
        let args = [served].iter().chain(self.args).map(|arg| (*arg).to_owned()).collect();
        let space = Space {
            workload: self.workload.to_owned(),
            consistency_models: "strict-serializable".into(),
            args,
        };
        let mut run = derive(&space, seed);
        let mut draw = seed.stream("mutants", 0);
        run.node_count = Some(*draw.pick(self.nodes));
        for fault in self.needs {
            if !run.nemesis.contains(fault) {
                run.nemesis.push(*fault);
            }
        }
        run.nemesis.retain(|f| *f != Fault::Membership || self.needs.contains(f));
        (self.fix)(&mut run, &mut draw);
        run
    }
}
