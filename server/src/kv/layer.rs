//! Versions in memory: all that there are, or changes that a tree below does not have yet.
//!
//! Where something is gone that is still in the tree, there is `None` in its place.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;

use imbl::OrdMap;

use super::key::Key;
use super::version::{Revision, Version};

/// A version's place in the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) key: Key,
    pub(super) at: Revision,
}

/// Versions by three orders. A clone is a snapshot, and costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) current: OrdMap<Key, Option<Arc<Version>>>,
    pub(super) history: OrdMap<Place, Option<Arc<Version>>>,
    pub(super) log: OrdMap<Revision, Option<Arc<Version>>>,
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
pub(super) type Entries<'a, K> = Box<dyn Iterator<Item = (K, Option<Found>)> + 'a>;

/// The entries of several sources in one order: of two with the same key, the one of the earlier source
/// counts.
pub(super) struct Merged<'a, K> {
    sources: Vec<Peekable<Entries<'a, K>>>,
    order: fn(&K, &K) -> Ordering,
}

impl<'a, K: Ord> Merged<'a, K> {
    /// Sources whose entries ascend.
    pub(super) fn up(sources: Vec<Entries<'a, K>>) -> Merged<'a, K> {
        let sources = sources.into_iter().map(Iterator::peekable).collect();
        Merged { sources, order: K::cmp }
    }

    /// Sources whose entries descend.
    pub(super) fn down(sources: Vec<Entries<'a, K>>) -> Merged<'a, K> {
        Merged { order: |a, b| b.cmp(a), ..Merged::up(sources) }
    }

    /// The next entry, hidden ones included.
    fn pop(&mut self) -> Option<(K, Option<Found>)> {
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

impl<K: Ord> Iterator for Merged<'_, K> {
    type Item = (K, Found);

    fn next(&mut self) -> Option<(K, Found)> {
        loop {
            if let (key, Some(found)) = self.pop()? {
                return Some((key, found));
            }
        }
    }
}
