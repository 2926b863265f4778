//! What a node is.
//!
//! A node is a pure state machine: events in, effects out. This crate knows
//! neither a workload nor a test. It holds the wire types ([`message`]), the
//! contract between a node's logic and whatever runs it ([`node`]), stable
//! storage behind a trait ([`storage`]), and the only real input and output of
//! the whole project ([`driver`]).
//!
//! Dependencies point one way: `driver -> node -> message`, and the engines know
//! none of them. Nothing here reads a clock, draws a random number, spawns or
//! prints, except below [`driver`].

pub mod driver;
pub mod gossip;
pub mod gossip_node;
pub mod mark;
pub mod message;
pub mod mutant;
pub mod node;
pub mod raft;
pub mod replica;
pub mod storage;
pub mod time;
