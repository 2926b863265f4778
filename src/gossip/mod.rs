//! Engine 1: replicated lattices, always available.
//!
//! Every node holds a replica of a [`Lattice`], changes it without asking anyone, and
//! tells the others the *deltas*. The engine is pure: local deltas, messages and the
//! time go in; messages, records to remember and the time of the next call come out.
//! It knows neither the wire protocol nor [`node`](crate::node).
//!
//! **In good weather the network is a hub.** All-to-all exchange takes at least
//! 2(n-1) messages a round, and a hub reaches that bound. Leaves send to the hub, the
//! hub sends batches down; how long batches wait follows from the measured round trip
//! and a latency budget ([`pace`]). Messages are numbered, each carries everything its
//! receiver is not known to have, and each echoes the highest number seen ([`wire`]).
//! So a single echo acknowledges everything before it, a lost message costs nothing but
//! the time to the next, and acknowledgements ride on data that goes anyway; alone they
//! go late and once.
//!
//! **In bad weather it is a gossip protocol.** The hub is only the lowest rank that a node believes
//! reachable. A peer that does not acknowledge is asked, then suspected, then probed with growing
//! pauses; a leaf that suspects its hub turns to the next, and takes along the deltas that the old
//! hub never acknowledged. A node owes everything it has to its hub, to those that take it for
//! their hub, to other hubs it can reach, and, if it is the hub, to all. Several hubs at once are
//! therefore harmless: they are bridged by nodes that reach both, and one gives way as soon as it
//! hears of the other.
//!
//! **A restarted node is another one** ([`version`]). Acknowledgements count for one incarnation
//! only; the new one is recognised by its boot number, tells which deltas it has (the digest: a
//! version vector), and gets the rest.
//!
//! **Silence.** A timer runs only while something is unacknowledged. When all peers
//! have everything that they are owed, no node has a timer and none sends.
//!
//! Deliberately missing: repair by nodes that are not responsible (if the hub dies for
//! good with a message lost, its leaves find out with the next delta, not before);
//! fixed overlays wait for a dead inner node to return; membership is static.

mod counter;
mod element;
mod engine;
mod lattice;
mod log;
mod overlay;
pub mod pace;
mod peer;
mod planted;
mod receive;
mod record;
mod send;
mod send_mode;
pub mod set;
mod store;
pub mod version;
pub mod wire;

#[cfg(test)]
mod tests;

pub use counter::Counter;
pub use element::Element;
pub use engine::{Engine, Options, Output};
pub use lattice::Lattice;
pub use log::{Run, Runs};
pub use overlay::Overlay;
pub use record::{Record, Snapshot};
pub use set::{Elements, GrowSet};
pub use version::{Author, Boot, Rank, Versions};
pub use wire::{Echo, Message};
