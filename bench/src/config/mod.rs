//! The description of a run: Maelstrom's flags, and the faults only a simulation has.

mod args;
mod flags;
mod values;

use std::ops::RangeInclusive;
use std::time::Duration;

use seaworthy::message::NodeId;

pub use args::{ChaosArgs, RunArgs};
pub use flags::{command, flags, quote};
pub use values::{Concurrency, Demand, Fault, LatencyDist, NetworkKind, Topology};

use crate::check::txn::{Model, parse_models};
use crate::directory::{Directory, SERVICES};
use crate::seed::Seed;

/// In the quiet phase no message and no fsync takes longer than this many times the mean:
/// as long as the slowest of the uniform distribution.
pub const CALM_FACTOR: f64 = 2.0;

/// Jepsen's five.
const DEFAULT_NODES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
/// Beyond these a run would only exhaust the machine.
const NODES_MAX: usize = 10_000;
const WORKERS_MAX: usize = 100_000;
/// Operations a second for which the pauses between them fit a clock of nanoseconds.
const RATES: RangeInclusive<f64> = 1e-6..=1e6;
const NEMESIS_INTERVAL_MIN_S: f64 = 0.001;
/// How many times as long as the shortest link the longest may be.
const SPREADS: RangeInclusive<f64> = 1.0..=10_000.0;

/// Whether a node can be called so: each party in a network has a name of its own,
/// and a node's is that of its log file, too.
fn can_be_a_node(name: &NodeId) -> bool {
    let taken = Directory::new(&[], &SERVICES).find(name).is_some();
    let name = name.as_str();
    !taken && !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// A complete, checked description of one run.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The flags as given.
    pub args: RunArgs,
    /// The nodes' ids.
    pub nodes: Vec<NodeId>,
    /// Number of client workers.
    pub concurrency: usize,
    /// How long operations are issued.
    pub time_limit: Duration,
    /// How long they are issued after that without any fault.
    pub quiet_phase: Duration,
    /// How long a node may take to answer its init.
    pub init_timeout: Duration,
    /// Mean time between two acts of the nemesis.
    pub nemesis_interval: Duration,
    /// The consistency models that transactions must satisfy.
    pub models: Vec<Model>,
    /// Where all randomness comes from.
    pub seed: Seed,
}

impl RunConfig {
    /// The flags of this very run: those given, with the seed that was drawn if none was.
    pub fn flags_of_run(&self) -> RunArgs {
        RunArgs { seed: Some(self.seed.0), ..self.args.clone() }
    }

