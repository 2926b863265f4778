//! The two shells: each makes a part of a node of one engine.
//!
//! A shell owns its engine, takes the node's events and leaves effects. It holds the promises
//! that an engine cannot: nothing leaves before it is durable, and a client is answered once.
//!
//! | shell | engine | a workload owns | and gives it |
//! | --- | --- | --- | --- |
//! | [`raft`] | [`crate::raft`] | [`raft::Replica`] | a [`raft::StateMachine`] |
//! | [`gossip`] | [`crate::gossip`] | [`gossip::Replicated`] | a [`crate::gossip::Lattice`] |

pub mod gossip;
pub mod raft;
