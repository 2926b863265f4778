//! How we know: the simulator, the process runner and the checkers.
//!
//! A [`challenge`] is a protocol that nodes are tested by; [`main()`] is the command line over
//! some of them. [`world`] is the event loop of a test: time, network, nemesis, clients.
//! [`backend`] is where its nodes live, in-process or as real processes. [`load`] is
//! what clients ask, [`check`] judges what they saw, and [`run`], [`mod@judge`] and
//! [`explore`] put these together for the [`command`]s.

pub mod backend;
pub mod challenge;
pub mod check;
pub mod command;
pub mod config;
pub mod directory;
pub mod edn;
pub mod explore;
pub mod history;
pub mod invariant;
pub mod judge;
pub mod load;
pub mod plot;
pub mod prelude;
pub mod report;
pub mod run;
pub mod seed;
pub mod serve;
pub mod service;
pub mod store;
pub mod world;

pub use command::line::main;
