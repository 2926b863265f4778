//! What a run is: Maelstrom's flags, and the faults only a simulation has.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use seaworthy::message::NodeId;

use crate::check::Availability;
use crate::check::txn::{Model, parse_models};
use crate::service;
use crate::world::net::Directory;
use crate::world::seed::Seed;

/// How the latency of a message is drawn, given its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LatencyDist {
    /// Always the mean.
    Constant,
    /// Uniform between 0 and twice the mean.
    Uniform,
    /// Exponential.
    Exponential,
}

/// The kinds of fault the nemesis switches on and off during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Fault {
    /// Cut the network in Jepsen's shapes.
    Partition,
    /// SIGKILL nodes, restart them later.
    Kill,
    /// SIGSTOP nodes, SIGCONT them later.
    Pause,
    /// Cut links in one direction only.
    OneWay,
    /// Multiply latency for a while.
    Slow,
    /// Remove members and add them again (lin-kv on our own nodes).
    Membership,
    /// Hold back everything on some links, and deliver it when the link is free again.
    Stall,
    /// Ask a node nothing for a while, then put an empty one in its place (simulation;
    /// not for consensus).
    Replace,
}

/// The overlay that broadcast's `topology` message suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// A two-dimensional grid.
    Grid,
    /// A line.
    Line,
    /// A binary tree.
    Tree,
    /// A tree with 2 children a node.
    Tree2,
    /// A tree with 3 children a node.
    Tree3,
    /// A tree with 4 children a node.
    Tree4,
    /// Everybody with everybody.
    Total,
}

/// How many operations must succeed (`--availability`), if any must.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand(pub Option<Availability>);

impl FromStr for Demand {
    type Err = String;

    fn from_str(s: &str) -> Result<Demand, String> {
        if s == "none" { Ok(Demand(None)) } else { s.parse().map(|a| Demand(Some(a))) }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(Availability::Total) => f.write_str("total"),
            Some(Availability::Fraction(part)) => write!(f, "{part}"),
        }
    }
}

/// A number of workers: a count, or a multiple of the number of nodes (`4n`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many.
    Fixed(usize),
    /// This many for each node.
    PerNode(usize),
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(s: &str) -> Result<Concurrency, String> {
        let (digits, per_node) = s.strip_suffix('n').map_or((s, false), |d| (d, true));
        let count: usize =
            digits.parse().map_err(|_| "expected a number, or one followed by n".to_owned())?;
        match (count, per_node) {
            (0, _) => Err("at least one worker is needed".into()),
            (count, true) => Ok(Concurrency::PerNode(count)),
            (count, false) => Ok(Concurrency::Fixed(count)),
        }
    }
}

