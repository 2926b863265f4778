//! How many messages the test took. It informs, and never fails a test.

use super::{Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType};

/// Messages of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Messages sent.
    pub send: u64,
    /// Messages delivered.
    pub recv: u64,
    /// Distinct messages, sent or delivered.
    pub msg: u64,
}

/// The counts of the network during a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// All messages.
    pub all: MessageCounts,
    /// Those from or to a client.
    pub clients: MessageCounts,
    /// Those among nodes, and between nodes and services.
    pub servers: MessageCounts,
}

/// Relates messages to the operations that clients invoked.
///
/// Without counts, as for a history that was only recorded, there is nothing to report.
pub fn check(history: &[Op], stats: Option<&NetStats>) -> Outcome {
    let Some(stats) = stats else { return Outcome::new(Verdict::Valid, []) };
    let invoked = |op: &&Op| op.is_client() && op.kind == OpType::Invoke;
    let operations = history.iter().filter(invoked).count();
    let with_ratio = |counts| {
        let mut map = entries(counts);
        map.push((Edn::keyword("msgs-per-op"), per_operation(counts.msg, operations)));
        Edn::Map(map)
    };
    let details = [
        ("all", with_ratio(&stats.all)),
        ("clients", Edn::Map(entries(&stats.clients))),
        ("servers", with_ratio(&stats.servers)),
    ];
    Outcome::new(Verdict::Valid, details)
}

fn entries(counts: &MessageCounts) -> Vec<(Edn, Edn)> {
    let names =
        [("send-count", counts.send), ("recv-count", counts.recv), ("msg-count", counts.msg)];
    // No run sends 2^63 messages.
    let int = |n| Edn::Int(i64::try_from(n).unwrap_or(i64::MAX));
    names.into_iter().map(|(name, n)| (Edn::keyword(name), int(n))).collect()
}

fn per_operation(messages: u64, operations: usize) -> Edn {
    match operations {
        0 => Edn::Nil,
        _ => Edn::float32((messages as f64 / operations as f64) as f32),
    }
}
