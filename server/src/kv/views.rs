//! Three ordered views of the same versions, which they share:
//!
//! * the present: the keys that exist now. Ranges of the present read only this.
//! * the history: every kept version of every key, tombstones included, by key and revision.
//!   A range of the past seeks in it, so its cost does not grow with the number of
//!   versions.
//! * the log: the same versions by revision: a compaction walks through it, and a snapshot writes it.
//!
//! All logic of the store asks the questions below and makes the two changes; where the views are
//! is known here alone. They are in memory; or most of them in a tree, and in memory only the changes that the
//! tree does not have yet. Those that are on their way to it are kept apart, so that all of them are let go
//! at once when it has them.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::base::Base;
use super::key::Key;
use super::layer::{Ends, Entries, Found, Gone, Layer, Merged, Place, Replaced};
use super::version::{Revision, VERSION_BYTES, Version};

/// Looks at a version; false ends the visit.
pub(super) type Visit<'a> = dyn FnMut(&Arc<Version>) -> bool + 'a;

/// Every key there is.
pub(super) const ALL_KEYS: Ends<'static> = (Bound::Unbounded, Bound::Unbounded);

/// The views. A clone is a snapshot, and costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Views {
    /// Everything; or the latest changes.
    fresh: Layer,
    below: Option<Below>,
}

/// About how many bytes of a layer a forgotten version takes.
const FORGOTTEN_BYTES: u64 = 300;

/// The tree, and what is to be in it.
#[derive(Clone, Debug)]
struct Below {
    /// The changes before the latest, which are on their way to the tree.
    leaving: Option<Arc<Layer>>,
    base: Arc<dyn Base>,
    /// The tree has no version of a later revision ...
    upto: i64,
    /// ... nor will it when it has the changes that are on their way to it.
    leaving_upto: i64,
    /// The memory of the latest changes, estimated.
    fresh_bytes: u64,
    keys: usize,
    versions: usize,
}

impl Views {
    /// The views that a tree holds, whose last change is of revision `upto`.
    pub(super) fn over(base: Arc<dyn Base>, upto: i64, keys: usize, versions: usize) -> Views {
        let (leaving, leaving_upto) = (None, upto);
        let below = Below { leaving, base, upto, leaving_upto, fresh_bytes: 0, keys, versions };
        Views { fresh: Layer::default(), below: Some(below) }
    }

    /// The tree below, if there is one.
    pub(super) fn base(&self) -> Option<&Arc<dyn Base>> {
        self.below.as_ref().map(|below| &below.base)
    }

    /// Hands out the changes that the tree does not have, those up to revision `upto`. Until it has them there is no
    /// next batch.
    pub(super) fn hand_over(&mut self, upto: i64) -> Option<Arc<Layer>> {
        let below = self.below.as_mut().filter(|below| below.leaving.is_none())?;
        let leaving = Arc::new(std::mem::take(&mut self.fresh));
        below.leaving = Some(leaving.clone());
        below.leaving_upto = upto;
        below.fresh_bytes = 0;
        Some(leaving)
    }

    /// Goes on from a tree that has the changes that were handed out, and no others.
    /// The answer is those changes.
    pub(super) fn set_base(&mut self, base: Arc<dyn Base>) -> Arc<Layer> {
        let below = self.below.as_mut().expect("changes were handed out");
        below.base = base;
        below.upto = below.leaving_upto;
        below.leaving.take().expect("changes were handed out")
    }

    /// About how many bytes of memory the changes take that were not handed out.
    pub(super) fn fresh_bytes(&self) -> u64 {
        self.below.as_ref().map_or(0, |below| below.fresh_bytes)
    }

    /// How many keys exist now.
    pub(super) fn len(&self) -> usize {
        self.below.as_ref().map_or(self.fresh.current.len(), |below| below.keys)
    }

    /// How many versions are kept.
    pub(super) fn versions(&self) -> usize {
        self.below.as_ref().map_or(self.fresh.log.len(), |below| below.versions)
    }

    /// The version of a key now, if it exists.
    pub(super) fn current(&self, key: &[u8]) -> Option<Arc<Version>> {
        match (self.fresh.current.get(key), &self.below) {
            (Some(version), _) => version.clone(),
            (None, None) => None,
            (None, Some(below)) => below.current(key).map(|found| below.load(found)),
        }
    }

