//! Questions to the leader about leases, and its answers.

use serde::{Deserialize, Serialize};

/// A question to the leader about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// To keep it alive.
    KeepAlive,
    /// How long it still has.
    Left,
}

/// A question on its way to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The asker's number for it.
    pub(super) number: u64,
    pub(super) lease: i64,
    pub(super) question: Question,
}

/// The leader's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) number: u64,
    /// How long the lease has; `None` if there is none of this id.
    pub(super) left_ms: Option<u64>,
}
