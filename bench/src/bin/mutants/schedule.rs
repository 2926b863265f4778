//! Where each mutant can show: the space of configurations that is explored for it.
//!
//! A space is the one of `seaworthy explore`, in which every knob is drawn from the seed,
//! with some knobs fixed or bounded: a bug of snapshots needs snapshots.

use seaworthy::planted::Mutant;
use seaworthy_bench::challenge::builtin;
use seaworthy_bench::config::{Concurrency, Fault, LatencyDist, RunArgs};
use seaworthy_bench::explore::{Space, derive};
use seaworthy_bench::seed::{Draw, Seed};

/// A space of configurations.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    workload: &'static str,
    /// Arguments for the nodes.
    args: &'static [&'static str],
    nodes: &'static [usize],
    /// The faults that the nemesis always has.
    needs: &'static [Fault],
    /// The choices that are fixed beyond that.
    fix: fn(&mut RunArgs, &mut Draw),
}

/// Small logs and snapshots, so that both are exercised in seconds.
const SNAPSHOTS: &[&str] =
    &["--compact-bytes", "300", "--keep-entries", "3", "--election-timeout", "60"];

/// Elections that take milliseconds, so that a run of seconds has hundreds of them.
const HASTE: &[&str] = &["--election-timeout", "60", "--heartbeat", "15"];

/// The same, and one entry at a time: of a new term's first entry nothing is kept until the
/// old ones have arrived.
const PIECEMEAL: &[&str] = &[
    "--election-timeout",
    "60",
    "--heartbeat",
    "15",
    "--append-bytes",
    "1",
    "--max-inflight",
    "1",
    "--max-early",
    "0",
];

/// Fewer sessions than nodes open.
const FEW_SESSIONS: &[&str] = &["--max-sessions", "3"];

/// As [`PIECEMEAL`] with more on the way, and reads at followers.
const FOLLOWER_READS: &[&str] = &[
    "--election-timeout",
    "60",
    "--heartbeat",
    "15",
    "--append-bytes",
    "1",
    "--max-inflight",
    "2",
    "--follower-reads",
];

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

/// As [`stormy`], on the scale of [`HASTE`].
fn hasty(run: &mut RunArgs, draw: &mut Draw) {
    run.time_limit = *draw.pick(&[3.0, 6.0]);
    run.chaos.quiet_phase = 4.0;
    run.nemesis_interval = *draw.pick(&[0.05, 0.1, 0.2]);
    run.latency = *draw.pick(&[0.5, 5.0, 20.0]);
    run.rate = *draw.pick(&[50.0, 150.0, 400.0]);
    run.concurrency = Concurrency::PerNode(4);
    run.chaos.reorder = *draw.pick(&[0.0, 0.1, 0.5]);
    run.chaos.fsync = *draw.pick(&[0.1, 1.0, 10.0]);
}

/// As [`hasty`], and logs that differ for several round trips.
fn piecemeal(run: &mut RunArgs, draw: &mut Draw) {
    hasty(run, draw);
    run.time_limit = 6.0;
    run.nemesis_interval = *draw.pick(&[0.1, 0.2]);
    run.latency = *draw.pick(&[10.0, 20.0]);
    run.latency_dist = LatencyDist::Exponential;
    run.rate = 200.0;
    run.concurrency = Concurrency::PerNode(4);
    run.chaos.fsync = *draw.pick(&[0.1, 1.0, 5.0]);
}

/// As [`hasty`]: cuts last long enough for logs to part, and messages overtake each other.
fn crossing(run: &mut RunArgs, draw: &mut Draw) {
    hasty(run, draw);
    run.time_limit = 6.0;
    run.rate = 400.0;
    run.nemesis_interval = *draw.pick(&[0.2, 0.4]);
    run.latency = *draw.pick(&[5.0, 20.0]);
    run.latency_dist = LatencyDist::Exponential;
    run.chaos.reorder = *draw.pick(&[0.1, 0.5]);
    run.chaos.fsync = 0.1;
}

