//! A replicated state machine as a node: the shell around [`crate::raft`].
//!
//! A workload that must be linearizable is a deterministic [`StateMachine`]; a
//! [`Replica`] makes a node of it. It turns the wishes of the core into effects: writes
//! become records, promises wait for their tickets, time becomes ticks. And it is the
//! client of its own cluster, on behalf of the node's clients: it passes commands and
//! queries on to the leader, keeps them until there is an answer, and sends them
//! again when the leader changes. Sessions make sure that a command which arrives
//! twice happens once.
//!
//! # Promises to clients
//!
//! * A definite error means that the request is in no log and never will be: it was
//!   refused before it left this node, or it is a query.
//! * A command that may have reached a log is answered with its outcome, however often
//!   it takes, or, after a long time, with error 0, which promises nothing.
//! * A request that finds no leader waits for one instead of failing, as long as its
//!   client can be expected to wait.
//!
//! * A node that reaches a majority serves its clients, even if it cannot reach the
//!   leader: others pass its requests on (see `detour`).
//!
//! # Few messages
//!
//! A turn ends with a timer of no delay, which goes off when everything that had
//! arrived is handled. Then one message goes to each replica for which there is
//! anything, with everything in it (see `wire`). A query that is passed on to the
//! leader vouches for that leader at the same time; in a cluster of three it needs no
//! confirmation by any other node. With [`Options::follower_reads`] a node asks for an
//! index instead of the answer, which costs the same two messages, and reads in its own
//! state. A command that changes nothing is answered like a query (see `idle`).
//!
//! # Deliberately missing
//!
//! Snapshots of the state machine taken bit by bit: the node stands still while it takes
//! one.

mod apply;
mod array;
mod body;
mod changes;
mod client;
mod detour;
mod envelope;
mod flush;
mod identity;
mod idle;
mod idle_answers;
mod machine;
mod membership;
mod options;
mod outcome;
mod pace;
mod pending;
mod planted;
mod promise;
mod record;
mod repeats;
mod replica;
mod requests;
mod route;
mod standing;
mod state;
#[cfg(test)]
mod tests;
mod timing;
mod wire;

pub use machine::{Answer, StateMachine};
pub use options::Options;
pub use promise::{Promise, promises};
pub use state::Replica;
