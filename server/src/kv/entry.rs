//! Commands that share the bytes of their log entry, so that log and store hold a long value once.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::command::{BY, By, Command, PUT, TXN, split_by};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};

/// Values of at least so many bytes are shared instead of copied.
pub(super) const SHARED_BYTES: usize = 512;

impl Command {
    /// Decodes the command that begins at byte `at` of a log entry, as [`Command::decode`] would. A value of a put
    /// that is long, and half of the entry or more, is a part of the entry; any other has an allocation of its own.
    pub fn decode_entry(entry: &Arc<[u8]>, at: usize) -> Option<Command> {
        let bytes = entry.get(at..)?;
        if entry.len() < SHARED_BYTES {
            return Command::decode(bytes);
        }
        let mut command = decode(Bytes::from_owner(entry.clone()).slice(at..))?;
        let shared_from = SHARED_BYTES.max(entry.len().div_ceil(2));
        let bare = match &mut command {
            Command::By(by) => &mut by.command,
            bare => bare,
        };
        match bare {
            Command::Put(put) => own(put, shared_from),
            Command::Txn(txn) => own_all(txn, shared_from),
            _ => {}
        }
        Some(command)
    }
}

/// The same as [`Command::decode`], but keys and values are parts of `bytes`.
fn decode(bytes: Bytes) -> Option<Command> {
    match *bytes.first()? {
        PUT => PutRequest::decode(bytes.slice(1..)).ok().map(Command::Put),
        TXN => TxnRequest::decode(bytes.slice(1..)).ok().map(Command::Txn),
        BY => {
            let (who, command) = split_by(&bytes[1..])?;
            let command = decode(bytes.slice_ref(command))?;
            Some(Command::By(Box::new(By { who, command })))
        }
        _ => Command::decode(&bytes),
    }
}

/// Copies a value that would keep an entry in memory of which it is a small part. One that is short anyway is
/// copied by the store.
fn own(put: &mut PutRequest, shared_from: usize) {
    if (SHARED_BYTES..shared_from).contains(&put.value.len()) {
        put.value = Bytes::copy_from_slice(&put.value);
    }
}

fn own_all(txn: &mut TxnRequest, shared_from: usize) {
    for RequestOp { request } in txn.success.iter_mut().chain(&mut txn.failure) {
        match request {
            Some(Request::RequestPut(put)) => own(put, shared_from),
            Some(Request::RequestTxn(nested)) => own_all(nested, shared_from),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use crate::kv::auth::Who;
    use crate::proto::etcdserverpb as pb;

    fn put(key: &str, len: usize) -> PutRequest {
        let (key, value) = (Bytes::from(key.to_owned()), vec![b'v'; len].into());
        PutRequest { key, value, prev_kv: true, ..Default::default() }
    }

    fn txn(lens: &[usize]) -> Command {
        let op = |(n, len): (usize, &usize)| RequestOp {
            request: Some(Request::RequestPut(put(&format!("k{n}"), *len))),
        };
        let success = lens.iter().enumerate().map(op).collect();
        Command::Txn(TxnRequest { success, ..Default::default() })
    }

    /// Applies a command as an entry has it; returns the entry, and of each value whether it is a part of it.
    fn applied(store: &mut Store, command: &Command) -> (Arc<[u8]>, Vec<bool>) {
        let mut entry = vec![b'h'; 33];
        command.encode(&mut entry);
        let entry: Arc<[u8]> = entry.into();
        let decoded = Command::decode_entry(&entry, 33).unwrap();
        assert_eq!(decoded, *command);
        store.apply(&decoded).unwrap();
        drop(decoded);
        let mut are_shared = Vec::new();
        store.views.visit_log(.., &mut |version| {
            let value = &version.body.as_ref().unwrap().value;
            are_shared.push(entry.as_ptr_range().contains(&value.as_ptr()));
            true
        });
        (entry, are_shared)
    }

    #[test]
    fn a_long_value_is_a_part_of_its_entry_and_any_other_keeps_no_entry_in_memory() {
        let by = |command| {
            let who = Who { name: "root".into(), revision: 1 };
            Command::By(Box::new(By { who, command }))
        };
        let cases = [
            (Command::Put(put("k", SHARED_BYTES)), vec![true]),
            (Command::Put(put("k", SHARED_BYTES - 1)), vec![false]),
            (Command::Put(put(&"k".repeat(2000), 1000)), vec![false]),
            (by(Command::Put(put("k", 4000))), vec![true]),
            (txn(&[2000, 10]), vec![true, false]),
            (txn(&[2000, 2000, 2000]), vec![false, false, false]),
        ];
        for (command, wanted) in cases {
            let mut store = Store::default();
            let (entry, are_shared) = applied(&mut store, &command);
            assert_eq!(are_shared, wanted);
            assert_eq!(Arc::strong_count(&entry) > 1, wanted.contains(&true));
        }
    }

    #[test]
    fn answers_share_a_long_value_with_the_store() {
        let mut store = Store::default();
        let (entry, _) = applied(&mut store, &Command::Put(put("k", 4000)));
        let request = pb::RangeRequest { key: Bytes::from_static(b"k"), ..Default::default() };
        let answer = store.range(&request).unwrap();
        assert!(entry.as_ptr_range().contains(&answer.kvs[0].value.as_ptr()));
        drop(store);
        assert_eq!(answer.kvs[0].value.len(), 4000);
    }
}
