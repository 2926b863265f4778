//! Transactions: conditions, and one of two lists of operations.
//!
//! All conditions, those of nested transactions too, are judged before anything happens;
//! so are the checks that can refuse an operation. No operation can fail after that, but for a
//! put that keeps the value of a key that the same transaction has just deleted: then
//! everything is undone.

use std::cmp::Ordering;

use super::error::Error;
use super::planted;
use super::range::Keys;
use super::store::Store;
use super::version::Version;
use super::write::{Writer, header};
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::etcdserverpb::{
    Compare, RangeRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};

/// A transaction whose conditions are judged.
struct Judged<'a> {
    succeeded: bool,
    ops: Vec<Op<'a>>,
}

enum Op<'a> {
    Plain(&'a Request),
    Nested(Judged<'a>),
}

/// Whether a transaction can change nothing: every operation is a range.
pub fn is_readonly(txn: &TxnRequest) -> bool {
    all_ops(txn).all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Whether a read-only transaction may be answered from any server's state: it says so, for
/// each range. One that says nothing has conditions, which must not be judged by an old state.
pub fn is_serializable(txn: &TxnRequest) -> bool {
    all_ops(txn).next().is_some()
        && all_ops(txn)
            .all(|op| matches!(&op.request, Some(Request::RequestRange(r)) if r.serializable))
}

fn all_ops(txn: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    txn.success.iter().chain(&txn.failure)
}

impl Store {
    /// Answers a transaction that only reads.
    ///
    /// # Errors
    /// If a revision is gone, or is not there yet.
    ///
    /// # Panics
    /// If it is not [`is_readonly`].
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        assert!(is_readonly(request), "a transaction that changes something is a command");
        // A clone costs nothing, and nothing changes it.
        self.clone().txn(request)
    }

    pub(super) fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let judged = self.judge(request);
        // Two passes, as etcd has it: of two refusals the same one is told.
        judged.each(&mut |op| match op {
            Request::RequestPut(put) => self.check_kept(put).and_then(|()| self.check_lease(put)),
            _ => Ok(()),
        })?;
        judged.each(&mut |op| match op {
            Request::RequestRange(range) => planted::checked(self.check_revision(range)),
            _ => Ok(()),
        })?;
        let undo = judged.may_fail().then(|| self.clone());
        let outcome = self.write(|w| {
            let mut answer = w.carry_out(&judged)?;
            answer.header = header(w.now());
            Ok(answer)
        });
        if let (Err(_), Some(undo)) = (&outcome, undo) {
            *self = undo;
        }
        outcome
    }

    fn judge<'a>(&self, txn: &'a TxnRequest) -> Judged<'a> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let chosen = if succeeded { &txn.success } else { &txn.failure };
        let ops = chosen.iter().filter_map(|op| op.request.as_ref()).map(|request| match request {
            Request::RequestTxn(nested) => Op::Nested(self.judge(nested)),
            other => Op::Plain(other),
        });
        Judged { succeeded, ops: ops.collect() }
    }

    /// Whether a condition holds for every key it names. A key that does not exist is
    /// compared as zeros, and has no value.
    fn holds(&self, compare: &Compare) -> bool {
        let mut holds = None;
        self.present(Keys::of(&compare.key, &compare.range_end), &mut |version| {
            *holds.insert(holds_for(compare, Some(version)))
        });
        let has_value = compare.target != CompareTarget::Value as i32;
        holds.unwrap_or_else(|| has_value && holds_for(compare, None))
    }

    fn check_revision(&self, range: &RangeRequest) -> Result<(), Error> {
        match range.revision {
            0 => Ok(()),
            r if r > self.revision => Err(Error::FutureRevision),
            r if r < self.compacted => Err(Error::Compacted),
            _ => Ok(()),
        }
    }
}

fn holds_for(compare: &Compare, version: Option<&std::sync::Arc<Version>>) -> bool {
    let body = version.and_then(|version| version.body.as_ref());
    let wanted = compare.target_union.as_ref();
    // A condition whose number belongs to another target compares with zero.
    let number = |target: CompareTarget| match (target, wanted) {
        (CompareTarget::Version, Some(TargetUnion::Version(n)))
        | (CompareTarget::Create, Some(TargetUnion::CreateRevision(n)))
        | (CompareTarget::Mod, Some(TargetUnion::ModRevision(n)))
        | (CompareTarget::Lease, Some(TargetUnion::Lease(n))) => *n,
        _ => 0,
    };
    let found = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => {
            let wanted = match wanted {
                Some(TargetUnion::Value(value)) => &value[..],
                _ => &[],
            };
            body.map_or(&[][..], |body| &body.value).cmp(wanted)
        }
        Ok(CompareTarget::Version) => {
            body.map_or(0, |b| b.version).cmp(&number(CompareTarget::Version))
        }
        Ok(CompareTarget::Create) => {
            body.map_or(0, |b| b.create_revision).cmp(&number(CompareTarget::Create))
        }
        Ok(CompareTarget::Mod) => version.map_or(0, |v| v.at.main).cmp(&number(CompareTarget::Mod)),
        Ok(CompareTarget::Lease) => body.map_or(0, |b| b.lease).cmp(&number(CompareTarget::Lease)),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => found.is_eq(),
        Ok(CompareResult::NotEqual) => found.is_ne(),
        Ok(CompareResult::Greater) => found.is_gt(),
        Ok(CompareResult::Less) => found.is_lt(),
        Err(_) => true,
    }
}

impl Judged<'_> {
    fn each(&self, check: &mut dyn FnMut(&Request) -> Result<(), Error>) -> Result<(), Error> {
        self.ops.iter().try_for_each(|op| match op {
            Op::Plain(request) => check(request),
            Op::Nested(judged) => judged.each(check),
        })
    }

    /// Whether an operation may be refused because of an earlier one.
    fn may_fail(&self) -> bool {
        let (mut deletes, mut keeps) = (false, false);
        let _ = self.each(&mut |op| {
            deletes |= matches!(op, Request::RequestDeleteRange(_));
            keeps |= matches!(op, Request::RequestPut(p) if p.ignore_value || p.ignore_lease);
            Ok(())
        });
        deletes && keeps
    }
}

impl Writer<'_> {
    fn carry_out(&mut self, judged: &Judged<'_>) -> Result<TxnResponse, Error> {
        let mut responses = Vec::with_capacity(judged.ops.len());
        for op in &judged.ops {
            let response = match op {
                Op::Nested(nested) => Response::ResponseTxn(self.carry_out(nested)?),
                Op::Plain(Request::RequestRange(range)) => {
                    let now = self.now();
                    Response::ResponseRange(self.store.range_at(range, now)?)
                }
                Op::Plain(Request::RequestPut(put)) => Response::ResponsePut(self.put(put)?),
                Op::Plain(Request::RequestDeleteRange(delete)) => {
                    Response::ResponseDeleteRange(self.delete_range(delete))
                }
                Op::Plain(Request::RequestTxn(_)) => unreachable!("judged as nested"),
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        let header = Some(ResponseHeader::default());
        Ok(TxnResponse { header, succeeded: judged.succeeded, responses })
    }
}
