//! A run from nothing but a seed: swarm testing.
//!
//! Every knob of a run is drawn from its seed: how many nodes, how fast, how slow
//! the network, which faults at all and how strong each. A random subset of faults
//! finds more than all of them at once, because one fault can hide another
//! (Groce et al., "Swarm testing", 2012). What comes out is a set of ordinary flags,
//! so that a failing run is one `seaworthy test` command.

pub mod library;
pub mod ordered;
pub mod outcome;
pub mod plan;
pub mod shrink;
pub mod story;
pub mod swarm;

use clap::ValueEnum;

use crate::config::{
    ChaosArgs, Concurrency, Demand, Fault, LatencyDist, RunArgs, RunConfig, Topology,
};
use crate::judge::slowness;
use crate::world::seed::{Draw, Seed};

pub use library::{Explore, Failed};
pub use outcome::{Outcome, explore_one};

/// What an exploration keeps fixed.
#[derive(Clone, Debug)]
pub struct Space {
    /// The workload.
    pub workload: String,
    /// What transactions are held to, as in `--consistency-models`.
    pub consistency_models: String,
    /// How many operations must succeed in a run that takes no node down.
    pub availability: Demand,
    /// Arguments for the nodes.
    pub args: Vec<String>,
    /// Whether the nodes are our own, so that their options can be drawn as well.
    pub tuned: bool,
}

impl Space {
    /// All runs of a workload, by nodes that get no arguments, held to what workloads are held
    /// to unless somebody asks for something else.
    pub fn of(workload: &str) -> Space {
        Space {
            workload: workload.to_owned(),
            consistency_models: "strict-serializable".to_owned(),
            availability: Demand(None),
            args: Vec::new(),
            tuned: false,
        }
    }

    /// The run that `seed` stands for, checked.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn config(&self, seed: Seed) -> Result<RunConfig, String> {
        RunConfig::new(derive(self, seed), seed)
    }
}

/// What our own nodes call what serves a workload: two workloads are transactions.
pub fn served(workload: &str) -> &str {
    workload.strip_prefix("txn-").map_or(workload, |_| "txn")
}

/// The faults that a run may have. Replacement is left out: it promises nothing while
/// anything else goes wrong.
const FAULTS: [Fault; 6] =
    [Fault::Partition, Fault::Kill, Fault::Pause, Fault::OneWay, Fault::Slow, Fault::Membership];

/// The run that `seed` stands for.
pub fn derive(space: &Space, seed: Seed) -> RunArgs {
    let mut draw = seed.stream("explore", 0);
    let draw = &mut draw;
    let nodes = *draw.pick(&[1, 2, 3, 3, 3, 4, 5, 5, 7]);
    // A multiple of 2n, which lin-kv demands and the others do not mind.
    let concurrency = Concurrency::PerNode(*draw.pick(&[2, 2, 4]));
    let latency = *draw.pick(&[0.0, 0.0, 1.0, 5.0, 20.0, 100.0]);
    let latency_spread = spread(latency, &mut seed.stream("explore", 2));
    let farthest = latency * latency_spread;
    // Its own stream: what came later leaves the rest of a seed's run as it was.
    let extra = &mut seed.stream("explore", 1);
    let mut nemesis = some_of(draw, &FAULTS);
    // Only what is replicated by Raft has members, and not every node lets clients choose them.
    let has_members = match space.workload.as_str() {
        "lin-kv" => true,
        "kafka" | "txn-list-append" | "txn-rw-register" => space.tuned,
        _ => false,
    };
    nemesis.retain(|fault| *fault != Fault::Membership || has_members);
    nemesis.extend(extra.chance(0.25).then_some(Fault::Stall));
    // It must be noticed and dealt with in the time to recover: not by nodes that have just
    // learned to be patient.
    let is_swift = farthest <= 20.0 && !nemesis.contains(&Fault::Slow);
    let lasting_fault = extra.chance(0.3) && is_swift && !nemesis.contains(&Fault::Membership);
    // Whoever is down answers nobody, however available the others are.
    let stops = lasting_fault || nemesis.contains(&Fault::Kill) || nemesis.contains(&Fault::Pause);
    let mut args = space.args.clone();
    // Whoever has fallen behind must be able to catch up with a log that goes on growing: a
    // snapshot goes in few and small pieces, a round trip each.
    if space.tuned && is_swift {
        args.extend(options(&space.workload, extra));
    }
    // Leases rely on clocks that differ by less than their margin.
    let skew = if args.iter().any(|arg| arg == "--lease-reads") { LEASE_SKEW } else { 1.0 };
    RunArgs {
        workload: space.workload.clone(),
        node_count: Some(nodes),
        nodes: Vec::new(),
        concurrency,
        time_limit: *draw.pick(&[5.0, 10.0, 20.0]),
        rate: *draw.pick(&[5.0, 20.0, 50.0, 100.0]),
        latency,
        latency_spread,
        latency_dist: *draw.pick(LatencyDist::value_variants()),
        nemesis,
        nemesis_interval: *draw.pick(&[0.3, 1.0, 2.0, 5.0]),
        topology: *draw.pick(Topology::value_variants()),
        availability: if stops { Demand(None) } else { space.availability },
        consistency_models: space.consistency_models.clone(),
        key_count: *draw.pick(&[2, 5, 10]),
        max_txn_length: *draw.pick(&[2, 4, 6]),
        max_writes_per_key: *draw.pick(&[4, 16, 64]),
        lenient_responses: false,
        init_timeout: 10.0,
        seed: Some(seed.0),
        chaos: chaos(draw, lasting_fault, farthest, skew),
        args,
    }
}

