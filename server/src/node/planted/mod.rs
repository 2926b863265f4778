//! The bugs that can be planted in the node (see [`planted`](crate::planted)). Each function
//! does nothing, or returns its first argument or `false`, unless its bug is planted.

mod node;

use std::collections::BTreeMap;

use seaworthy::raft::Index;

use super::roles::Roles;
use crate::planted::{Mutant, is};

/// Forgets which writes were carried out before a restart.
pub(super) fn restarted<T>(sessions: T, none: T) -> T {
    if is(Mutant::ForgetSessions) { none } else { sessions }
}

/// Leaves out of a snapshot who was removed.
pub(super) fn written(mut roles: Roles) -> Roles {
    if is(Mutant::SnapshotWithoutRemoved) {
        roles.removed.clear();
    }
    roles
}

/// The state of the entries up to `index`; or one of fewer, which the index is ahead of.
pub(super) fn state_up_to<T>(states: &BTreeMap<Index, T>, index: Index) -> Option<&T> {
    match is(Mutant::SnapshotAhead) {
        true => states.range(..=index).next_back().map(|(_, state)| state),
        false => states.get(&index),
    }
}

/// The last entry that a batch for the tree claims to have.
pub(super) fn claimed(index: Index) -> Index {
    if is(Mutant::BatchAhead) { index.next() } else { index }
}

/// Whether a write that was carried out is carried out again.
pub(super) fn applies_repeated() -> bool {
    is(Mutant::ApplyRepeated)
}

/// Whether a leader answers signs of life before a quorum has confirmed it.
pub(super) fn renews_unconfirmed() -> bool {
    is(Mutant::RenewUnconfirmed)
}
