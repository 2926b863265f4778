//! The bugs that can be planted in the store (see [`planted`](crate::planted)). Each function
//! does nothing, or returns its first argument, unless its bug is planted.

use std::ops::Bound;

use super::error::Error;
use super::store::Store;
use super::version::Revision;
use super::views::ALL_KEYS;
use crate::planted::{Mutant, is};

/// Leaves out the compacted revision itself, which a watch may begin with.
pub(super) fn first_told(from: i64, compacted: i64) -> i64 {
    if is(Mutant::SkipCompacted) { from.max(compacted + 1) } else { from }
}

/// Lets a transaction find out on its way that an operation is to be refused.
pub(super) fn checked(outcome: Result<(), Error>) -> Result<(), Error> {
    if is(Mutant::TxnPartial) { Ok(()) } else { outcome }
}

/// Forgets some of a state that was read from a snapshot.
pub(super) fn restored(store: &mut Store) {
    if is(Mutant::SnapshotWithoutLeases) {
        store.leases.clear();
    }
    if is(Mutant::SnapshotDetaches) {
        let ids: Vec<i64> = store.leases.keys().copied().collect();
        for id in ids {
            store.leases.get_mut(&id).into_iter().for_each(|lease| lease.keys.clear());
        }
    }
    if is(Mutant::RevisionOfKeys) {
        // Deletions after the newest key are gone with their revisions.
        let (mut newest, mut after) = (Revision::FIRST, Vec::new());
        store.views.visit_current(ALL_KEYS, &mut |version| {
            newest = newest.max(version.at);
            true
        });
        store.views.visit_log((Bound::Excluded(newest), Bound::Unbounded), &mut |version| {
            after.push(version.clone());
            true
        });
        after.iter().for_each(|deletion| store.views.forget(deletion));
        store.revision = newest.main.max(store.compacted).max(1);
    }
}
