//! The maps, and the changes to them.
//!
//! Three views of the same versions, which they share:
//!
//! * `current`: the keys that exist now. Ranges of the present read only this.
//! * `history`: every kept version of every key, tombstones included, by key and revision.
//!   A range of the past seeks in it, so its cost does not grow with the number of
//!   versions.
//! * `log`: the same versions by revision: a compaction walks through it, and a snapshot writes it.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use super::auth::Auth;
use super::key::Key;
use super::lease::Lease;
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

/// A version's place in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) key: Key,
    pub(super) at: Revision,
}

/// The bytes a version costs besides its key and value: structs, allocations, and its
/// places in the maps. For the size that the server reports.
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
    pub(super) current: OrdMap<Key, Arc<Version>>,
    pub(super) history: OrdMap<Place, Arc<Version>>,
    pub(super) log: OrdMap<Revision, Arc<Version>>,
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
            current: OrdMap::new(),
            history: OrdMap::new(),
            log: OrdMap::new(),
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
        self.current.len()
    }

    /// Whether no key exists.
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// How many versions are kept, tombstones included.
    pub fn versions(&self) -> usize {
        self.log.len()
    }

    /// The memory that the kept versions take, estimated, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.bytes
    }

    /// About how many bytes [`Store::encode`] gives.
    pub fn encoded_bytes(&self) -> u64 {
        self.bytes - self.log.len() as u64 * (VERSION_BYTES - ENCODED_VERSION_BYTES)
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

    /// Puts a version into all views.
    pub(super) fn insert(&mut self, version: Arc<Version>) {
        self.bytes += version.size_bytes();
        let key = version.key.clone();
        let before = match version.body {
            Some(_) => self.current.insert(key.clone(), version.clone()),
            None => self.current.remove(&key),
        };
        self.attach(before.as_deref(), &version);
        self.history.insert(Place { key, at: version.at }, version.clone());
        let before = self.log.insert(version.at, version);
        assert!(before.is_none(), "a revision is given once");
    }

    /// Forgets every version that no revision from `revision` on can see: those that a later
    /// one replaces at or before it, and tombstones before it. Every change of `revision` itself
    /// is kept, because a watch may still begin there.
    pub(super) fn compact(&mut self, revision: i64) {
        assert!(revision > self.compacted && revision <= self.revision, "checked by the caller");
        self.compacted = revision;
        let upto = Revision::end_of(revision);
        let old: Vec<Arc<Version>> = self.log.range(..=upto).map(|(_, v)| v.clone()).collect();
        for version in old {
            let place = Place { key: version.key.clone(), at: version.at };
            let later = (Bound::Excluded(&place), Bound::Unbounded);
            let next = self.history.range::<_, Place>(later).next();
            let replaced = next.is_some_and(|(n, _)| n.key == place.key && n.at <= upto);
            let is_deletion = version.body.is_none();
            let is_past = guard!(version.at.main < revision, CompactDeletion if is_deletion);
            if is_past && (replaced || is_deletion) {
                self.history.remove(&place);
                self.log.remove(&version.at);
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
