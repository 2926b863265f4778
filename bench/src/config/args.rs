//! The flags that describe a run, as they are typed.

use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, Parser, ValueEnum};

use super::values::{Concurrency, Demand, Fault, LatencyDist, NetworkKind, Topology};

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
    #[arg(long, default_value_t = 60.0, allow_negative_numbers = true)]
    pub time_limit: f64,
    /// Client operations a second, over all workers; 0 for none
    #[arg(short, long, default_value_t = 5.0, allow_negative_numbers = true)]
    pub rate: f64,
    /// Mean latency of messages between servers, in milliseconds
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
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
    /// Operations that clients leave out, separated by commas, such as cas
    #[arg(long, value_name = "F", value_parser = names)]
    #[arg(default_value = "", hide_default_value = true)]
    pub omit: std::vec::Vec<String>,
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
    /// The faults that Maelstrom does not have.
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
        // A comma behind the last name is a slip of the hand.
        match text.trim().trim_end_matches(',') {
            "none" => Ok(Vec::new()),
            names => parts(names).map(read).collect(),
        }
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
    /// Largest relative error of a node's clock, such as 0.1 (simulation, and --server
    /// with libfaketime)
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
    /// Size of each server's disk in MiB, for --nemesis full-disk (--server)
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    pub disk_mib: u64,
    /// How servers reach each other (--server)
    #[arg(long, value_enum, default_value = "proxies")]
    pub network: NetworkKind,
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

    /// The mean latency of the longest link that there may be, in milliseconds.
    pub fn farthest_ms(&self) -> f64 {
        self.latency * self.latency_spread
    }
}
