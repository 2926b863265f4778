//! Refusing malformed requests, before they cost the cluster anything. The order of the
//! checks is etcd's: of two faults in one request, the same one is told.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::error::Error;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

/// Refuses a malformed range.
///
/// # Errors
/// No key, or an unknown order.
pub fn check_range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    order.and(target.map(|_| SortOrder::None)).map(|_| ()).map_err(|_| Error::InvalidSort)
}

/// Refuses a malformed put.
///
/// # Errors
/// No key, or a value or lease that is at the same time to be kept.
pub fn check_put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        Err(Error::EmptyKey)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(Error::ValueProvided)
    } else if request.ignore_lease && request.lease != 0 {
        Err(Error::LeaseProvided)
    } else {
        Ok(())
    }
}

/// Refuses a malformed deletion.
///
/// # Errors
/// No key.
pub fn check_delete(request: &DeleteRangeRequest) -> Result<(), Error> {
    match request.key.is_empty() {
        true => Err(Error::EmptyKey),
        false => Ok(()),
    }
}

/// Refuses a malformed transaction, with at most `max_ops` operations in each of its lists;
/// nested ones have the number that their parents leave.
///
/// # Errors
/// Too many operations, a malformed one, or a key that is changed twice.
pub fn check_txn(request: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    check_ops(request, Some(max_ops))?;
    changes(&request.success)?;
    changes(&request.failure)?;
    Ok(())
}

fn check_ops(request: &TxnRequest, left: Option<usize>) -> Result<(), Error> {
    let used = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = left.filter(|left| used <= *left).ok_or(Error::TooManyOps)? - used;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    let ops = request.success.iter().chain(&request.failure);
    ops.map(|op| &op.request).try_for_each(|op| match op {
        Some(Request::RequestRange(range)) => check_range(range),
        Some(Request::RequestPut(put)) => check_put(put),
        Some(Request::RequestDeleteRange(delete)) => check_delete(delete),
        Some(Request::RequestTxn(nested)) => check_ops(nested, Some(left)),
        None => Err(Error::KeyNotFound),
    })
}

/// The keys that a list of operations puts, and the intervals that it deletes.
#[derive(Default)]
struct Changes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<Interval<'a>>,
}

/// An interval of keys as etcd's check understands it. The end "" is beyond every key; one
/// NUL byte has no special meaning here, so a deletion without an end touches no put.
#[derive(Clone, Copy)]
struct Interval<'a> {
    begin: &'a [u8],
    /// `None`: only the key itself.
    end: Option<&'a [u8]>,
}

impl Interval<'_> {
    fn has(&self, key: &[u8]) -> bool {
        match self.end {
            None => key == self.begin,
            Some(end) => key.cmp(self.begin) != Ordering::Less && key < end,
        }
    }
}

impl<'a> Changes<'a> {
    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if self.deletes.iter().any(|interval| interval.has(key)) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// Collects the keys that a list of operations changes, if it changes no key twice. The two lists
/// of a nested transaction exclude each other, so they may share keys.
fn changes(ops: &[RequestOp]) -> Result<Changes<'_>, Error> {
    let requests = || ops.iter().filter_map(|op| op.request.as_ref());
    let mut all = Changes::default();
    all.deletes.extend(requests().filter_map(|request| match request {
        Request::RequestDeleteRange(delete) => {
            let end = Some(&delete.range_end[..]).filter(|end| !end.is_empty());
            Some(Interval { begin: &delete.key, end })
        }
        _ => None,
    }));
    for request in requests() {
        let Request::RequestTxn(nested) = request else { continue };
        let (then, otherwise) = (changes(&nested.success)?, changes(&nested.failure)?);
        for key in &then.puts {
            all.put(key)?;
        }
        for key in otherwise.puts.difference(&then.puts) {
            all.put(key)?;
        }
        all.deletes.extend(then.deletes);
        all.deletes.extend(otherwise.deletes);
    }
    for request in requests() {
        if let Request::RequestPut(put) = request {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}
