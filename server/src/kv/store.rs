//! The parts of the store, and the changes to its versions.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::auth::Auth;
use super::lease::Lease;
use super::version::{Revision, VERSION_BYTES, Version};
use super::views::Views;
use crate::planted::guard;

/// The bytes a version costs in a snapshot besides its key and value.
const ENCODED_VERSION_BYTES: u64 = 45;

/// How many replaced versions are looked at at once.
const PIECE_GONE: usize = 10_000;

/// The multi-version store. A clone is a snapshot, and costs nothing.
#[derive(Clone, Debug)]
pub struct Store {
    /// The revision of the last change; 1 is the empty store.
    pub(super) revision: i64,
    /// The revision of the last compaction; -1 before the first, as in etcd.
    pub(super) compacted: i64,
    /// The versions that are kept.
    pub(super) views: Views,
    /// The leases, by id.
    pub(super) leases: OrdMap<i64, Lease>,
    /// How many leases were ever granted.
    pub(super) grants: u64,
    /// The active alarms: member and kind.
    pub(super) alarms: OrdSet<(u64, i32)>,
    /// Users and roles.
    pub(super) auth: Arc<Auth>,
    pub(super) bytes: u64,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            revision: 1,
            compacted: -1,
            views: Views::default(),
            leases: OrdMap::new(),
            grants: 0,
            alarms: OrdSet::new(),
            auth: Arc::default(),
            bytes: 0,
        }
    }
}

impl Store {
    /// The revision of the last change.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision below which the past is gone; -1 if nothing was ever compacted.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Users, roles and their permissions.
    pub fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// How many keys exist.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether no key exists.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many versions are kept, tombstones included.
    pub fn versions(&self) -> usize {
        self.views.versions()
    }

    /// The memory that the kept versions take, estimated, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.bytes
    }

    /// About how many bytes [`Store::encode`] gives.
    pub fn encoded_bytes(&self) -> u64 {
        self.bytes - self.versions() as u64 * (VERSION_BYTES - ENCODED_VERSION_BYTES)
    }

    /// Lets a new cluster begin with this state: without alarms, and, if revisions are to be raised,
    /// without a past, so that a client that has seen a later revision of the old cluster is told
    /// that it is gone.
    pub fn begin_anew(&mut self, raise: i64) {
        assert!(raise >= 0, "revisions do not go back");
        self.alarms.clear();
        if raise == 0 {
            return;
        }
        if self.compacted < self.revision {
            self.compact(self.revision);
        }
        self.revision += raise;
        self.compacted = self.revision;
    }

    /// Adds a version, the latest of its key, after the one that exists, if there is one.
    pub(super) fn insert(&mut self, before: Option<&Version>, version: &Arc<Version>) {
        self.bytes += version.size_bytes();
        self.views.insert(before, version);
        self.attach(before, version);
    }

    /// Forgets every version that no revision from `revision` on can see: those that a later
    /// one replaces at or before it, and tombstones before it. Every change of `revision` itself
    /// is kept, because a watch may still begin there.
    pub(super) fn compact(&mut self, revision: i64) {
        assert!(revision > self.compacted && revision <= self.revision, "checked by the caller");
        self.compacted = revision;
        if self.views.base().is_some() {
            return self.compact_tree(revision);
        }
        let upto = Revision::end_of(revision);
        let mut old = Vec::new();
        self.views.visit_log(..=upto, &mut |version| {
            old.push(version.clone());
            true
        });
        for version in old {
            let newest = self.views.newest(&version.key, upto);
            let replaced = newest.is_some_and(|newest| newest.at > version.at);
            let is_deletion = version.body.is_none();
            let is_past = guard!(version.at.main < revision, CompactDeletion if is_deletion);
            if is_past && (replaced || is_deletion) {
                self.views.forget(&version);
                self.bytes -= version.size_bytes();
            }
        }
    }

    /// The same over a tree, which knows what later versions have replaced: this takes as long as
    /// there are versions to forget, and reads none.
    fn compact_tree(&mut self, revision: i64) {
        let mut from = Bound::Unbounded;
        loop {
            let upto = Bound::Included((Revision::end_of(revision), Revision::LAST));
            let piece = self.views.gone(from, upto, PIECE_GONE);
            let Some(last) = piece.last() else { return };
            from = Bound::Excluded(last.0);
            for ((when, at), gone) in piece {
                let is_deletion = when == at;
                if guard!(at.main < revision, CompactDeletion if is_deletion) {
                    self.views.forget_gone((when, at), &gone);
                    self.bytes -= gone.size_bytes;
                }
            }
        }
    }
}