/// The longest link that is drawn, in milliseconds: from one continent to another.
const FARTHEST_MS: f64 = 250.0;
/// The largest error of clocks by which leases are right.
const LEASE_SKEW: f64 = 0.05;

/// How many times as long as the shortest link the longest may be; 1 where all are the same.
fn spread(latency: f64, draw: &mut Draw) -> f64 {
    let (far, factor) = (draw.chance(0.5), *draw.pick(&[4.0, 16.0, 50.0]));
    if far && latency > 0.0 { f64::min(factor, FARTHEST_MS / latency).max(1.0) } else { 1.0 }
}

/// Options of our own nodes under which what takes a long log or a large state happens in
/// seconds: snapshots, in pieces, and whole states instead of what has changed.
fn options(workload: &str, draw: &mut Draw) -> Vec<String> {
    let choices: &[(&str, &[&str])] = match workload {
        "lin-kv" | "kafka" | "txn-list-append" | "txn-rw-register" => &[
            ("--compact-bytes", &["300", "3000", "30000"]),
            ("--keep-entries", &["0", "3", "30"]),
            ("--append-bytes", &["300", "3000"]),
            ("--max-early", &["0", "1"]),
            // States of the others grow all the time, and so would the number of pieces.
            match workload {
                "lin-kv" => ("--snapshot-chunk", &["30", "100", "500"]),
                _ => ("--snapshot-chunk", &["2000", "5000"]),
            },
            // Few pieces at a time take many round trips, in which leaders can change.
            match workload {
                "lin-kv" => ("--max-inflight", &["1", "2", "8"]),
                _ => ("--max-inflight", &["8"]),
            },
        ],
        "broadcast" | "g-set" | "g-counter" | "pn-counter" => {
            &[("--keep-deltas", &["1", "10", "100"])]
        }
        _ => &[],
    };
    if draw.chance(0.5) {
        return Vec::new();
    }
    let mut options = Vec::new();
    for (name, values) in choices {
        if draw.chance(0.7) {
            options.extend([(*name).to_owned(), (*draw.pick(values)).to_owned()]);
        }
    }
    options
}

fn chaos(draw: &mut Draw, lasting_fault: bool, farthest_ms: f64, skew_max: f64) -> ChaosArgs {
    ChaosArgs {
        loss: sometimes(draw, &[0.01, 0.05, 0.15, 0.3]),
        duplicate: sometimes(draw, &[0.01, 0.1, 0.3]),
        reorder: sometimes(draw, &[0.01, 0.1, 0.5]),
        clock_skew: sometimes(draw, &[0.01, 0.1, 0.3]).min(skew_max),
        fsync: sometimes(draw, &[0.1, 1.0, 10.0, 50.0]),
        torn_writes: sometimes(draw, &[0.1, 0.5, 1.0]),
        roll_back: 0.0,
        no_disk: false,
        // Long enough to be asked something after the time to recover.
        quiet_phase: slowness(farthest_ms) * if lasting_fault { 9.0 } else { 6.0 },
        lasting_fault,
    }
}