/// As [`hasty`], and everything comes twice.
fn doubled(run: &mut RunArgs, draw: &mut Draw) {
    hasty(run, draw);
    run.chaos.duplicate = *draw.pick(&[0.1, 0.3]);
    run.chaos.reorder = *draw.pick(&[0.1, 0.5]);
}

/// As [`stormy`], and disks so slow that a kill finds something unsynced.
fn slow_disks(run: &mut RunArgs, draw: &mut Draw) {
    stormy(run, draw);
    run.chaos.fsync = *draw.pick(&[10.0, 50.0, 100.0]);
}

/// As [`slow_disks`]: nodes die before their disks hold anything, and disks forget.
fn forgetful(run: &mut RunArgs, draw: &mut Draw) {
    slow_disks(run, draw);
    run.nemesis_interval = *draw.pick(&[0.05, 0.1, 0.2]);
    run.chaos.roll_back = 0.3;
}

/// Clocks that differ less than the margin of a lease allows for, and nodes that measure
/// different round trips.
fn leases(run: &mut RunArgs, draw: &mut Draw) {
    stormy(run, draw);
    let spread: f64 = *draw.pick(&[1.0, 1.0, 16.0, 48.0]);
    run.latency_spread = spread.min(FARTHEST_MS / run.latency);
    run.chaos.quiet_phase = 15.0;
    run.chaos.clock_skew = *draw.pick(&[0.0, 0.05]);
}

/// The longest link between nodes that hold leases.
const FARTHEST_MS: f64 = 240.0;

/// Members come and go in bad weather.
fn changing(run: &mut RunArgs, draw: &mut Draw) {
    stormy(run, draw);
    run.time_limit = 20.0;
    run.nemesis_interval = *draw.pick(&[0.3, 0.6, 1.0]);
}

/// A quiet phase in which a minority still has faults.
fn lasting(run: &mut RunArgs, _: &mut Draw) {
    run.rate = run.rate.max(20.0);
    run.time_limit = 5.0;
    run.latency = run.latency.min(20.0);
    run.nemesis.retain(|fault| *fault != Fault::Slow);
    run.chaos.quiet_phase = 9.0;
    run.chaos.lasting_fault = true;
}

/// Few clients a node, many operations.
fn busy(run: &mut RunArgs, draw: &mut Draw) {
    run.rate = 100.0;
    run.concurrency = Concurrency::PerNode(2);
    run.nemesis_interval = *draw.pick(&[0.6, 1.0, 2.0]);
    run.chaos.fsync = *draw.pick(&[10.0, 50.0, 100.0]);
}

/// As [`busy`], and messages of a dead incarnation arrive after the next one's.
fn late(run: &mut RunArgs, draw: &mut Draw) {
    busy(run, draw);
    run.latency = *draw.pick(&[20.0, 100.0]);
    run.latency_dist = LatencyDist::Exponential;
    run.nemesis_interval = *draw.pick(&[0.2, 0.4, 1.0]);
    run.chaos.reorder = *draw.pick(&[0.1, 0.5]);
    run.chaos.fsync = 1.0;
}

/// As [`busy`], where a compare-and-set that another overtakes costs a round trip.
fn contended(run: &mut RunArgs, draw: &mut Draw) {
    busy(run, draw);
    run.latency = run.latency.min(20.0);
    run.nemesis.retain(|fault| *fault != Fault::Slow);
}

/// Machines are replaced, and nothing else happens: only then is nothing lost with them.
fn replaced(run: &mut RunArgs, draw: &mut Draw) {
    run.nemesis = vec![Fault::Replace];
    run.nemesis_interval = *draw.pick(&[2.0, 3.0]);
    run.time_limit = 20.0;
    run.rate = *draw.pick(&[20.0, 100.0]);
    run.latency = *draw.pick(&[5.0, 20.0, 100.0]);
    run.latency_dist = LatencyDist::Constant;
    run.chaos.loss = 0.0;
    run.chaos.reorder = 0.0;
    run.chaos.fsync = 1.0;
    run.chaos.clock_skew = 0.0;
}

