//! Which watches does a new revision concern?

use std::borrow::Borrow;
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

/// All watches, by their keys. The cost of a change grows with the watches that it concerns and that
/// are awake, and with the number of different ranges that those watch.
///
/// A watch that was named in an answer of [`Hub::advance`] is asleep until [`Hub::wake`]: its stream
/// knows that it is behind, and will read the history. So a watch whose client does not read costs
/// nothing.
#[derive(Debug, Default)]
pub struct Hub {
    /// Everything up to this revision has been looked at.
    revision: i64,
    by_watcher: BTreeMap<WatcherId, KeyRange>,
    awake: Awake,
}

/// The watches that are awake, by their keys.
#[derive(Debug, Default)]
struct Awake {
    singles: BTreeMap<Vec<u8>, BTreeSet<WatcherId>>,
    ranges: BTreeMap<KeyRange, BTreeSet<WatcherId>>,
}

impl Awake {
    fn add(&mut self, watcher: WatcherId, keys: &KeyRange) {
        match keys.single() {
            Some(key) => self.singles.entry(key.to_vec()).or_default().insert(watcher),
            None => self.ranges.entry(keys.clone()).or_default().insert(watcher),
        };
    }

    fn remove(&mut self, watcher: WatcherId, keys: &KeyRange) {
        match keys.single() {
            Some(key) => take_from(&mut self.singles, key, watcher),
            None => take_from(&mut self.ranges, keys, watcher),
        }
    }

    fn of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a WatcherId> {
        let ranges = self.ranges.iter().filter(move |(range, _)| range.has(key));
        self.singles.get(key).into_iter().chain(ranges.map(|(_, ids)| ids)).flatten()
    }
}

/// Takes a watch from the set of a key, and the key with the last one.
fn take_from<K, Q>(sets: &mut BTreeMap<K, BTreeSet<WatcherId>>, key: &Q, watcher: WatcherId)
where
    K: Borrow<Q> + Ord,
    Q: Ord + ?Sized,
{
    let Some(watchers) = sets.get_mut(key) else { return };
    watchers.remove(&watcher);
    if watchers.is_empty() {
        sets.remove(key);
    }
}

impl Hub {
    /// Everything up to this revision has been looked at.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// From now on, changes of `keys` concern `watcher`.
    pub fn add(&mut self, watcher: WatcherId, keys: KeyRange) {
        self.remove(watcher);
        self.awake.add(watcher, &keys);
        self.by_watcher.insert(watcher, keys);
    }

    /// From now on, changes concern a watch again. Its stream must have taken the answer that names it
    /// before, and read the store after: changes from then to now are named nowhere else.
    pub fn wake(&mut self, watcher: WatcherId) {
        if let Some(keys) = self.by_watcher.get(&watcher) {
            self.awake.add(watcher, keys);
        }
    }

    /// Forgets a watcher.
    pub fn remove(&mut self, watcher: WatcherId) {
        if let Some(keys) = self.by_watcher.remove(&watcher) {
            self.awake.remove(watcher, &keys);
        }
    }

    /// Forgets all watchers of a stream.
    pub fn remove_stream(&mut self, stream: u64) {
        let first = WatcherId { stream, watch: i64::MIN };
        let last = WatcherId { stream, watch: i64::MAX };
        let all: Vec<_> = self.by_watcher.range(first..=last).map(|(id, _)| *id).collect();
        all.into_iter().for_each(|watcher| self.remove(watcher));
    }

    /// Looks at everything that is new in the store. The answer is the watches that it concerns, and
    /// for each the first revision that does; they sleep then.
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
            self.awake = Awake::default();
            return concerned;
        }
        store.visit_changes(after, &mut |key, revision| {
            for watcher in self.awake.of(key) {
                concerned.entry(*watcher).or_insert(revision);
            }
        });
        for watcher in concerned.keys() {
            self.awake.remove(*watcher, &self.by_watcher[watcher]);
        }
        concerned
    }
}
