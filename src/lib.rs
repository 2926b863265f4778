//! The library of a node: contract, engines, shells, storage, driver.
//!
//! A node is a pure state machine: events in, effects out. This crate knows
//! neither a workload nor a test.
//!
//! * The contract: [`message`] has the wire types, [`node`] the events and effects
//!   of a node, [`time`] its clock's readings.
//! * The engines, which know nothing of the contract: [`gossip`] replicates lattices,
//!   [`raft`] a log.
//! * Their shells, which make a node of an engine: [`shell::raft`] and [`shell::gossip`].
//! * The outside: [`storage`], on a real disk or in memory, and [`driver`], which runs a
//!   node as a process.
//! * [`canonical`]: one text for all spellings of a JSON value.
//! * For tests: [`coverage`] names rare events, [`planted`] plants bugs, with the cargo feature
//!   `mutants` only, and [`testing`] is a network in virtual time.
//!
//! Dependencies point one way: `driver -> node -> message`, and the engines know
//! none of them. Nothing here reads a clock, draws ambient randomness, spawns or
//! prints, except [`driver`] and the files of [`storage`].

pub mod canonical;
pub mod coverage;
pub mod driver;
pub mod gossip;
pub mod message;
pub mod node;
pub mod planted;
pub mod raft;
pub mod shell;
pub mod storage;
pub mod testing;
pub mod time;
