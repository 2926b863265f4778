//! A store over a tree is the store in memory: the same commands have the same answers, whenever
//! the tree gets the changes, and whatever a crash leaves of them.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::base::{Base, Batch, NUMBERS, Part};
use super::{Command, KeyRange, PlainTree, Store, Wanted};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;

fn write(tree: &mut PlainTree, batch: &Batch) {
    batch.visit(&mut |part, key, value| tree.change(part, key, value));
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Command),
    /// A batch is handed out.
    HandOver,
    /// The batch is in the tree.
    Written,
    /// The store hears of it.
    Arrived,
    /// Only the tree is left.
    Crash,
}

/// A store over a tree, and the commands that it is to have carried out.
struct Pair {
    memory: Store,
    over: Store,
    tree: PlainTree,
    /// How many commands the tree has.
    in_tree: usize,
    /// The batch that was handed out, with the number of commands in it, and whether it is written.
    batch: Option<(Batch, usize, bool)>,
    commands: Vec<Command>,
}

impl Pair {
    fn new() -> Pair {
        let tree = PlainTree::default();
        let over = Store::over(Arc::new(tree.clone())).unwrap();
        let (memory, commands) = (Store::default(), Vec::new());
        Pair { memory, over, tree, in_tree: 0, batch: None, commands }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Apply(command) => {
                assert_eq!(self.memory.apply(command), self.over.apply(command), "{command:?}");
                self.commands.push(command.clone());
            }
            Step::HandOver => {
                let batch = self.over.hand_over();
                assert_eq!(batch.is_none(), self.batch.is_some(), "one batch at a time");
                let len = self.commands.len();
                self.batch = batch.map(|batch| (batch, len, false)).or(self.batch.take());
            }
            Step::Written => {
                if let Some((batch, len, written @ false)) = &mut self.batch {
                    write(&mut self.tree, batch);
                    (self.in_tree, *written) = (*len, true);
                }
            }
            Step::Arrived => {
                if self.batch.take_if(|(_, _, written)| *written).is_some() {
                    self.over.set_base(Arc::new(self.tree.clone()));
                }
            }
            Step::Crash => {
                self.batch = None;
                self.over = Store::over(Arc::new(self.tree.clone())).unwrap();
                for command in &self.commands[self.in_tree..] {
                    let _ = self.over.apply(command);
                }
            }
        }
    }

    /// Asks both everything.
    fn compare(&self) {
        let (memory, over) = (&self.memory, &self.over);
        let bytes = |store: &Store| {
            let mut bytes = Vec::new();
            store.encode(&mut bytes);
            bytes
        };
        assert_eq!(bytes(memory), bytes(over));
        let again = read_over(&bytes(memory));
        assert!(again.views == memory.views && again.leases().eq(memory.leases()));
        assert!(memory.views == over.views);
        assert!(memory.leases().eq(over.leases()), "leases and their keys");
        assert_eq!(memory.size_bytes(), over.size_bytes());
        for revision in 0..=memory.revision() {
            assert_eq!(memory.hash(revision), over.hash(revision));
            for request in ranges(revision) {
                assert_eq!(memory.range(&request), over.range(&request), "{request:?}");
            }
            let wanted = Wanted { prev_kv: true, ..Wanted::default() };
            for (key, end) in [("a", ""), ("a", "b"), ("", "\0")] {
                let keys = KeyRange::of(&key.into(), &end.into()).unwrap();
                let changes = |store: &Store| store.changes(&keys, revision, wanted);
                assert_eq!(changes(memory), changes(over), "{keys:?} from {revision}");
            }
        }
    }
}

/// A tree that is filled with the bytes of a store.
fn read_over(mut bytes: &[u8]) -> Store {
    let mut tree = PlainTree::default();
    let base: Arc<dyn Base> = Arc::new(tree.clone());
    let read = Store::read_over(base, &mut bytes, &mut |batch| {
        write(&mut tree, &batch);
        Ok(Arc::new(tree.clone()))
    });
    read.unwrap().unwrap()
}

