//! Which watches does a new revision concern?

use std::collections::{BTreeMap, BTreeSet};

use crate::kv::{KeyRange, Store};
use crate::planted::guard;

/// A watch among all of a server: its stream, and its id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatcherId {
    /// The stream.
    pub stream: u64,
    /// The id that the stream has given to it.
    pub watch: i64,
}

/// All watches, by their keys. The cost of a change grows with the watches that it concerns, and
/// with the number of different ranges that are watched.
#[derive(Debug, Default)]
pub struct Hub {
    /// Everything up to this revision has been looked at.
    revision: i64,
    by_watcher: BTreeMap<WatcherId, KeyRange>,
    singles: BTreeMap<Vec<u8>, BTreeSet<WatcherId>>,
    ranges: BTreeMap<KeyRange, BTreeSet<WatcherId>>,
}

impl Hub {
    /// Everything up to this revision has been looked at.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// From now on, changes of `keys` concern `watcher`.
    pub fn add(&mut self, watcher: WatcherId, keys: KeyRange) {
        self.remove(watcher);
        match keys.single() {
            Some(key) => self.singles.entry(key.to_vec()).or_default().insert(watcher),
            None => self.ranges.entry(keys.clone()).or_default().insert(watcher),
        };
        self.by_watcher.insert(watcher, keys);
    }

    /// Forgets a watcher.
    pub fn remove(&mut self, watcher: WatcherId) {
        let Some(keys) = self.by_watcher.remove(&watcher) else { return };
        match keys.single() {
            Some(key) => {
                if let Some(watchers) = self.singles.get_mut(key) {
                    watchers.remove(&watcher);
                    if watchers.is_empty() {
                        self.singles.remove(key);
                    }
                }
            }
            None => {
                if let Some(watchers) = self.ranges.get_mut(&keys) {
                    watchers.remove(&watcher);
                    if watchers.is_empty() {
                        self.ranges.remove(&keys);
                    }
                }
            }
        }
    }

    /// Forgets all watchers of a stream.
    pub fn remove_stream(&mut self, stream: u64) {
        let first = WatcherId { stream, watch: i64::MIN };
        let last = WatcherId { stream, watch: i64::MAX };
        let all: Vec<_> = self.by_watcher.range(first..=last).map(|(id, _)| *id).collect();
        all.into_iter().for_each(|watcher| self.remove(watcher));
    }

    /// Looks at everything that is new in the store. The answer is the watchers that it
    /// concerns, and for each the first revision that does.
    pub fn advance(&mut self, store: &Store) -> BTreeMap<WatcherId, i64> {
        let mut concerned = BTreeMap::new();
        let after = self.revision;
        self.revision = self.revision.max(store.revision());
        if self.by_watcher.is_empty() {
            return concerned;
        }
        // Guard: any event that was compacted unseen may concern any watch.
        if !guard!(after >= store.compacted(), HubPassesCompacted) {
            concerned.extend(self.by_watcher.keys().map(|watcher| (*watcher, after + 1)));
            return concerned;
        }
        store.visit_changes(after, &mut |key, revision| {
            let singles = self.singles.get(key).into_iter();
            let ranges = self.ranges.iter().filter(|(range, _)| range.has(key)).map(|(_, ids)| ids);
            for watcher in singles.chain(ranges).flatten() {
                concerned.entry(*watcher).or_insert(revision);
            }
        });
        concerned
    }
}
