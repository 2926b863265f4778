//! Laws of the store. Its answers are the oracle's business (`tests/oracle.rs`); here are the laws
//! that no answer shows.

use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;

use super::version::Revision;
use super::{Command, Error, Response, Store};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;

fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    pb::PutRequest { key, value, ..Default::default() }
}

fn delete(key: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: Bytes::from(key.to_owned()), ..Default::default() }
}

fn all(revision: i64) -> pb::RangeRequest {
    let end = Bytes::from_static(b"\0");
    pb::RangeRequest { key: end.clone(), range_end: end, revision, ..Default::default() }
}

fn lease() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![-1, 7, 8])
}

fn command() -> impl Strategy<Value = Command> {
    let key = || prop::sample::select(vec!["a", "b", "c", "d"]);
    prop_oneof![
        6 => (key(), "[a-z]{0,3}").prop_map(|(k, v)| Command::Put(put(k, &v))),
        3 => (key(), lease()).prop_map(|(k, lease)| {
            Command::Put(pb::PutRequest { lease, ..put(k, "leased") })
        }),
        2 => lease().prop_map(|id| Command::LeaseGrant(pb::LeaseGrantRequest { id, ttl: 5 })),
        1 => lease().prop_map(|id| Command::LeaseRevoke(pb::LeaseRevokeRequest { id })),
        3 => key().prop_map(|k| Command::DeleteRange(delete(k))),
        1 => (0_i64..40).prop_map(|revision| {
            Command::Compact(pb::CompactionRequest { revision, physical: false })
        }),
    ]
}

/// How many versions there are by their keys.
fn history_len(store: &Store) -> usize {
    let (mut len, mut next) = (0, store.views.next_key(Bound::Unbounded));
    while let Some(key) = next {
        store.views.visit_history(&key, Revision::FIRST, &mut |_| {
            len += 1;
            true
        });
        next = store.views.next_key(Bound::Excluded(&key));
    }
    len
}

proptest! {
    #[test]
    fn the_past_reads_as_it_was_until_it_is_compacted(
        commands in prop::collection::vec(command(), 0..40),
    ) {
        let mut store = Store::default();
        // The past as it was seen when it was the present.
        let mut seen = vec![(1, store.range(&all(0)).unwrap().kvs)];
        for command in &commands {
            let clone = store.clone();
            if store.apply(command).is_err() {
                prop_assert_eq!(clone.revision(), store.revision());
            }
            if store.revision() > clone.revision() {
                seen.push((store.revision(), store.range(&all(0)).unwrap().kvs));
            }
        }
        for (revision, kvs) in seen {
            match store.range(&all(revision)) {
                Ok(answer) => prop_assert_eq!(answer.kvs, kvs),
                Err(error) => {
                    prop_assert_eq!(error, Error::Compacted);
                    prop_assert!(revision < store.compacted());
                }
            }
        }
    }

    #[test]
    fn bytes_and_back_is_the_same_store(
        commands in prop::collection::vec(command(), 0..40),
    ) {
        let mut store = Store::default();
        for command in &commands {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            let _ = store.apply(&Command::decode(&bytes).unwrap());
        }
        let mut bytes = Vec::new();
        store.encode(&mut bytes);
        let again = Store::decode(&bytes).unwrap();
        prop_assert!(again.views == store.views);
        prop_assert_eq!(&again.leases, &store.leases);
        prop_assert_eq!(again.grants, store.grants);
        prop_assert_eq!(again.size_bytes(), store.size_bytes());
        prop_assert_eq!((again.revision, again.compacted), (store.revision, store.compacted));
        // Nothing shorter is taken for a store.
        prop_assert!(Store::decode(&bytes[..bytes.len() - 1]).is_none());
    }

    #[test]
    fn a_key_is_attached_to_the_lease_that_it_names(
        commands in prop::collection::vec(command(), 0..40),
    ) {
        let mut store = Store::default();
        for command in &commands {
            let before = store.clone();
            let outcome = store.apply(command);
            if let (Command::LeaseRevoke(revoke), Ok(_)) = (command, outcome) {
                let keys: Vec<_> = before.lease(revoke.id).unwrap().keys().collect();
                prop_assert!(keys.iter().all(|key| !store.views.has(key)));
                let one = i64::from(!keys.is_empty());
                prop_assert_eq!(store.revision(), before.revision() + one);
            }
            let pairs = store.range(&all(0)).unwrap().kvs;
            for (id, lease) in store.leases() {
                let named = pairs.iter().filter(|pair| pair.lease == id).map(|pair| &pair.key[..]);
                prop_assert!(lease.keys().eq(named));
            }
            prop_assert!(pairs.iter().all(|p| p.lease == 0 || store.lease(p.lease).is_some()));
        }
    }

    #[test]
    fn everything_compacted_is_given_back(
        commands in prop::collection::vec(command(), 0..40),
    ) {
        let mut store = Store::default();
        commands.iter().for_each(|command| drop(store.apply(command)));
        // The last change stays, even if it is a deletion: a watch may begin there.
        store.apply(&Command::Put(put("last", ""))).unwrap();
        let revision = store.revision();
        store.apply(&Command::Compact(pb::CompactionRequest { revision, physical: false })).unwrap();
        // Only the present version of each key is kept, once.
        prop_assert_eq!(store.versions(), store.len());
        prop_assert_eq!(history_len(&store), store.len());
        let mut one = Store::default();
        one.apply(&Command::Put(put("last", ""))).unwrap();
        prop_assert_eq!(store.size_bytes() == one.size_bytes(), store.len() == 1);
    }
}

#[test]
fn a_transaction_that_fails_late_changes_nothing() {
    let mut store = Store::default();
    store.apply(&Command::Put(put("a", "1"))).unwrap();
    // A deletion without an end is not seen as a change of the key (as in etcd), so only
    // when it is done the put finds that there is nothing to keep. etcd 3.4 panics here.
    let gone = pb::DeleteRangeRequest { range_end: Bytes::from_static(b"\0"), ..delete("a") };
    let keep = pb::PutRequest { ignore_value: true, ..put("a", "") };
    let op = |request| pb::RequestOp { request: Some(request) };
    let txn = pb::TxnRequest {
        success: vec![
            op(Request::RequestPut(put("b", "2"))),
            op(Request::RequestDeleteRange(gone)),
            op(Request::RequestPut(keep)),
        ],
        ..Default::default()
    };
    super::check_txn(&txn, 128).unwrap();
    let before = store.clone();
    assert_eq!(store.apply(&Command::Txn(txn)), Err(Error::KeyNotFound));
    assert_eq!(store.revision(), before.revision());
    assert!(store.views == before.views);
}

#[test]
fn a_clone_stays_as_it_was() {
    let mut store = Store::default();
    store.apply(&Command::Put(put("a", "1"))).unwrap();
    let clone = store.clone();
    let Ok(Response::DeleteRange(answer)) = store.apply(&Command::DeleteRange(delete("a"))) else {
        panic!("a deletion is answered as one");
    };
    assert_eq!(answer.deleted, 1);
    assert_eq!(clone.range(&all(0)).unwrap().count, 1);
    assert_eq!(store.range(&all(0)).unwrap().count, 0);
}

#[test]
fn what_is_no_command_is_refused() {
    for bytes in [&b""[..], b"\0", b"\x09abc", b"\x01\x0a\xff"] {
        assert_eq!(Command::decode(bytes), None, "{bytes:?}");
    }
}
