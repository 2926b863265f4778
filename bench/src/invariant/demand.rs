//! How an invariant is demanded.

use seaworthy::raft::{Config, RaftId};

/// The result of a check; the text says which invariant is broken.
pub(super) type Check = Result<(), String>;

/// Fails with a text unless `holds`.
pub(super) fn demand(holds: bool, why: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(why()) }
}

/// Whether the members of a configuration of which `is_in` holds are a quorum of it. Counted here once
/// more, and not by the code that is being checked.
pub(super) fn is_quorum(config: &Config, is_in: impl Fn(RaftId) -> bool) -> bool {
    [&config.voters, &config.outgoing].into_iter().all(|half| {
        let count = half.iter().filter(|id| is_in(**id)).count();
        half.is_empty() || 2 * count > half.len()
    })
}