/// The common part of most spaces.
const RAFT: Schedule = Schedule {
    workload: "lin-kv",
    args: &[],
    nodes: &[3, 3, 5],
    needs: &[Fault::Partition],
    fix: stormy,
};

/// Whether a mutant breaks no promise but that there will be an answer.
pub(crate) fn is_about_progress(mutant: Mutant) -> bool {
    use Mutant::{FixedTimeout, KnownBeforeDurable, NoCheckQuorum, NoPreVote};
    matches!(mutant, NoPreVote | NoCheckQuorum | FixedTimeout | KnownBeforeDurable)
}

impl Schedule {
    /// Whether operations must be answered in this space: not where a node may replicate
    /// only one entry in a round trip, and gets more than that; nor where sessions expire
    /// while their commands wait, which are then answered with error 0.
    pub(crate) fn promises_progress(&self) -> bool {
        ![PIECEMEAL, FEW_SESSIONS, FOLLOWER_READS].contains(&self.args)
    }

    /// The space of a mutant.
    pub(crate) fn of(mutant: Mutant) -> Schedule {
        use Fault::{Kill, Membership, OneWay, Partition, Pause, Slow, Stall};
        use Mutant::*;
        let raft = RAFT;
        let hasty = Schedule { args: HASTE, fix: hasty, ..raft };
        // A list shows a lost append for certain; of a register that many open writes may
        // still change, nearly anything can be explained.
        let piecemeal = Schedule {
            workload: "txn-list-append",
            args: PIECEMEAL,
            needs: &[Partition, Kill],
            fix: piecemeal,
            ..raft
        };
        let members = Schedule {
            nodes: &[3, 4, 4, 5],
            needs: &[Membership, Partition, Kill],
            fix: changing,
            ..raft
        };
        match mutant {
            LocalReadAtLeader | ReadBeforeOwnCommit => raft,
            LocalReadAnywhere => Schedule { needs: &[], fix: as_drawn, ..raft },
            CommitEarlierTerm => Schedule { needs: &[Partition, Kill, OneWay], ..piecemeal },
            VoteNotPersisted | VoteBeforeDurable => {
                Schedule { needs: &[Kill, OneWay, Stall], ..hasty }
            }
            AckBeforeDurable | AnswerOnAppend => {
                Schedule { needs: &[Kill, Partition], fix: slow_disks, ..raft }
            }
            VoteByLengthOnly | CommitBeyondAppend => piecemeal,
            VerifiedForever => Schedule {
                args: FOLLOWER_READS,
                nodes: &[5, 5, 7],
                needs: &[Partition],
                fix: crossing,
                ..raft
            },
            IdleForgotten => Schedule { fix: doubled, ..hasty },
            IdleOfAnyTerm => Schedule { needs: &[Partition, OneWay, Slow], fix: crossing, ..hasty },
            KeepConflict | IgnorePrevTerm => Schedule { needs: &[Partition, OneWay], ..hasty },
            TruncateAlways => Schedule { needs: &[Partition, Kill], fix: doubled, ..hasty },
            StaleAck | ReadInCurrentRound => Schedule { needs: &[Partition, Stall], ..hasty },
            CountVotesTwice => {
                Schedule { nodes: &[4, 5, 5], needs: &[Partition, Kill], fix: doubled, ..hasty }
            }
            HalfIsQuorum => Schedule { nodes: &[4, 4, 2, 6], ..raft },
            LeaderIgnoresTerm => Schedule { needs: &[Partition, OneWay], ..hasty },
            EarlyChange | ConfigAtCommit | NewVotersCommit | NewVotersElect => members,
            SnapshotConfigAhead => Schedule { args: SNAPSHOTS, ..members },
            LearnersCount => Schedule { nodes: &[4], ..members },
            KnownBeforeDurable => Schedule { needs: &[Kill, OneWay], fix: forgetful, ..raft },
            NoPreVote | NoCheckQuorum | FixedTimeout => {
                Schedule { needs: &[], fix: lasting, ..raft }
            }
            LongLease => Schedule {
                args: &["--lease-reads"],
                needs: &[Partition, Pause],
                fix: leases,
                ..raft
            },
            OldSnapshot => {
                Schedule { args: SNAPSHOTS, needs: &[Partition, Kill, Stall], fix: doubled, ..raft }
            }
            SnapshotNotPersisted => {
                Schedule { args: SNAPSHOTS, needs: &[Partition, Kill], ..hasty }
            }
            ExpiredApplies => Schedule {
                workload: "txn-list-append",
                args: FEW_SESSIONS,
                needs: &[Partition, Kill],
                ..raft
            },
            NoSessions | RetryIsNew => {
                Schedule { workload: "txn-list-append", needs: &[Partition, Pause], ..raft }
            }
            DefiniteRefusal => Schedule { needs: &[Partition, Pause], ..raft },
            OwnCopyAtOnce => Schedule { nodes: &[1], needs: &[Kill], fix: slow_disks, ..raft },
            _ => Schedule::beyond_raft(mutant),
        }
    }

