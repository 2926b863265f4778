//! The messages between two engines: one kind for everything.
//!
//! ```json
//! {"b":77,"n":4,"e":[91,2,35],"h":0,"w":337,"d":{"3.1f":[6,[[[10,12]],[[17]]]]}}
//! ```
//!
//! *I am incarnation 77; this is my fourth message to you; in your incarnation 91 the latest I
//! have seen from you is number 2, 35 ms ago; my hub is n0; the next round follows
//! in 337 ms; here are deltas 7 and 8 of author 3.1f.*
//!
//! A message carries everything that its receiver is not known to have, so the
//! echo of its number acknowledges all of it at once, whatever was lost before. An
//! echo costs a few bytes and rides on every message.

use serde::{Deserialize, Serialize};

use super::log::Runs;
use super::version::{Boot, Rank, Versions};

/// A message of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<L> {
    /// The sender's incarnation.
    #[serde(rename = "b")]
    pub boot: Boot,
    /// How many messages the sender has sent to this receiver, this one included.
    #[serde(rename = "n")]
    pub number: u64,
    /// The latest that the sender has seen from the receiver.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<Echo>,
    /// Whom the sender takes for the hub.
    #[serde(rename = "h")]
    pub hub: Rank,
    /// The sender's period, in milliseconds, if it may act as a hub.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
    /// Deltas, by author.
    #[serde(rename = "d", default = "Runs::new", skip_serializing_if = "Runs::is_empty")]
    pub deltas: Runs<L>,
    /// The sender's whole state; `versions` tells which deltas it contains.
    #[serde(rename = "s", default = "none", skip_serializing_if = "Option::is_none")]
    pub state: Option<L>,
    /// Digest: everything that the sender knows.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    /// Answer at once, with a digest and with the deltas that the sender of this lacks.
    #[serde(rename = "q", default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
}

/// Without the bound on `L` that deriving a default would add.
fn none<L>() -> Option<L> {
    None
}

/// Incarnation, number and age in milliseconds of the latest message seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo(pub Boot, pub u64, pub u64);

impl<L> Message<L> {
    /// Whether it brings something that its sender keeps offering until it is echoed.
    pub fn carries(&self) -> bool {
        !self.deltas.is_empty() || self.state.is_some()
    }
}
