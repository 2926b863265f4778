//! The parts of the store, and the changes to its versions.

use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use super::auth::Auth;
use super::key::Key;
use super::lease::Lease;
use super::views::Views;
use crate::planted::guard;
use crate::proto::mvccpb::KeyValue;

/// When a change happened: the revision, and its place among the changes of one
/// transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Revision {
    pub(super) main: i64,
    pub(super) sub: u32,
}

impl Revision {
    /// Not after any change.
    pub(super) const FIRST: Revision = Revision { main: i64::MIN, sub: 0 };
    /// Not before any change.
    pub(super) const LAST: Revision = Revision::end_of(i64::MAX);

    /// The last change of revision `main`.
    pub(super) const fn end_of(main: i64) -> Revision {
        Revision { main, sub: u32::MAX }
    }
}

/// A key at one revision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: Key,
    pub(super) at: Revision,
    /// `None` is a tombstone: the key was deleted.
    pub(super) body: Option<Body>,
}

/// The contents of a version that is not a tombstone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) value: Arc<[u8]>,
    pub(super) create_revision: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
}

/// The bytes a version costs besides its key and value: structs, allocations, and its
/// places in the views. For the size that the server reports.
const VERSION_BYTES: u64 = 240;

/// The same in a snapshot.
const ENCODED_VERSION_BYTES: u64 = 45;

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

    /// Adds a version, the latest of its key.
    pub(super) fn insert(&mut self, version: &Arc<Version>) {
        self.bytes += version.size_bytes();
        let before = self.views.insert(version);
        self.attach(before.as_deref(), version);
    }

    /// Forgets every version that no revision from `revision` on can see: those that a later
    /// one replaces at or before it, and tombstones before it. Every change of `revision` itself
    /// is kept, because a watch may still begin there.
    pub(super) fn compact(&mut self, revision: i64) {
        assert!(revision > self.compacted && revision <= self.revision, "checked by the caller");
        self.compacted = revision;
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
}

impl Version {
    fn size_bytes(&self) -> u64 {
        let value = self.body.as_ref().map_or(0, |body| body.value.len());
        VERSION_BYTES + (self.key.len() + value) as u64
    }

    /// The pair as the API shows it; `None` for a tombstone.
    pub(super) fn to_pair(&self, keys_only: bool) -> Option<KeyValue> {
        let body = self.body.as_ref()?;
        let value = match keys_only {
            true => Bytes::new(),
            false => share(&body.value),
        };
        Some(KeyValue {
            key: share(&self.key),
            create_revision: body.create_revision,
            mod_revision: self.at.main,
            version: body.version,
            value,
            lease: body.lease,
        })
    }
}

/// The same bytes for an answer; long ones without a copy.
fn share(bytes: &Arc<[u8]>) -> Bytes {
    const WORTH_SHARING_BYTES: usize = 1024;
    match bytes.len() {
        0..WORTH_SHARING_BYTES => Bytes::copy_from_slice(bytes),
        _ => Bytes::from_owner(bytes.clone()),
    }
}
