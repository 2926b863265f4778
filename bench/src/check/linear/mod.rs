//! Linearizability: did every operation seem to happen at one instant?
//!
//! An object is linearizable if its operations can be put in an order that its
//! sequential specification (the [`model`]) allows and in which each takes effect
//! between its invocation and its return (Herlihy and Wing 1990). Objects are
//! judged one by one, since linearizability is local: a history of many keys is
//! linearizable exactly if it is for every key.
//!
//! * [`timeline`]: operations as calls of small classes, in order.
//! * [`model`]: the behaviour of an object: registers, locks, lists, sets, queues.
//! * [`search`]: the decision, a [`finding`]. Exact, or it gives up. Two searches take turns, one in
//!   breadth (`pass`) and one that follows the best way and learns from failures (`best`, `graph`, `blame`);
//!   both are made of the same steps (`step`, `relevant`) at the same places (`frontier`).
//! * `report`, `story`: the result map for programs and the story for people.
//! * [`referee`]: another search, which the first one is tested with, on timelines of [`generate`].
//!
//! Deliberately missing: the special algorithm for unique values, since Jepsen's
//! registers repeat theirs.

mod best;
mod bits;
mod blame;
#[cfg(test)]
mod brute;
mod classes;
mod config;
pub mod finding;
mod frontier;
pub mod generate;
mod graph;
mod judge;
mod keyed;
pub mod model;
mod object;
mod pass;
pub mod referee;
mod relevant;
mod report;
pub mod search;
mod states;
mod step;
mod story;
#[cfg(test)]
mod tests;
pub mod timeline;
mod values;

pub use judge::check;
pub use keyed::check_lin_kv;
