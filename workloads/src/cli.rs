//! The command line of a node: one parser for the binary and for simulated nodes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser};
use clap::{Args, Parser, ValueEnum};
use seaworthy::gossip::{self, Overlay};
use seaworthy::shell::raft;
use tracing_subscriber::filter::Targets;

use crate::options::{Isolation, Options, Store};
use crate::table::all;

/// A node for Maelstrom, Jepsen and `seaworthy test`: messages in on stdin, out on
/// stdout, one JSON object a line.
#[derive(Clone, Debug, Parser)]
#[command(name = "seaworthy-node", version)]
pub struct Cli {
    /// The workload to serve; by default all at once, decided by the type of each message
    #[arg(value_parser = workload_names())]
    pub workload: Option<String>,

    /// Keep state in DIR/NODE-ID/, so that it survives a kill; by default it lives in memory
    ///
    /// Every run needs a directory of its own: a node that finds the state of an earlier run
    /// serves it, and the test is invalid. `seaworthy test` puts one in place of {run}, as in
    /// --data-dir {run}. Maelstrom has no such thing, and its --test-count starts several
    /// runs with the same options: call it once a run instead, with a new directory each
    /// time, as in --data-dir "$(mktemp -d)".
    ///
    /// Built with the cargo feature postgres: postgres://USER@HOST/DATABASE keeps state in that
    /// database, in the schema seaworthy_NODE-ID.
    #[arg(long, value_name = "DIR", env = "SEAWORTHY_DATA")]
    pub data_dir: Option<PathBuf>,

    /// Levels to log on stderr: off, error, warn, info, debug, trace, or a list of
    /// TARGET=LEVEL, as in warn,seaworthy::raft=debug
    #[arg(long, value_name = "LEVEL", env = "SEAWORTHY_LOG", default_value = "warn")]
    pub log_level: Targets,

    /// How the workloads behave.
    #[command(flatten)]
    flags: Flags,
}

/// The flags that configure workloads.
#[derive(Args, Clone, Debug)]
struct Flags {
    /// How broadcast, g-set, the counters and txn at read-committed spread news: through a
    /// hub that is replaced if it fails, along a tree, along the topology that broadcast is
    /// given, or from every node to every node
    #[arg(long, value_enum, value_name = "SHAPE", default_value_t)]
    overlay: OverlayChoice,

    /// How long a broadcast message, element, delta or write may take to reach every node
    /// in good weather; more time means fewer messages
    #[arg(long, value_name = "MS")]
    #[arg(default_value_t = gossip::Options::default().latency_budget.as_millis() as u64)]
    latency_budget: u64,

    /// How long the leader of lin-kv, kafka or txn collects commands before it replicates
    /// them; more time means fewer messages
    #[arg(long, value_name = "MS", default_value_t = raft::Options::default().batch_delay_ms)]
    batch_delay: u64,

    /// Silence after which the others begin to elect a new leader; up to twice that
    #[arg(long, value_name = "MS")]
    #[arg(default_value_t = raft::Options::default().election_timeout_ms)]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=600_000))]
    election_timeout: u64,

    /// The longest silence of a leader; at most half of the election timeout, which it is cut
    /// down to
    #[arg(long, value_name = "MS", default_value_t = raft::Options::default().heartbeat_ms)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    heartbeat: u64,

    /// How much the log of lin-kv, kafka or txn grows before it is replaced by a snapshot,
    /// at least
    #[arg(long, value_name = "BYTES")]
    #[arg(default_value_t = raft::Options::default().compact_bytes)]
    compact_bytes: u64,

    /// How many entries stay in that log for nodes that are a little behind
    #[arg(long, value_name = "COUNT", default_value_t = raft::Options::default().keep_entries)]
    keep_entries: u64,

    /// How much of that log goes into one message, as far as one entry fits
    #[arg(long, value_name = "BYTES", default_value_t = raft::Options::default().append_bytes)]
    append_bytes: usize,

    /// How many of those messages may be on the way to one node
    #[arg(long, value_name = "COUNT", default_value_t = raft::Options::default().max_inflight)]
    #[arg(value_parser = at_least_one())]
    max_inflight: usize,

    /// How many of those messages a node keeps that overtook others, until these come
    #[arg(long, value_name = "COUNT", default_value_t = raft::Options::default().max_early)]
    max_early: usize,

    /// How much of a snapshot goes into one message
    #[arg(long, value_name = "BYTES")]
    #[arg(default_value_t = raft::Options::default().snapshot_chunk_bytes)]
    #[arg(value_parser = at_least_one())]
    snapshot_chunk: usize,

    /// How many starts of nodes are remembered, so that a request that is sent twice takes
    /// effect once; the same on all nodes
    #[arg(long, value_name = "COUNT", default_value_t = raft::Options::default().max_sessions)]
    #[arg(value_parser = at_least_one())]
    max_sessions: usize,