fn ranges(revision: i64) -> impl Iterator<Item = pb::RangeRequest> {
    let ends = [("a", ""), ("a", "b"), ("\0", "\0"), ("a\0", "\0"), ("b", "a")];
    ends.into_iter().flat_map(move |(key, end)| {
        [(0, false), (1, false), (2, false), (0, true)].map(|(limit, count_only)| {
            let (key, range_end) = (key.into(), end.into());
            pb::RangeRequest { key, range_end, revision, limit, count_only, ..Default::default() }
        })
    })
}

fn key() -> impl Strategy<Value = Bytes> {
    let keys: [&[u8]; 6] = [b"a", b"a\0", b"a\0\x01", b"a\x01", b"\xff", b"\0"];
    prop::sample::select(keys.map(Bytes::from_static).to_vec())
}

fn put(key: Bytes, value: Vec<u8>, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key, value: value.into(), lease, prev_kv: true, ..Default::default() }
}

fn delete(key: Bytes, range_end: Bytes) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key, range_end, prev_kv: true }
}

/// A transaction that changes and reads; `keeps` has it fail in its middle, if the first key exists.
fn txn(changed: Bytes, kept: Bytes, keeps: bool) -> Command {
    let op = |request| pb::RequestOp { request: Some(request) };
    let all = pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    // A deletion that no check takes for one of its key: see the tests of transactions.
    let gone = delete(kept.clone(), "\0".into());
    let keep = pb::PutRequest { ignore_value: keeps, ..put(kept.clone(), Vec::new(), 0) };
    let mut success = vec![op(Request::RequestDeleteRange(gone)), op(Request::RequestRange(all))];
    success.push(op(Request::RequestPut(keep)));
    if changed != kept {
        success.insert(0, op(Request::RequestPut(put(changed, b"txn".to_vec(), 0))));
    }
    Command::Txn(pb::TxnRequest { success, ..Default::default() })
}

fn step() -> impl Strategy<Value = Step> {
    let lease = || prop::sample::select(vec![0, 0, 7, 8]);
    let command = prop_oneof![
        6 => (key(), prop::collection::vec(any::<u8>(), 0..3), lease())
            .prop_map(|(key, value, lease)| Command::Put(put(key, value, lease))),
        2 => (key(), prop::sample::select(vec!["", "b", "\0"]))
            .prop_map(|(key, end)| Command::DeleteRange(delete(key, end.into()))),
        2 => (key(), key(), any::<bool>()).prop_map(|(a, b, keeps)| txn(a, b, keeps)),
        2 => lease().prop_map(|id| Command::LeaseGrant(pb::LeaseGrantRequest { id, ttl: 5 })),
        1 => lease().prop_map(|id| Command::LeaseRevoke(pb::LeaseRevokeRequest { id })),
        2 => (0_i64..20).prop_map(|revision| {
            Command::Compact(pb::CompactionRequest { revision, physical: false })
        }),
    ];
    prop_oneof![
        8 => command.prop_map(Step::Apply),
        2 => Just(Step::HandOver),
        2 => Just(Step::Written),
        2 => Just(Step::Arrived),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #[test]
    fn a_store_over_a_tree_answers_as_the_one_in_memory(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut pair = Pair::new();
        for step in &steps {
            let (before, store) = (pair.over.views.versions(), pair.over.clone());
            pair.step(step);
            prop_assert_eq!(store.views.versions(), before, "a clone stays as it was");
            pair.compare();
        }
    }
}

#[test]
fn a_tree_of_another_version_is_refused() {
    let mut store = Store::over(Arc::new(PlainTree::default())).unwrap();
    let mut tree = PlainTree::default();
    write(&mut tree, &store.hand_over().unwrap());
    assert!(Store::over(Arc::new(tree.clone())).is_some());
    let numbers = tree.get(Part::Rest, NUMBERS).unwrap();
    tree.change(Part::Rest, NUMBERS.to_vec(), Some([&[numbers[0] + 1], &numbers[1..]].concat()));
    assert!(Store::over(Arc::new(tree)).is_none());
}