    /// The space of a mutant of the other engine, the runtime or a workload.
    fn beyond_raft(mutant: Mutant) -> Schedule {
        use Fault::{Kill, Partition, Slow, Stall};
        use Mutant::*;
        let raft = RAFT;
        let gossip = Schedule { workload: "g-set", needs: &[Kill, Partition], fix: busy, ..RAFT };
        match mutant {
            FloorOutlivesPeer => Schedule { needs: &[Kill, Slow, Stall], fix: late, ..gossip },
            IgnoreIncarnation => {
                Schedule { workload: "broadcast", needs: &[], fix: replaced, ..gossip }
            }
            ReuseReplica => {
                Schedule { workload: "pn-counter", needs: &[], fix: replaced, ..gossip }
            }
            MergeByAdding => Schedule { workload: "pn-counter", ..gossip },
            IdsFromZero => Schedule { workload: "unique-ids", fix: as_drawn, ..gossip },
            PollUncommitted => Schedule { workload: "kafka", ..raft },
            // Not on disks slower than the elections of this space, which would never end.
            CommitsNotInSnapshot => Schedule {
                workload: "kafka",
                args: SNAPSHOTS,
                needs: &[Partition, Kill],
                fix: hasty,
                ..raft
            },
            KeyByKey => Schedule { workload: "txn-rw-register", needs: &[], fix: as_drawn, ..raft },
            ReplyInOrder => Schedule {
                workload: "pn-counter",
                args: &["--store", "seq-kv"],
                fix: contended,
                ..gossip
            },
            // ForgetUnacknowledged, OkBeforeDurable.
            _ => gossip,
        }
    }

    /// The run that `seed` stands for.
    pub(crate) fn run(&self, seed: Seed) -> RunArgs {
        let challenge = builtin(self.workload).expect("schedules name built-in challenges");
        let own = self.args.iter().map(|arg| (*arg).to_owned());
        let args = challenge.arguments().into_iter().chain(own).collect();
        let space = Space { args, ..Space::of(challenge) };
        let mut run = derive(&space, seed);
        // All links are as long, unless the space says otherwise.
        run.latency_spread = 1.0;
        let mut draw = seed.stream("mutants", 0);
        run.node_count = Some(*draw.pick(self.nodes));
        for fault in self.needs {
            if !run.nemesis.contains(fault) {
                run.nemesis.push(*fault);
            }
        }
        // Not every workload lets its members change, and one that does may not rely on a majority.
        run.nemesis.retain(|f| *f != Fault::Membership || self.needs.contains(f));
        run.chaos.lasting_fault = false;
        (self.fix)(&mut run, &mut draw);
        run
    }
}