    /// How many changes broadcast, g-set, the counters and txn at read-committed keep for
    /// nodes that are behind; those that lack more are sent everything
    #[arg(long, value_name = "COUNT", default_value_t = gossip::Options::default().keep_deltas)]
    #[arg(value_parser = at_least_one())]
    keep_deltas: usize,

    /// Answer reads without asking other nodes while a quorum has promised not to elect
    /// another leader; correct only if clocks run at nearly the same rate
    #[arg(long)]
    lease_reads: bool,

    /// Answer reads of lin-kv, kafka and strict transactions on the node that is asked, from
    /// its own state, once it has applied what the leader had committed
    #[arg(long)]
    pub follower_reads: bool,

    /// Where the counters keep their totals, and kafka its logs
    #[arg(long, value_enum, value_name = "STORE", default_value_t)]
    store: StoreChoice,

    /// How far transactions are isolated from each other
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    isolation: IsolationChoice,

    /// How many messages kafka keeps of each log, the last ones; by default all
    #[arg(long, value_name = "MESSAGES")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    retain: Option<u32>,
}

/// Children of an inner node of `--overlay tree`.
const TREE_FANOUT: u16 = 4;

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl Cli {
    /// Returns the flags as the options of workloads.
    pub fn options(&self) -> Options {
        let flags = &self.flags;
        Options {
            gossip: flags.gossip(),
            raft: flags.raft(),
            store: flags.store.into(),
            isolation: flags.isolation.into(),
            retain: flags.retain,
        }
    }
}

impl Flags {
    fn raft(&self) -> raft::Options {
        raft::Options {
            batch_delay_ms: self.batch_delay,
            election_timeout_ms: self.election_timeout,
            // Followers must not time out between two heartbeats.
            heartbeat_ms: self.heartbeat.min(self.election_timeout / 2),
            lease_reads: self.lease_reads,
            follower_reads: self.follower_reads,
            compact_bytes: self.compact_bytes,
            keep_entries: self.keep_entries,
            append_bytes: self.append_bytes,
            max_inflight: self.max_inflight,
            max_early: self.max_early,
            snapshot_chunk_bytes: self.snapshot_chunk,
            max_sessions: self.max_sessions,
            ..raft::Options::default()
        }
    }

    fn gossip(&self) -> gossip::Options {
        let overlay = match self.overlay {
            OverlayChoice::Hub => Overlay::Hub,
            OverlayChoice::Tree => Overlay::Tree(TREE_FANOUT),
            OverlayChoice::Topology => Overlay::Topology,
            OverlayChoice::Flood => Overlay::Flood,
        };
        let latency_budget = Duration::from_millis(self.latency_budget);
        gossip::Options { overlay, latency_budget, keep_deltas: self.keep_deltas }
    }
}

/// The values of `--store`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum StoreChoice {
    /// On the nodes themselves
    #[default]
    Nodes,
    /// The counters' in the service seq-kv
    SeqKv,
    /// Kafka's in the service lin-kv
    LinKv,
}

impl From<StoreChoice> for Store {
    fn from(choice: StoreChoice) -> Store {
        match choice {
            StoreChoice::Nodes => Store::Nodes,
            StoreChoice::SeqKv => Store::SeqKv,
            StoreChoice::LinKv => Store::LinKv,
        }
    }
}

/// The values of `--isolation`, strongest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum IsolationChoice {
    /// One after the other, in real time; needs a majority of the nodes
    #[default]
    StrictSerializable,
    /// Whole transactions only, as each node knows them; available under any partition
    ReadCommitted,
    /// The same: there is nothing to gain by seeing more
    ReadUncommitted,
}

impl From<IsolationChoice> for Isolation {
    fn from(choice: IsolationChoice) -> Isolation {
        match choice {
            IsolationChoice::StrictSerializable => Isolation::StrictSerializable,
            IsolationChoice::ReadCommitted => Isolation::ReadCommitted,
            IsolationChoice::ReadUncommitted => Isolation::ReadUncommitted,
        }
    }
}

/// The values of `--overlay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OverlayChoice {
    /// Through the lowest node that can be reached; repairs itself
    #[default]
    Hub,
    /// Along a tree of fan-out 4
    Tree,
    /// Along the neighbours that the topology message names; a hub until it comes
    Topology,
    /// From every node to every node
    Flood,
}

/// Parses the arguments of a node, without the program's name: those after `--`
/// in `seaworthy test` and `maelstrom test`.
///
/// # Errors
/// Clap's error, which prints itself and knows its exit status.
pub fn parse_args(args: &[impl AsRef<str>]) -> Result<Cli, clap::Error> {
    let args = args.iter().map(|arg| OsString::from(arg.as_ref()));
    Cli::try_parse_from(std::iter::once(OsString::from("seaworthy-node")).chain(args))
}

fn workload_names() -> PossibleValuesParser {
    all().iter().map(|entry| PossibleValue::new(entry.name).help(entry.summary)).into()
}
