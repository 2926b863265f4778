//! A run from nothing but a seed: swarm testing.
//!
//! Every knob of a run is drawn from its seed: how many nodes, how fast, how slow the network,
//! which faults at all and how strong each. A random subset of faults finds more than all of them
//! at once, because one fault can hide another (Groce et al., "Swarm testing", 2012). The result is
//! a set of ordinary flags, so that a failing run is one `seaworthy test` command.

pub mod library;
pub mod ordered;
pub mod plan;
pub mod shrink;
pub mod story;
pub mod swarm;
pub mod trial;

use clap::ValueEnum;

use crate::backend::sim::Factory;
use crate::challenge::{Challenge, Knob};
use crate::config::{
    ChaosArgs, Concurrency, Demand, Fault, LatencyDist, NetworkKind, RunArgs, RunConfig, Topology,
};
use crate::judge::slowness;
use crate::run::Run;
use crate::seed::{Draw, Seed};

pub use library::{Explore, Failed};
pub use trial::Trial;

/// Makes the nodes of a run. Runs are made on several threads.
pub type Nodes = dyn Fn(&RunConfig) -> Result<Factory, String> + Send + Sync;

/// The choices that an exploration keeps fixed.
#[derive(Clone)]
pub struct Space<'a> {
    /// The challenge that tests the nodes.
    pub challenge: &'a dyn Challenge,
    /// The nodes; those of the challenge unless there are others.
    pub nodes: Option<&'a Nodes>,
    /// The models that transactions must satisfy, as in `--consistency-models`.
    pub consistency_models: String,
    /// How many operations must succeed in a run that takes no node down.
    pub availability: Demand,
    /// Arguments for the nodes.
    pub args: Vec<String>,
    /// Whether the nodes are the challenge's own, so that their options can be drawn as well.
    pub tuned: bool,
}

impl<'a> Space<'a> {
    /// All runs of a challenge, by nodes that get no arguments, held to the strictest models
    /// and to no availability.
    pub fn of(challenge: &'a dyn Challenge) -> Space<'a> {
        Space {
            challenge,
            nodes: None,
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

    /// A run with the nodes of this space.
    ///
    /// # Errors
    /// A sentence about the option of a node that makes no sense.
    pub fn run<'c, 'w>(&'c self, config: &'c RunConfig) -> Result<Run<'c, 'w>, String> {
        let run = Run::of(self.challenge, config);
        match self.nodes {
            Some(nodes) => Ok(run.nodes(nodes(config)?)),
            None => Ok(run),
        }
    }
}

/// The faults that half of all runs have, if the challenge allows for them.
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
    // Its own stream: knobs that came later leave the rest of a seed's run as it was.
    let extra = &mut seed.stream("explore", 1);
    let allowed = space.challenge.faults(space.tuned);
    let mut nemesis = some_of(draw, &FAULTS);
    nemesis.extend(extra.chance(0.25).then_some(Fault::Stall));
    nemesis.retain(|fault| allowed.contains(fault));
    // It must be noticed and dealt with in the time to recover: not by nodes that have just
    // learned to be patient.
    let is_swift = farthest <= 20.0 && !nemesis.contains(&Fault::Slow);
    let may_last = [Fault::Kill, Fault::OneWay].iter().all(|fault| allowed.contains(fault));
    let lasting_fault =
        extra.chance(0.3) && may_last && is_swift && !nemesis.contains(&Fault::Membership);
    // A disk may lose durable entries only where other servers give them back: not if those that
    // hold them were removed, or are gone for good.
    let has_log = space.tuned && allowed.contains(&Fault::Membership);
    let may_roll_back = has_log && !lasting_fault && !nemesis.contains(&Fault::Membership);
    let roll_back = sometimes(&mut seed.stream("explore", 3), &[0.1, 0.3, 1.0]);
    // A node that is down answers no request, however available the others are.
    let stops = lasting_fault || nemesis.contains(&Fault::Kill) || nemesis.contains(&Fault::Pause);
    let mut args = space.args.clone();
    // A node that has fallen behind must be able to catch up with a log that goes on growing: a
    // snapshot goes in few and small pieces, a round trip each.
    if space.tuned && is_swift {
        args.extend(options(space.challenge.knobs(), extra));
    }
    // Leases rely on clocks that differ by less than their margin.
    let skew = if args.iter().any(|arg| arg == "--lease-reads") { LEASE_SKEW } else { 1.0 };
    let mut run = RunArgs {
        workload: space.challenge.name().to_owned(),
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
        omit: Vec::new(),
        lenient_responses: false,
        init_timeout: 10.0,
        seed: Some(seed.0),
        chaos: ChaosArgs {
            roll_back: if may_roll_back { roll_back } else { 0.0 },
            ..chaos(draw, lasting_fault, farthest, skew)
        },
        args,
    };
    space.challenge.tame(&mut run);
    run
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

/// Options of the challenge's own nodes, each drawn or left out.
fn options(knobs: &[Knob], draw: &mut Draw) -> Vec<String> {
    if draw.chance(0.5) {
        return Vec::new();
    }
    // All at their first values, a snapshot comes the most often and takes the longest: only
    // then do leaders change while one is on its way.
    let is_extreme = draw.chance(0.3);
    let mut options = Vec::new();
    for (name, values) in knobs {
        if is_extreme || draw.chance(0.7) {
            let value = if is_extreme { values[0] } else { *draw.pick(values) };
            options.push((*name).to_owned());
            options.extend(Some(value.to_owned()).filter(|value| !value.is_empty()));
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
        disk_mib: 256,
        network: NetworkKind::Proxies,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::builtin;
    use crate::check::Availability;
    use crate::config::flags;

    #[test]
    fn flags_describe_the_whole_run() {
        let space = Space {
            challenge: builtin("echo").unwrap(),
            nodes: None,
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