    /// Checks flags and resolves those that depend on other flags. `fallback` is the
    /// seed of a run that was given none.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn new(args: RunArgs, fallback: Seed) -> Result<RunConfig, String> {
        let nodes: Vec<NodeId> = match args.node_count {
            Some(0) => return Err("--node-count must be at least 1".into()),
            Some(count) if count > NODES_MAX => {
                return Err(format!("--node-count must be at most {NODES_MAX}"));
            }
            Some(count) => (0..count).map(|i| NodeId::new(format!("n{i}"))).collect(),
            None if args.nodes.is_empty() => DEFAULT_NODES.iter().map(NodeId::new).collect(),
            None => args.nodes.iter().map(NodeId::new).collect(),
        };
        if let Some(name) = nodes.iter().find(|name| !can_be_a_node(name)) {
            return Err(format!("--nodes: {:?} cannot be the name of a node", name.as_str()));
        }
        let mut unique = nodes.clone();
        unique.sort();
        unique.dedup();
        if unique.len() != nodes.len() {
            return Err("--nodes names a node twice".into());
        }
        let concurrency = match args.concurrency {
            Concurrency::Fixed(count) => count,
            Concurrency::PerNode(count) => count.saturating_mul(nodes.len()),
        };
        if concurrency > WORKERS_MAX {
            return Err(format!("--concurrency must be at most {WORKERS_MAX} workers"));
        }
        let seconds = |flag: &str, value: f64| {
            let fine = value.is_finite() && (0.0..1e9).contains(&value);
            let why = format!("--{flag} must be a number of seconds from 0 to 1e9");
            if fine { Ok(Duration::from_secs_f64(value)) } else { Err(why) }
        };
        if args.rate != 0.0 && !RATES.contains(&args.rate) {
            return Err(format!("--rate must be 0, or from {} to {}", RATES.start(), RATES.end()));
        }
        if args.chaos.lasting_fault && args.nemesis.contains(&Fault::Membership) {
            // Of the members that are left, a majority may be out of reach.
            return Err("--lasting-fault does not go with --nemesis membership".into());
        }
        // Without a pause between its acts the nemesis would never let time pass.
        if !args.nemesis.is_empty() && args.nemesis_interval < NEMESIS_INTERVAL_MIN_S {
            return Err(format!("--nemesis-interval must be at least {NEMESIS_INTERVAL_MIN_S}"));
        }
        for (flag, value) in [("latency", args.latency), ("fsync", args.chaos.fsync)] {
            seconds(flag, value / 1000.0).map_err(|e| e.replace("seconds", "milliseconds"))?;
        }
        if !SPREADS.contains(&args.latency_spread) {
            let (from, to) = (SPREADS.start(), SPREADS.end());
            return Err(format!("--latency-spread must be from {from} to {to}"));
        }
        if args.latency_spread > 1.0 && args.latency <= 0.0 {
            return Err("--latency-spread multiplies --latency: give that as well".into());
        }
        let farthest = args.farthest_ms() / 1000.0;
        seconds("latency-spread", farthest)
            .map_err(|_| "--latency-spread makes links too long for a clock".to_owned())?;
        let models = parse_models(&args.consistency_models)?;
        Ok(RunConfig {
            models,
            time_limit: seconds("time-limit", args.time_limit)?,
            quiet_phase: seconds("quiet-phase", args.chaos.quiet_phase)?,
            init_timeout: seconds("init-timeout", args.init_timeout)?,
            nemesis_interval: seconds("nemesis-interval", args.nemesis_interval)?,
            seed: args.seed.map_or(fallback, Seed),
            nodes,
            concurrency,
            args,
        })
    }

    /// Whether the nemesis has this fault.
    pub fn has(&self, fault: Fault) -> bool {
        self.args.nemesis.contains(&fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &str) -> Result<RunConfig, String> {
        let typed = flags.split(' ').filter(|f| !f.is_empty());
        RunConfig::new(RunArgs::from_flags(typed).expect("flags"), Seed(0))
    }

    #[test]
    fn values_that_would_hang_or_break_a_run_are_refused() {
        for (flags, complaint) in [
            ("--rate=-1", "--rate"),
            ("--rate NaN", "--rate"),
            ("--rate 1e-300", "--rate"),
            ("--rate 1e300", "--rate"),
            ("--nemesis partition --nemesis-interval 0", "--nemesis-interval"),
            ("--nemesis-interval NaN", "--nemesis-interval"),
            ("--time-limit inf", "--time-limit"),
            ("--latency 1e300", "--latency"),
            ("--latency 5 --latency-spread 0.5", "--latency-spread"),
            ("--latency 5 --latency-spread NaN", "--latency-spread"),
            ("--latency 1e11 --latency-spread 1e4", "--latency-spread"),
            ("--latency-spread 10", "--latency: give"),
            ("--node-count 0", "--node-count"),
            ("--node-count 18446744073709551615", "--node-count"),
            ("--concurrency 18446744073709551615n", "--concurrency"),
            ("--nodes a,b,a", "twice"),
            ("--nodes a,", "\"\""),
            ("--lasting-fault --nemesis membership", "--lasting-fault"),
            ("--nodes lin-kv", "\"lin-kv\""),
            ("--nodes c7", "\"c7\""),
            ("--nodes ../a", "\"../a\""),
            ("--nodes ..", "\"..\""),
        ] {
            let error = config(flags).expect_err(flags);
            assert!(error.contains(complaint), "{flags}: {error}");
        }
        for flags in [
            "",
            "--latency-spread 1",
            "--time-limit 0",
            "--nemesis-interval 0",
            "--nodes a,c,n1.example",
        ] {
            assert!(config(flags).is_ok(), "{flags}");
        }
    }

    fn names_of(flags: &[&str]) -> String {
        let run = RunArgs::from_flags(flags.iter().copied()).expect("flags");
        let config = RunConfig::new(run, Seed(0)).expect("a configuration");
        config.nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_take_blanks_and_the_last_of_a_repeated_flag_counts() {
        assert_eq!(names_of(&[]), "n1 n2 n3 n4 n5");
        assert_eq!(names_of(&["--nodes", "a, b ,c"]), "a b c");
        assert_eq!(names_of(&["--nodes", "a,b", "--nodes", "c"]), "c");
        assert_eq!(names_of(&["--nodes", "a,b", "--node-count", "2"]), "n0 n1");
        let run = |flags: &[&str]| RunArgs::from_flags(flags.iter().copied()).expect("flags");
        let both = run(&["--nemesis", "partition, kill", "--rate", "5", "--rate", "0"]);
        assert_eq!((both.nemesis, both.rate), (vec![Fault::Partition, Fault::Kill], 0.0));
        assert_eq!(run(&["--nemesis", "kill", "--nemesis", "pause"]).nemesis, [Fault::Pause]);
        assert_eq!(run(&["--nemesis", "none"]).nemesis, []);
        let error = RunArgs::from_flags(["--nemesis", "kill,lightning"]).expect_err("no fault");
        assert!(error.to_string().contains("\"lightning\"; known are partition, "), "{error}");
    }

    #[test]
    fn options_of_the_node_need_no_dashes_before_them() {
        let run = |flags: &[&str]| RunArgs::from_flags(flags.iter().copied()).expect("flags").args;
        assert_eq!(run(&["ok", "--rate", "5", "more"]), ["ok", "more"]);
        assert_eq!(run(&["ok", "--", "--rate", "x"]), ["ok", "--rate", "x"]);
    }
}
