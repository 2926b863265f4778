//! What a run is: Maelstrom's flags, and the faults only a simulation has.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, Parser, ValueEnum};
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
    #[arg(long)]
    pub node_count: Option<usize>,
    /// The nodes' names, separated by commas [default: n1,n2,n3,n4,n5]; --node-count goes
    /// before them
    #[arg(long, value_parser = names, default_value = "", hide_default_value = true)]
    // The whole path keeps clap from taking each name for a value of its own.
    pub nodes: std::vec::Vec<String>,
    /// Number of client workers: a number, or a multiple of the nodes like 4n
    #[arg(short, long, default_value = "1n")]
    pub concurrency: Concurrency,
    /// Seconds during which operations are issued
    #[arg(long, default_value_t = 60.0)]
    pub time_limit: f64,
    /// Client operations a second, over all workers; 0 for none
    #[arg(short, long, default_value_t = 5.0)]
    pub rate: f64,
    /// Mean latency of messages between servers, in milliseconds
    #[arg(long, default_value_t = 0.0)]
    pub latency: f64,
    /// Distribution of that latency
    #[arg(long, value_enum, default_value = "constant")]
    pub latency_dist: LatencyDist,
    /// Draw for each pair of nodes a mean of its own, up to this many times --latency:
    /// near and far sites
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub latency_spread: f64,
    /// Faults to inject, separated by commas, or none
    #[arg(long, value_parser = Listed::<Fault>::default())]
    #[arg(default_value = "", hide_default_value = true)]
    pub nemesis: std::vec::Vec<Fault>,
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
    /// Seconds that a node has to answer init
    #[arg(long, default_value_t = 10.0)]
    pub init_timeout: f64,
    /// Seed of the run; in the simulation it determines every byte
    #[arg(long)]
    pub seed: Option<u64>,
    /// What Maelstrom does not have.
    #[command(flatten)]
    pub chaos: ChaosArgs,
    /// Options for the node; those that begin with a dash after --. {run} stands for a
    /// directory of the run's own (with --bin)
    #[arg(value_name = "NODE_OPTION")]
    pub args: Vec<String>,
}

/// The parts of a text between its commas, without the blanks around them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(move |_| !text.trim().is_empty())
}

fn names(text: &str) -> Result<Vec<String>, String> {
    Ok(parts(text).map(str::to_owned).collect())
}

/// Reads a list of values separated by commas; `none` is the empty list.
#[derive(Clone, Debug)]
struct Listed<T>(PhantomData<T>);

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed(PhantomData)
    }
}

impl<T: ValueEnum + Send + Sync + 'static> TypedValueParser for Listed<T> {
    type Value = Vec<T>;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Vec<T>, clap::Error> {
        let text = value.to_string_lossy();
        let read = |name: &str| {
            T::from_str(name, false).map_err(|_| {
                let known: Vec<_> =
                    T::value_variants().iter().filter_map(T::to_possible_value).collect();
                let known: Vec<_> = known.iter().map(PossibleValue::get_name).collect();
                let what = format!("there is no {name:?}; known are {}\n", known.join(", "));
                clap::Error::raw(ErrorKind::InvalidValue, what).with_cmd(command)
            })
        };
        if text.trim() == "none" { Ok(Vec::new()) } else { parts(&text).map(read).collect() }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(T::value_variants().iter().filter_map(T::to_possible_value)))
    }
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
    /// Probability that a kill also takes durable records from the end of the node's disk;
    /// at most a minority at a time, and only of consensus (simulation only)
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    pub roll_back: f64,
    /// Give simulated nodes no disk: a kill loses everything
    #[arg(long)]
    pub no_disk: bool,
    /// After the operations end all faults, go on for this many seconds, and demand
    /// that from the third second on (later if messages take more than 100 ms on average)
    /// every operation gets an answer
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
    /// How long a node may take to answer its init.
    pub init_timeout: Duration,
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
        #[command(no_binary_name = true, args_override_self = true)]
        struct Flags {
            #[command(flatten)]
            run: RunArgs,
        }
        Flags::try_parse_from(words).map(|flags| flags.run)
    }
}

impl RunArgs {
    /// The mean latency of the longest link that there may be, in milliseconds.
    pub fn farthest_ms(&self) -> f64 {
        self.latency * self.latency_spread
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
