//! Three ordered views of the same versions, which they share:
//!
//! * the present: the keys that exist now. Ranges of the present read only this.
//! * the history: every kept version of every key, tombstones included, by key and revision.
//!   A range of the past seeks in it, so its cost does not grow with the number of
//!   versions.
//! * the log: the same versions by revision: a compaction walks through it, and a snapshot writes it.
//!
//! All logic of the store asks the questions below and makes the two changes; where the views are
//! is known here alone.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use imbl::OrdMap;

use super::key::Key;
use super::version::{Revision, Version};

/// Looks at a version; false ends the visit.
pub(super) type Visit<'a> = dyn FnMut(&Arc<Version>) -> bool + 'a;

/// The ends of a range of keys.
pub(super) type Ends<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Every key there is.
pub(super) const ALL_KEYS: Ends<'static> = (Bound::Unbounded, Bound::Unbounded);

/// A version's place in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    key: Key,
    at: Revision,
}

/// The views, in memory. A clone is a snapshot, and costs nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Views {
    current: OrdMap<Key, Arc<Version>>,
    history: OrdMap<Place, Arc<Version>>,
    log: OrdMap<Revision, Arc<Version>>,
}

impl Views {
    /// How many keys exist now.
    pub(super) fn len(&self) -> usize {
        self.current.len()
    }

    /// How many versions are kept.
    pub(super) fn versions(&self) -> usize {
        self.log.len()
    }

    /// The version of a key now, if it exists.
    pub(super) fn current(&self, key: &[u8]) -> Option<Arc<Version>> {
        self.current.get(key).cloned()
    }

    /// Whether a key exists now.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.current.contains_key(key)
    }

    /// Visits the versions that exist now, in the order of their keys. The ends must not cross.
    pub(super) fn visit_current(&self, ends: Ends<'_>, visit: &mut Visit<'_>) {
        self.current.range::<_, [u8]>(ends).all(|(_, version)| visit(version));
    }

    /// The newest version of a key up to a revision; it may be a tombstone.
    pub(super) fn newest(&self, key: &Key, upto: Revision) -> Option<Arc<Version>> {
        let low = Place { key: key.clone(), at: Revision::FIRST };
        let high = Place { key: key.clone(), at: upto };
        self.history.range(low..=high).next_back().map(|(_, version)| version.clone())
    }

    /// The first key with a version from `from` on.
    pub(super) fn next_key(&self, from: Bound<&Key>) -> Option<Key> {
        let from = match from {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) => {
                Bound::Included(Place { key: key.clone(), at: Revision::FIRST })
            }
            Bound::Excluded(key) => Bound::Excluded(Place { key: key.clone(), at: Revision::LAST }),
        };
        let (place, _) = self.history.range((from, Bound::Unbounded)).next()?;
        Some(place.key.clone())
    }

    /// Visits the versions of a key from a revision on.
    pub(super) fn visit_history(&self, key: &Key, from: Revision, visit: &mut Visit<'_>) {
        let low = Place { key: key.clone(), at: from };
        let high = Place { key: key.clone(), at: Revision::LAST };
        self.history.range(low..=high).all(|(_, version)| visit(version));
    }

    /// Whether there is a version of this revision.
    pub(super) fn has_revision(&self, at: Revision) -> bool {
        self.log.contains_key(&at)
    }

    /// Visits the versions of these revisions, in their order.
    pub(super) fn visit_log(&self, range: impl RangeBounds<Revision>, visit: &mut Visit<'_>) {
        self.log.range(range).all(|(_, version)| visit(version));
    }

    /// Adds a version, the latest of its key. The answer is the one before it, if the key existed.
    pub(super) fn insert(&mut self, version: &Arc<Version>) -> Option<Arc<Version>> {
        let key = version.key.clone();
        let before = match version.body {
            Some(_) => self.current.insert(key.clone(), version.clone()),
            None => self.current.remove(&key),
        };
        self.history.insert(Place { key, at: version.at }, version.clone());
        let same = self.log.insert(version.at, version.clone());
        assert!(same.is_none(), "a revision is given once");
        before
    }

    /// Forgets a version that is not the present one of a key.
    pub(super) fn forget(&mut self, version: &Version) {
        self.history.remove(&Place { key: version.key.clone(), at: version.at });
        self.log.remove(&version.at);
    }
}
