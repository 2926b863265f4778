//! The pieces of the history: how many there are, and how much of a tree is read for each.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use prost::Message;

use super::base::{Base, Entries, Part};
use super::{Changes, Command, KeyRange, PlainTree, Store, Wanted};
use crate::proto::etcdserverpb as pb;

/// A tree that counts what is asked of it.
#[derive(Debug, Default)]
struct Counting {
    tree: PlainTree,
    seeks: AtomicUsize,
    /// How many entries are in the ranges in which it was sought: tables that have any of them are read from.
    entries: AtomicUsize,
}

impl Base for Counting {
    fn number(&self) -> u64 {
        self.tree.number()
    }

    fn get(&self, part: Part, key: &[u8]) -> Option<Bytes> {
        self.tree.get(part, key)
    }

    fn range(&self, part: Part, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Entries<'_> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(self.tree.range(part, from, to).count(), Ordering::Relaxed);
        self.tree.range(part, from, to)
    }
}

impl Counting {
    /// Seeks and entries since the last call.
    fn take(&self) -> (usize, usize) {
        (self.seeks.swap(0, Ordering::Relaxed), self.entries.swap(0, Ordering::Relaxed))
    }
}

const PUTS: i64 = 5000;

/// So many puts of a hundred keys.
fn filled(mut store: Store, value_bytes: usize) -> Store {
    for n in 0..PUTS {
        let (key, value) = (format!("k{:02}", n % 100).into(), vec![b'v'; value_bytes].into());
        let put = pb::PutRequest { key, value, ..Default::default() };
        store.apply(&Command::Put(put)).unwrap();
    }
    store
}

/// The same store over a tree that has all of it.
fn in_tree(store: &Store) -> (Store, Arc<Counting>) {
    let mut bytes = Vec::new();
    store.encode(&mut bytes);
    let mut tree = PlainTree::default();
    let read = Store::read_over(Arc::new(tree.clone()), &mut &bytes[..], &mut |batch| {
        batch.visit(&mut |part, key, value| tree.change(part, key, value));
        Ok(Arc::new(tree.clone()))
    });
    drop(read.unwrap().unwrap());
    let counting = Arc::new(Counting { tree, ..Counting::default() });
    (Store::over(counting.clone()).unwrap(), counting)
}

fn keys(key: &'static str, end: &'static str) -> KeyRange {
    KeyRange::of(&key.into(), &end.into()).unwrap()
}

/// All pieces from the first revision on.
fn pieces(store: &Store, keys: &KeyRange) -> Vec<Changes> {
    let (mut from, mut pieces) = (0, Vec::new());
    while from <= store.revision() {
        let piece = store.changes(keys, from, Wanted::default()).unwrap();
        from = piece.upto + 1;
        pieces.push(piece);
    }
    pieces
}

#[test]
fn a_piece_is_as_many_events_as_a_message_of_some_size_has() {
    for (value_bytes, events_a_piece) in [(1, 100), (10, 80), (1000, 4), (5000, 1)] {
        let store = filled(Store::default(), value_bytes);
        let pieces = pieces(&store, &keys("k", "l"));
        let most = PUTS as usize / events_a_piece;
        assert!(pieces.len() <= most, "{} pieces of values of {value_bytes} bytes", pieces.len());
        for piece in &pieces {
            let bytes: usize = piece.events.iter().map(Message::encoded_len).sum();
            assert!(bytes < (4 << 10) + value_bytes + 100, "{bytes} bytes in a piece");
        }
        let events = pieces.iter().flat_map(|piece| &piece.events);
        assert!(events.map(|event| event.kv.as_ref().unwrap().mod_revision).eq(2..=PUTS + 1));
    }
}

#[test]
fn a_piece_reads_little_of_a_tree_and_one_of_what_is_new_reads_nothing() {
    let memory = filled(Store::default(), 10);
    let (over, tree) = in_tree(&memory);
    tree.take();
    let all = pieces(&over, &keys("k", "l"));
    let (seeks, entries) = tree.take();
    assert!(seeks <= all.len(), "{seeks} seeks for {} pieces", all.len());
    assert!(entries <= all.len() * 200, "{entries} entries, of {PUTS}");
    assert_eq!(all, pieces(&memory, &keys("k", "l")));
    // Events that are far from each other: the steps grow.
    for (key, end) in [("k07", "k08"), ("k99", "l"), ("l", "m")] {
        let found = pieces(&over, &keys(key, end));
        let (seeks, _) = tree.take();
        assert!(seeks <= 3 * found.len(), "{seeks} seeks for {} pieces", found.len());
        assert_eq!(found, pieces(&memory, &keys(key, end)));
    }
    for keys in [keys("k", "l"), keys("k07", "")] {
        let fresh = over.changes(&keys, over.revision() + 1, Wanted::default()).unwrap();
        assert_eq!(fresh.events, []);
    }
    over.visit_changes(over.revision(), &mut |_, _| panic!("there is nothing new"));
    assert_eq!(tree.take(), (0, 0));
}
