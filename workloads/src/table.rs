//! The table of workloads, and how one is built by its name.

use std::fmt;

use seaworthy::node::Workload;

use crate::all_workloads::AllWorkloads;
use crate::broadcast::Broadcast;
use crate::counter::Counter;
use crate::entry::{Entry, Single};
use crate::g_set::GSet;
use crate::lin_kv::LinKv;
use crate::options::{Options, Store};
use crate::seq_counter::SeqCounter;
use crate::{echo, kafka, txn, unique_ids};

static TABLE: [Entry; 9] = [
    Entry {
        name: "echo",
        summary: "answers every message with its own content",
        serves: &["echo"],
        build: |_| Box::new(echo::Echo),
    },
    Entry {
        name: "unique-ids",
        summary: "hands out ids that no node ever hands out again",
        serves: &["generate"],
        build: |_| Box::new(unique_ids::UniqueIds::default()),
    },
    Entry {
        name: "broadcast",
        summary: "spreads messages to every node",
        serves: &["topology", "broadcast", "read", Broadcast::GOSSIP],
        build: |options| Box::new(Broadcast::new(options)),
    },
    Entry {
        name: "g-set",
        summary: "keeps a set that only grows",
        serves: &["add", "read", GSet::GOSSIP],
        build: |options| Box::new(GSet::new(options)),
    },
    Entry {
        name: "pn-counter",
        summary: "counts up and down",
        serves: &["add", "read", Counter::GOSSIP],
        build: |options| match options.store {
            Store::Nodes | Store::LinKv => Box::new(Counter::new(options)),
            Store::SeqKv => Box::new(SeqCounter::new(false)),
        },
    },
    Entry {
        name: "g-counter",
        summary: "counts up",
        serves: &["add", "read", Counter::GROW_ONLY_GOSSIP],
        build: |options| match options.store {
            Store::Nodes | Store::LinKv => Box::new(Counter::grow_only(options)),
            Store::SeqKv => Box::new(SeqCounter::new(true)),
        },
    },
    Entry {
        name: "lin-kv",
        summary: "keeps linearizable registers: read, write, compare-and-set",
        serves: &["read", "write", "cas", "add_member", "remove_member", LinKv::PEER],
        build: |options| Box::new(LinKv::new(options)),
    },
    Entry {
        name: "kafka",
        summary: "keeps logs: send, poll, commit offsets",
        serves: &[
            "send",
            "poll",
            "commit_offsets",
            "list_committed_offsets",
            "add_member",
            "remove_member",
            kafka::replicated::Kafka::PEER,
            kafka::service::ServiceKafka::FORWARD,
        ],
        build: kafka::build,
    },
    Entry {
        name: "txn",
        summary: "carries out transactions over registers and lists",
        serves: &[
            "txn",
            "add_member",
            "remove_member",
            txn::strict::Strict::PEER,
            txn::committed::Committed::GOSSIP,
        ],
        build: txn::build,
    },
];

/// All workloads, in the order in which people meet them.
pub fn all() -> &'static [Entry] {
    &TABLE
}

/// Builds the workload called `name`, or the one that serves them all.
///
/// # Errors
/// If there is no workload of that name.
pub fn build(
    name: Option<&str>,
    options: &Options,
) -> Result<Box<dyn Workload + Send>, UnknownWorkload> {
    let Some(name) = name else {
        return Ok(Box::new(AllWorkloads::new(all(), options.clone())));
    };
    let entry = all().iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| UnknownWorkload(name.to_owned()))?;
    Ok(Box::new(Single::new(entry, options)))
}

/// A name that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWorkload(pub String);

impl fmt::Display for UnknownWorkload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = all().iter().map(|entry| entry.name).collect();
        write!(f, "no workload is called {:?}; there are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownWorkload {}