/// Half of the time nothing, else one of the strengths.
fn sometimes(draw: &mut Draw, strengths: &[f64]) -> f64 {
    if draw.chance(0.5) { 0.0 } else { *draw.pick(strengths) }
}

fn some_of<T: Copy>(draw: &mut Draw, items: &[T]) -> Vec<T> {
    items.iter().copied().filter(|_| draw.chance(0.5)).collect()
}

/// The flags that describe `run`, as they are typed; those with their default
/// value are left out.
pub fn flags(run: &RunArgs) -> Vec<String> {
    let mut flags = vec!["-w".to_owned(), run.workload.clone()];
    let mut flag = |name: &str, value: String, default: &str| {
        if value != default {
            flags.extend([format!("--{name}"), value]);
        }
    };
    flag("nodes", run.nodes.join(","), "");
    flag("node-count", run.node_count.map_or_else(String::new, |n| n.to_string()), "");
    let concurrency = match run.concurrency {
        Concurrency::Fixed(count) => count.to_string(),
        Concurrency::PerNode(count) => format!("{count}n"),
    };
    flag("concurrency", concurrency, "1n");
    flag("time-limit", run.time_limit.to_string(), "60");
    flag("rate", run.rate.to_string(), "5");
    flag("latency", run.latency.to_string(), "0");
    flag("latency-spread", run.latency_spread.to_string(), "1");
    flag("latency-dist", name(run.latency_dist), "constant");
    let nemesis: Vec<String> = run.nemesis.iter().copied().map(name).collect();
    flag("nemesis", nemesis.join(","), "");
    flag("nemesis-interval", run.nemesis_interval.to_string(), "10");
    flag("topology", name(run.topology), "grid");
    flag("availability", run.availability.to_string(), "none");
    flag("consistency-models", run.consistency_models.clone(), "strict-serializable");
    flag("key-count", run.key_count.to_string(), "10");
    flag("max-txn-length", run.max_txn_length.to_string(), "4");
    flag("max-writes-per-key", run.max_writes_per_key.to_string(), "16");
    flag("init-timeout", run.init_timeout.to_string(), "10");
    let chaos = &run.chaos;
    flag("loss", chaos.loss.to_string(), "0");
    flag("duplicate", chaos.duplicate.to_string(), "0");
    flag("reorder", chaos.reorder.to_string(), "0");
    flag("clock-skew", chaos.clock_skew.to_string(), "0");
    flag("fsync", chaos.fsync.to_string(), "0");
    flag("torn-writes", chaos.torn_writes.to_string(), "0");
    flag("roll-back", chaos.roll_back.to_string(), "0");
    flag("quiet-phase", chaos.quiet_phase.to_string(), "0");
    flag("seed", run.seed.map_or_else(String::new, |s| s.to_string()), "");
    for (name, given) in [("no-disk", chaos.no_disk), ("lasting-fault", chaos.lasting_fault)] {
        flags.extend(given.then(|| format!("--{name}")));
    }
    if !run.args.is_empty() {
        flags.push("--".into());
        flags.extend(run.args.iter().cloned());
    }
    flags
}

fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no variant is hidden");
    value.get_name().to_owned()
}

/// The command that replays `run`, for a shell.
pub fn command(run: &RunArgs) -> String {
    let flags: Vec<String> = flags(run).iter().map(|flag| quote(flag)).collect();
    format!("seaworthy test {}", flags.join(" "))
}

/// An argument as it is typed in a shell.
pub fn quote(argument: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,/=".contains(&b);
    if !argument.is_empty() && argument.bytes().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Availability;

    #[test]
    fn flags_describe_the_whole_run() {
        let space = Space {
            workload: "echo".into(),
            consistency_models: "read-committed,serializable".into(),
            availability: Demand(Some(Availability::Fraction(0.5))),
            args: vec!["--x".into()],
            tuned: true,
        };
        for seed in 0..200 {
            let run = derive(&space, Seed(seed));
            let parsed = RunArgs::from_flags(flags(&run)).unwrap();
            assert_eq!(format!("{run:?}"), format!("{parsed:?}"));
        }
    }
}
