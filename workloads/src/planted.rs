//! The bugs that can be planted in short workloads (see [`seaworthy::planted`]). Each function
//! returns its argument unless its mutant is active.

use seaworthy::gossip::{Author, Boot};
use seaworthy::planted::{Mutant, is};

/// The random part of ids.
pub(crate) fn nonce(drawn: u64) -> u64 {
    if is(Mutant::IdsFromZero) { 0 } else { drawn }
}

/// The author of a counter's total.
pub(crate) fn author(author: Author) -> Author {
    match is(Mutant::ReuseReplica) {
        true => Author { boot: Boot::from_random(0), ..author },
        false => author,
    }
}

/// The snapshot of the logs of kafka.
pub(crate) fn logs_snapshot(bytes: Vec<u8>) -> Vec<u8> {
    if !is(Mutant::CommitsNotInSnapshot) {
        return bytes;
    }
    let mut state: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    state["committed"] = serde_json::json!({});
    state.to_string().into_bytes()
}
