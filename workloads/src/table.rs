//! The table of workloads, and how one is built by its name.

use std::fmt;

use seaworthy::message::{ErrorCode, Message, RpcError};
use seaworthy::node::{Context, DEFAULT_STREAM, Event, Workload};
use seaworthy::raft::Raft;
use seaworthy::storage::{Log, Recovered};
use serde::Serialize;

use crate::broadcast::Broadcast;
use crate::cli::StoreChoice;
use crate::counter::Counter;
use crate::everything::Everything;
use crate::g_set::GSet;
use crate::lin_kv::LinKv;
use crate::seq_counter::SeqCounter;
use crate::{Options, echo, kafka, txn, unique_ids};

/// One workload: a row of the table.
pub struct Entry {
    /// What it is called on the command line, and its stream in storage.
    pub name: &'static str,
    /// What it does, in one line of `--help`.
    pub summary: &'static str,
    /// The types of messages it understands, those between its own nodes included
    /// (replies find their way by themselves).
    pub serves: &'static [&'static str],
    /// Makes one that has not started yet.
    pub build: fn(&Options) -> Box<dyn Workload + Send>,
}

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
            StoreChoice::Nodes | StoreChoice::LinKv => Box::new(Counter::new(options)),
            StoreChoice::SeqKv => Box::new(SeqCounter::new(false)),
        },
    },
    Entry {
        name: "g-counter",
        summary: "counts up",
        serves: &["add", "read", Counter::GROW_ONLY_GOSSIP],
        build: |options| match options.store {
            StoreChoice::Nodes | StoreChoice::LinKv => Box::new(Counter::grow_only(options)),
            StoreChoice::SeqKv => Box::new(SeqCounter::new(true)),
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

/// Builds the workload called `name`, or the one that serves everything.
///
/// # Errors
/// If there is no workload of that name.
pub fn build(
    name: Option<&str>,
    options: &Options,
) -> Result<Box<dyn Workload + Send>, UnknownWorkload> {
    let Some(name) = name else {
        return Ok(Box::new(Everything::new(all(), options.clone())));
    };
    let entry = all().iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| UnknownWorkload(name.to_owned()))?;
    Ok(Box::new(Alone { entry, workload: (entry.build)(options) }))
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

/// One named workload. Its records go to a stream of its name, as they do when
/// everything is served, so that a data directory outlives a change of arguments.
struct Alone {
    entry: &'static Entry,
    workload: Box<dyn Workload + Send>,
}

impl Workload for Alone {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let event = match event {
            Event::Start(mut recovered) => own_log(recovered.take(self.entry.name)),
            event => event,
        };
        self.workload.handle(&mut cx.scoped(0, self.entry.name), event);
    }

    fn raft(&self) -> Option<&Raft> {
        self.workload.raft()
    }
}

/// The start of a workload whose stream held `log`. A workload knows its stream
/// by the default name only.
pub(crate) fn own_log(log: Log) -> Event {
    let mut own = Recovered::default();
    if !log.is_empty() {
        own.insert(DEFAULT_STREAM, log);
    }
    Event::Start(own)
}

/// An answer that says nothing but its type.
#[derive(Serialize)]
pub(crate) struct Done {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Done {
    pub(crate) const fn of(kind: &'static str) -> Done {
        Done { kind }
    }
}

/// Refuses a message of a type that is not served here. Without a `msg_id` nobody
/// waits for the refusal, and none is sent.
pub(crate) fn not_supported(cx: &mut Context<'_>, message: &Message) {
    let text = format!("{} is not served here", message.body.kind);
    cx.error(&message.request(), &RpcError::new(ErrorCode::NOT_SUPPORTED, text));
}
