//! Kafka: logs that are appended to, read from an offset, and committed.
//!
//! Every key has a log of its own. A `send` puts a message at its end and answers with
//! its offset; offsets count from 0 without gaps. A `poll` reads some messages of each
//! log it asks for, from the offset it asks for, without gaps. A client notes how far
//! it has come with `commit_offsets`; a committed offset never goes back.
//!
//! Where the logs are is a choice. By default they are a replicated state machine
//! ([`replicated`]): sends need a majority of the nodes, polls only their own. With `--store
//! lin-kv` they are in Maelstrom's service, as the challenge states it ([`service`]).
//!
//! Deliberately missing: consumer groups and partitions, which the protocol does not
//! have.

mod calls;
mod chunks;
mod commits;
pub mod logs;
mod planted;
mod protocol;
pub mod replicated;
pub mod service;

use seaworthy::node::Workload;

use crate::options::{Options, Store};

/// The workload, with its logs where the options say.
pub fn build(options: &Options) -> Box<dyn Workload + Send> {
    match options.store {
        Store::LinKv => Box::new(service::ServiceKafka::default()),
        Store::Nodes | Store::SeqKv => Box::new(replicated::Kafka::new(options)),
    }
}
