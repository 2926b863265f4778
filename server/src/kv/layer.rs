//! Versions in memory: all that there are, or changes that a tree below does not have yet.
//!
//! Where something is gone that is still in the tree, there is `None` in its place.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use super::key::Key;
use super::version::{Revision, Version};

/// The ends of a range of keys.
pub(super) type Ends<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A version's place in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) key: Key,
    pub(super) at: Revision,
}

/// When a version was replaced, and the version; a deletion counts as replaced when it happens.
pub(super) type Replaced = (Revision, Revision);

/// The facts about a replaced version that a compaction needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) key: Key,
    pub(super) size_bytes: u64,
}

/// Versions by three orders. A clone is a snapshot, and costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) current: OrdMap<Key, Option<Arc<Version>>>,
    pub(super) history: OrdMap<Place, Option<Arc<Version>>>,
    pub(super) log: OrdMap<Revision, Option<Arc<Version>>>,
    /// Over a tree alone; see [`Replaced`].
    pub(super) replaced: OrdMap<Replaced, Option<Gone>>,
}

/// A version that was found.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Here(Arc<Version>),
    /// In the tree, under this revision: it is read when it is needed.
    There(Revision),
}

impl Found {
    /// The entry of a layer.
    pub(super) fn of(entry: &Option<Arc<Version>>) -> Option<Found> {
        entry.clone().map(Found::Here)
    }
}

/// The entries of one source, in their order; `None` hides what later sources have in its place.
pub(super) type Entries<'a, K, V = Found> = Box<dyn Iterator<Item = (K, Option<V>)> + 'a>;

/// The entries of several sources in one order: of two with the same key, the one of the earlier source
/// counts.
pub(super) struct Merged<'a, K, V = Found> {
    sources: Vec<Peekable<Entries<'a, K, V>>>,
    order: fn(&K, &K) -> Ordering,
}

impl<'a, K: Ord, V> Merged<'a, K, V> {
    /// Sources whose entries ascend.
    pub(super) fn up(sources: Vec<Entries<'a, K, V>>) -> Merged<'a, K, V> {
        let sources = sources.into_iter().map(Iterator::peekable).collect();
        Merged { sources, order: K::cmp }
    }

    /// Sources whose entries descend.
    pub(super) fn down(sources: Vec<Entries<'a, K, V>>) -> Merged<'a, K, V> {
        Merged { order: |a, b| b.cmp(a), ..Merged::up(sources) }
    }

    /// The next entry, hidden ones included.
    fn pop(&mut self) -> Option<(K, Option<V>)> {
        let mut first: Option<(usize, &K)> = None;
        let order = self.order;
        for (i, source) in self.sources.iter_mut().enumerate() {
            let Some((key, _)) = source.peek() else { continue };
            if first.is_none_or(|(_, known)| order(key, known).is_lt()) {
                first = Some((i, key));
            }
        }
        let (i, _) = first?;
        let (key, found) = self.sources[i].next()?;
        for source in &mut self.sources {
            source.next_if(|(other, _)| *other == key);
        }
        Some((key, found))
    }
}

impl<K: Ord, V> Iterator for Merged<'_, K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        loop {
            if let (key, Some(found)) = self.pop()? {
                return Some((key, found));
            }
        }
    }
}