/// The flags that describe a run; the names and defaults are Maelstrom's.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Which workload to run
    #[arg(short, long, default_value = "lin-kv")]
    pub workload: String,
    /// Number of nodes, called n0, n1, ...
    #[arg(long, conflicts_with = "nodes")]
    pub node_count: Option<usize>,
    /// The nodes' names, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "n1,n2,n3,n4,n5")]
    pub nodes: Vec<String>,
    /// Number of client workers: a number, or a multiple of the nodes like 4n
    #[arg(short, long, default_value = "1n")]
    pub concurrency: Concurrency,
    /// Seconds during which operations are issued
    #[arg(long, default_value_t = 60.0)]
    pub time_limit: f64,
    /// Client operations a second, over all workers
    #[arg(short, long, default_value_t = 5.0)]
    pub rate: f64,
    /// Mean latency of messages between servers, in milliseconds
    #[arg(long, default_value_t = 0.0)]
    pub latency: f64,
    /// Distribution of that latency
    #[arg(long, value_enum, default_value = "constant")]
    pub latency_dist: LatencyDist,
    /// Faults to inject, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    pub nemesis: Vec<Fault>,
    /// Mean seconds between two acts of the nemesis
    #[arg(long, default_value_t = 10.0)]
    pub nemesis_interval: f64,
    /// Overlay suggested to broadcast nodes
    #[arg(long, value_enum, default_value = "grid")]
    pub topology: Topology,
    /// Required fraction of successful operations: none, total or 0 to 1
    #[arg(long, default_value = "none")]
    pub availability: Demand,
    /// Consistency models transactions must meet, separated by commas
    #[arg(long, default_value = "strict-serializable")]
    pub consistency_models: String,
    /// Number of keys in use at a time (transactions, kafka)
    #[arg(long, default_value_t = 10)]
    pub key_count: usize,
    /// Longest transaction
    #[arg(long, default_value_t = 4)]
    pub max_txn_length: usize,
    /// Writes to a key before it is replaced by a new one
    #[arg(long, default_value_t = 16)]
    pub max_writes_per_key: usize,
    /// Judge as Maelstrom does when a reply has a structure that is not documented: the
    /// operation's fate is unknown, and that is all
    #[arg(long)]
    pub lenient_responses: bool,
    /// Seed of the run; in the simulation it determines every byte
    #[arg(long)]
    pub seed: Option<u64>,
    /// What Maelstrom does not have.
    #[command(flatten)]
    pub chaos: ChaosArgs,
    /// Options for the node, after --
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// Faults that Maelstrom does not have. Those of the network work with real
/// processes too; those of clock and disk need the simulation.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Further faults")]
pub struct ChaosArgs {
    /// Probability that a message between servers is lost
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    pub loss: f64,
    /// Probability that a message between servers is delivered twice
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    pub duplicate: f64,
    /// Probability that a message between servers is held back and overtaken
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    pub reorder: f64,
    /// Largest relative error of a node's clock, such as 0.1 (simulation only)
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    pub clock_skew: f64,
    /// Mean duration of an fsync in milliseconds (simulation only)
    #[arg(long, default_value_t = 0.0)]
    pub fsync: f64,
    /// Probability that a kill tears the last unsynced record (simulation only)
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    pub torn_writes: f64,
    /// Give simulated nodes no disk: a kill loses everything
    #[arg(long)]
    pub no_disk: bool,
    /// After the operations end all faults, go on for this many seconds, and demand
    /// that from the third second on every operation gets an answer
    #[arg(long, default_value_t = 0.0)]
    pub quiet_phase: f64,
    /// In the quiet phase leave a random minority deaf, mute, cut off or switched off, and
    /// demand answers of the other nodes only, from the sixth second on
    #[arg(long)]
    pub lasting_fault: bool,
}

fn probability(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Beyond these a run would only exhaust the machine.
const NODES_MAX: usize = 10_000;
const WORKERS_MAX: usize = 100_000;
/// Operations a second for which the pauses between them fit a clock of nanoseconds.
const RATES: RangeInclusive<f64> = 1e-6..=1e6;
const NEMESIS_INTERVAL_MIN_S: f64 = 0.001;

/// Whether a node can be called so: everybody in a network has a name of their own,
/// and a node's is that of its log file, too.
fn can_be_a_node(name: &NodeId) -> bool {
    let taken = Directory::new(&[], &service::NAMES).find(name).is_some();
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
    /// Mean time between two acts of the nemesis.
    pub nemesis_interval: Duration,
    /// What transactions must satisfy.
    pub models: Vec<Model>,
    /// Where all randomness comes from.
    pub seed: Seed,
}

impl RunArgs {
    /// Reads the flags of `seaworthy test`, one word an item, with no program's name first.
    ///
    /// # Errors
    /// clap's complaint about a flag or a value that there is not.
    pub fn from_flags<W: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<RunArgs, clap::Error> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Flags {
            #[command(flatten)]
            run: RunArgs,
        }
        Flags::try_parse_from(words).map(|flags| flags.run)
    }
}

impl RunConfig {
    /// Checks flags and resolves what depends on other flags. `fallback` is the
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
        if !RATES.contains(&args.rate) {
            return Err(format!("--rate must be from {} to {}", RATES.start(), RATES.end()));
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
        let models = parse_models(&args.consistency_models)?;
        Ok(RunConfig {
            models,
            time_limit: seconds("time-limit", args.time_limit)?,
            quiet_phase: seconds("quiet-phase", args.chaos.quiet_phase)?,
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
            ("--rate 0", "--rate"),
            ("--rate NaN", "--rate"),
            ("--rate 1e-300", "--rate"),
            ("--rate 1e300", "--rate"),
            ("--nemesis partition --nemesis-interval 0", "--nemesis-interval"),
            ("--nemesis-interval NaN", "--nemesis-interval"),
            ("--time-limit inf", "--time-limit"),
            ("--latency 1e300", "--latency"),
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
        for flags in ["", "--time-limit 0", "--nemesis-interval 0", "--nodes a,c,n1.example"] {
            assert!(config(flags).is_ok(), "{flags}");
        }
    }
}