    /// Whether a key exists now.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        match (self.fresh.current.get(key), &self.below) {
            (Some(version), _) => version.is_some(),
            (None, None) => false,
            (None, Some(below)) => below.current(key).is_some(),
        }
    }

    /// Visits the versions that exist now, in the order of their keys. The ends must not cross.
    pub(super) fn visit_current(&self, ends: Ends<'_>, visit: &mut Visit<'_>) {
        let Some(below) = &self.below else {
            let entries = self.fresh.current.range::<_, [u8]>(ends);
            entries.filter_map(|(_, version)| version.as_ref()).all(visit);
            return;
        };
        self.found(below, ends).all(|(_, found)| visit(&below.load(found)));
    }

    /// How many keys exist now between two ends, which must not cross.
    pub(super) fn count_current(&self, ends: Ends<'_>) -> usize {
        match &self.below {
            None => self.fresh.current.range::<_, [u8]>(ends).count(),
            Some(below) => self.found(below, ends).count(),
        }
    }

    fn found<'a>(&'a self, below: &'a Below, ends: Ends<'a>) -> Merged<'a, Key> {
        let base = below.base.current(ends);
        let base = base.map(|(key, at)| (key, Some(Found::There(at))));
        Merged::up(self.sources(below, base, |layer| {
            let entries = layer.current.range::<_, [u8]>(ends);
            Box::new(entries.map(|(key, version)| (key.clone(), Found::of(version))))
        }))
    }

    /// The newest version of a key up to a revision; it may be a tombstone.
    pub(super) fn newest(&self, key: &Key, upto: Revision) -> Option<Arc<Version>> {
        let low = Place { key: key.clone(), at: Revision::FIRST };
        let high = Place { key: key.clone(), at: upto };
        let Some(below) = &self.below else {
            let (_, version) = self.fresh.history.range(low..=high).next_back()?;
            return version.clone();
        };
        let base = below.base.places(Bound::Included(low.clone()), Bound::Included(high.clone()));
        let base = base.rev().map(|place| (place.at, Some(Found::There(place.at))));
        let mut found = Merged::down(self.sources(below, base, |layer| {
            let entries = layer.history.range(low.clone()..=high.clone()).rev();
            Box::new(entries.map(|(place, version)| (place.at, Found::of(version))))
        }));
        found.next().map(|(_, found)| below.load(found))
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
        let Some(below) = &self.below else {
            let (place, _) = self.fresh.history.range((from, Bound::Unbounded)).next()?;
            return Some(place.key.clone());
        };
        let base = below.base.places(from.clone(), Bound::Unbounded).map(|place| {
            let at = place.at;
            (place, Some(Found::There(at)))
        });
        let mut found = Merged::up(self.sources(below, base, |layer| {
            let entries = layer.history.range((from.clone(), Bound::Unbounded));
            Box::new(entries.map(|(place, version)| (place.clone(), Found::of(version))))
        }));
        found.next().map(|(place, _)| place.key)
    }

    /// Visits the versions of a key from a revision on.
    pub(super) fn visit_history(&self, key: &Key, from: Revision, visit: &mut Visit<'_>) {
        let low = Place { key: key.clone(), at: from };
        let high = Place { key: key.clone(), at: Revision::LAST };
        let Some(below) = &self.below else {
            let entries = self.fresh.history.range(low..=high);
            entries.filter_map(|(_, version)| version.as_ref()).all(visit);
            return;
        };
        // A watch that has seen everything in the tree does not seek there.
        let base = (from.main <= below.upto).then(|| {
            below.base.places(Bound::Included(low.clone()), Bound::Included(high.clone()))
        });
        let base = base.into_iter().flatten();
        let base = base.map(|place| (place.at, Some(Found::There(place.at))));
        let mut found = Merged::up(self.sources(below, base, |layer| {
            let entries = layer.history.range(low.clone()..=high.clone());
            Box::new(entries.map(|(place, version)| (place.at, Found::of(version))))
        }));
        found.all(|(_, found)| visit(&below.load(found)));
    }

    /// Visits the versions of these revisions, in their order.
    pub(super) fn visit_log(
        &self,
        range: impl RangeBounds<Revision> + Clone,
        visit: &mut Visit<'_>,
    ) {
        let Some(below) = &self.below else {
            let entries = self.fresh.log.range(range);
            entries.filter_map(|(_, version)| version.as_ref()).all(visit);
            return;
        };
        let base = below.base.versions(range.start_bound(), range.end_bound(), below.upto);
        let base = base.map(|version| (version.at, Some(Found::Here(version))));
        let mut found = Merged::up(self.sources(below, base, |layer| {
            let entries = layer.log.range(range.clone());
            Box::new(entries.map(|(at, version)| (*at, Found::of(version))))
        }));
        found.all(|(_, found)| visit(&below.load(found)));
    }

    /// The layers and the tree, the latest first.
    fn sources<'a, K, V>(
        &'a self,
        below: &'a Below,
        base: impl Iterator<Item = (K, Option<V>)> + 'a,
        entries: impl Fn(&'a Layer) -> Entries<'a, K, V>,
    ) -> Vec<Entries<'a, K, V>> {
        let layers = std::iter::once(&self.fresh).chain(below.leaving.as_deref());
        let mut sources: Vec<Entries<'a, K, V>> = layers.map(entries).collect();
        sources.push(Box::new(base));
        sources
    }

    /// The first `most` replaced versions between two places; none where there is no tree.
    pub(super) fn gone(
        &self,
        from: Bound<Replaced>,
        to: Bound<Replaced>,
        most: usize,
    ) -> Vec<(Replaced, Gone)> {
        let Some(below) = &self.below else { return Vec::new() };
        let base = below.base.replaced(from, to).map(|(place, gone)| (place, Some(gone)));
        let found = Merged::up(self.sources(below, base, |layer| {
            let entries = layer.replaced.range((from, to));
            Box::new(entries.map(|(place, gone)| (*place, gone.clone())))
        }));
        found.take(most).collect()
    }

    /// Adds a version, the latest of its key, after the one that exists, if there is one.
    pub(super) fn insert(&mut self, before: Option<&Version>, version: &Arc<Version>) {
        let key = version.key.clone();
        match (&mut self.below, &version.body) {
            (Some(_), _) => self.replace(before, version),
            (None, Some(_)) => drop(self.fresh.current.insert(key.clone(), Some(version.clone()))),
            (None, None) => drop(self.fresh.current.remove(&key)),
        }
        self.fresh.history.insert(Place { key, at: version.at }, Some(version.clone()));
        let same = self.fresh.log.insert(version.at, Some(version.clone()));
        assert!(same.is_none(), "a revision is given once");
    }

    /// The same over a tree, for the present and what is replaced.
    fn replace(&mut self, before: Option<&Version>, version: &Arc<Version>) {
        let Some(below) = &mut self.below else { return };
        below.versions += 1;
        below.keys -= usize::from(before.is_some());
        below.keys += usize::from(version.body.is_some());
        below.fresh_bytes += version.size_bytes();
        let now = version.body.is_some().then(|| version.clone());
        self.fresh.current.insert(version.key.clone(), now);
        let deletion = Some(&**version).filter(|version| version.body.is_none());
        for gone in before.into_iter().chain(deletion) {
            let place = (version.at, gone.at);
            let gone = Gone { key: version.key.clone(), size_bytes: gone.size_bytes() };
            below.fresh_bytes += VERSION_BYTES / 2;
            self.fresh.replaced.insert(place, Some(gone));
        }
    }

    /// Forgets a version that is not the present one of a key.
    pub(super) fn forget(&mut self, version: &Version) {
        self.forget_at(Place { key: version.key.clone(), at: version.at });
    }

    /// Forgets a replaced version.
    pub(super) fn forget_gone(&mut self, place: Replaced, gone: &Gone) {
        self.fresh.replaced.insert(place, None);
        self.forget_at(Place { key: gone.key.clone(), at: place.1 });
    }

    fn forget_at(&mut self, place: Place) {
        match &mut self.below {
            None => {
                self.fresh.log.remove(&place.at);
                self.fresh.history.remove(&place);
            }
            Some(below) => {
                below.versions -= 1;
                below.fresh_bytes += FORGOTTEN_BYTES;
                self.fresh.log.insert(place.at, None);
                self.fresh.history.insert(place, None);
            }
        }
    }
}

impl Below {
    /// A key that exists, where the latest changes do not know it.
    fn current(&self, key: &[u8]) -> Option<Found> {
        match self.leaving.as_ref().and_then(|layer| layer.current.get(key)) {
            Some(version) => Found::of(version),
            None => self.base.current_at(key).map(Found::There),
        }
    }

    fn load(&self, found: Found) -> Arc<Version> {
        match found {
            Found::Here(version) => version,
            Found::There(at) => {
                self.base.version(at).expect("a tree has every version that its index names")
            }
        }
    }
}

#[cfg(test)]
impl PartialEq for Views {
    fn eq(&self, other: &Views) -> bool {
        let all = |views: &Views| {
            let (mut current, mut log) = (Vec::new(), Vec::new());
            views.visit_current(ALL_KEYS, &mut |version| {
                current.push(version.clone());
                true
            });
            views.visit_log(.., &mut |version| {
                log.push(version.clone());
                true
            });
            assert_eq!((views.len(), views.versions()), (current.len(), log.len()));
            (current, log)
        };
        all(self) == all(other)
    }
}
