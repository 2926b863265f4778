//! Random scripts of requests, and the parts of the answers that are compared.
//!
//! Revisions are relative to the beginning of a script, so that it can be shrunk and run anywhere.

#![allow(unreachable_pub, missing_docs)]

mod lease;
mod watch;

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::compare::TargetUnion;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::lease_client::LeaseClient;
use seaworthy_server::proto::etcdserverpb::request_op::Request;
use seaworthy_server::proto::etcdserverpb::response_op::Response;
use seaworthy_server::proto::mvccpb::KeyValue;
use tonic::Status;
use tonic::transport::Channel;

use lease::{LeaseOp, lease_op};
use watch::{WatchOp, Watching, watch_op};

/// A revision in a request.
#[derive(Clone, Copy, Debug)]
pub enum Rev {
    Absolute(i64),
    /// Relative to the beginning of the script.
    Since(i64),
}

#[derive(Clone, Debug)]
pub struct Range {
    key: Bytes,
    end: Bytes,
    limit: i64,
    revision: Rev,
    sort: (i32, i32),
    flags: [bool; 2],
    bounds: [Rev; 4],
}

#[derive(Clone, Debug)]
pub struct Put {
    key: Bytes,
    value: Bytes,
    lease: i64,
    flags: [bool; 3],
}

#[derive(Clone, Debug)]
pub struct Delete {
    key: Bytes,
    end: Bytes,
    prev_kv: bool,
}

#[derive(Clone, Debug)]
pub struct Compare {
    key: Bytes,
    end: Bytes,
    result: i32,
    target: i32,
    number: Rev,
    value: Bytes,
}

#[derive(Clone, Debug)]
pub struct Txn {
    compare: Vec<Compare>,
    success: Vec<Op>,
    failure: Vec<Op>,
}

#[derive(Clone, Debug)]
pub enum Op {
    Range(Range),
    Put(Put),
    Delete(Delete),
    Txn(Txn),
    Compact(Rev),
    Lease(LeaseOp),
    Watch(WatchOp),
    /// An operation of a transaction that says nothing.
    Nothing,
}

fn key() -> impl Strategy<Value = Bytes> {
    let keys: Vec<&'static [u8]> =
        vec![b"a", b"b", b"c", b"ab", b"abc", b"b\0", b"\xff", b"\xff\xff", b"\0", b"d e\n"];
    prop_oneof![
        40 => prop::sample::select(keys).prop_map(Bytes::from_static),
        1 => Just(Bytes::new()),
    ]
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => Just(Bytes::new()),
        2 => Just(Bytes::from_static(b"\0")),
        4 => key(),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    let values: Vec<&'static [u8]> = vec![b"", b"1", b"2", b"x y", b"\0\xfe"];
    prop::sample::select(values).prop_map(Bytes::from_static)
}

fn rev() -> impl Strategy<Value = Rev> {
    prop_oneof![
        10 => Just(Rev::Absolute(0)),
        1 => (-3_i64..2).prop_map(Rev::Absolute),
        5 => (-3_i64..12).prop_map(Rev::Since),
    ]
}

fn range() -> impl Strategy<Value = Range> {
    let limit = prop_oneof![5 => Just(0), 4 => 1_i64..4, 1 => Just(-1)];
    let sort = prop_oneof![3 => Just((0, 0)), 3 => (0_i32..3, 0_i32..5)];
    let none = [Rev::Absolute(0); 4];
    let bounds = prop_oneof![4 => Just(none), 1 => prop::array::uniform4(rev())];
    let flags = prop::array::uniform2(prop::bool::weighted(0.2));
    (key(), end(), limit, rev(), sort, flags, bounds).prop_map(
        |(key, end, limit, revision, sort, flags, bounds)| Range {
            key,
            end,
            limit,
            revision,
            sort,
            flags,
            bounds,
        },
    )
}

fn put() -> impl Strategy<Value = Put> {
    let lease = prop_oneof![12 => Just(0), 4 => lease::id()];
    let flags = (any::<bool>(), prop::bool::weighted(0.15), prop::bool::weighted(0.1));
    (key(), value(), lease, flags).prop_map(|(key, value, lease, (prev_kv, keep, keep_lease))| {
        Put { key, value, lease, flags: [prev_kv, keep, keep_lease] }
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    (key(), end(), any::<bool>()).prop_map(|(key, end, prev_kv)| Delete { key, end, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    (key(), end(), 0_i32..4, 0_i32..5, rev(), value()).prop_map(
        |(key, end, result, target, number, value)| Compare {
            key,
            end,
            result,
            target,
            number,
            value,
        },
    )
}

fn simple() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => range().prop_map(Op::Range),
        4 => put().prop_map(Op::Put),
        2 => delete().prop_map(Op::Delete),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![60 => simple(), 1 => Just(Op::Nothing)];
    let ops = leaf.prop_recursive(2, 12, 3, |inner| {
        let ops = || prop::collection::vec(inner.clone(), 0..3);
        (prop::collection::vec(compare(), 0..3), ops(), ops())
            .prop_map(|(compare, success, failure)| Op::Txn(Txn { compare, success, failure }))
    });
    let ops = ops.boxed();
    let list = || prop::collection::vec(ops.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), list(), list()).prop_map(
        |(compare, success, failure)| {
            let mut txn = Txn { compare, success, failure };
            if txn.ops().any(Op::deletes_without_end) {
                txn.keep_nothing();
            }
            txn
        },
    )
}

/// Not compared: a put that keeps the value of a key that the same transaction has deleted, unseen
/// as the deletion has no end. It makes etcd's servers panic; this one refuses it (`kv/tests.rs`).
impl Txn {
    fn ops(&self) -> impl Iterator<Item = &Op> {
        self.success.iter().chain(&self.failure)
    }

    fn keep_nothing(&mut self) {
        for op in self.success.iter_mut().chain(&mut self.failure) {
            match op {
                Op::Put(put) => put.flags = [put.flags[0], false, false],
                Op::Txn(txn) => txn.keep_nothing(),
                _ => {}
            }
        }
    }
}

impl Op {
    fn deletes_without_end(&self) -> bool {
        match self {
            Op::Delete(delete) => &delete.end[..] == b"\0",
            Op::Txn(txn) => txn.ops().any(Op::deletes_without_end),
            _ => false,
        }
    }
}

/// A script: up to two dozen requests.
pub fn script() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => simple(),
        5 => txn().prop_map(Op::Txn),
        1 => rev().prop_map(Op::Compact),
        3 => lease_op().prop_map(Op::Lease),
        2 => watch_op().prop_map(Op::Watch),
    ];
    prop::collection::vec(op, 1..24)
}

/// One of the two that are compared.
pub struct Side {
    channels: Vec<Channel>,
    clients: Vec<KvClient<Channel>>,
    leases: Vec<LeaseClient<Channel>>,
    /// The revision of the last compaction.
    compacted: AtomicI64,
}

impl Side {
    pub fn new(channels: Vec<Channel>) -> Side {
        Side {
            clients: channels.iter().cloned().map(KvClient::new).collect(),
            leases: channels.iter().cloned().map(LeaseClient::new).collect(),
            channels,
            compacted: AtomicI64::new(-1),
        }
    }

    /// Opens a stream of watches at the first server.
    fn watch(&self, base: i64) -> Watching {
        Watching::open(self.channels[0].clone(), base)
    }

    fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Relaxed)
    }

    /// Waits until the first server has everything that was answered by any.
    async fn catch_up(&self) -> Result<(), Status> {
        let request = pb::RangeRequest { key: Bytes::from_static(b"a"), ..Default::default() };
        self.clients[0].clone().range(request).await.map(|_| ())
    }

    /// Deletes everything; the revision after it.
    async fn begin(&self) -> Result<i64, Status> {
        lease::begin(&mut self.leases[0].clone()).await?;
        let all = Bytes::from_static(b"\0");
        let request =
            pb::DeleteRangeRequest { key: all.clone(), range_end: all, ..Default::default() };
        let answer = self.clients[0].clone().delete_range(request).await?.into_inner();
        Ok(answer.header.unwrap_or_default().revision)
    }

    /// The answer as text, with revisions relative to `base`.
    async fn answer(&self, op: &Op, base: i64, turn: usize) -> String {
        let mut client = self.clients[turn % self.clients.len()].clone();
        let outcome = match op {
            Op::Range(range) => client.range(range.request(base)).await.map(|answer| {
                let mut answer = answer.into_inner();
                rebase_range(&mut answer, base);
                format!("{answer:?}")
            }),
            Op::Put(put) => client.put(put.request()).await.map(|answer| {
                let mut answer = answer.into_inner();
                rebase_put(&mut answer, base);
                format!("{answer:?}")
            }),
            Op::Delete(delete) => client.delete_range(delete.request()).await.map(|answer| {
                let mut answer = answer.into_inner();
                rebase_delete(&mut answer, base);
                format!("{answer:?}")
            }),
            Op::Txn(txn) => client.txn(txn.request(base)).await.map(|answer| {
                let mut answer = answer.into_inner();
                rebase_txn(&mut answer, base);
                format!("{answer:?}")
            }),
            Op::Compact(revision) => {
                let request =
                    pb::CompactionRequest { revision: revision.at(base), physical: false };
                let revision = request.revision;
                client.compact(request).await.map(|answer| {
                    self.compacted.store(revision, Ordering::Relaxed);
                    let mut answer = answer.into_inner();
                    rebase_header(&mut answer.header, base);
                    format!("{answer:?}")
                })
            }
            Op::Lease(op) => {
                op.answer(&mut self.leases[turn % self.leases.len()].clone(), base).await
            }
            Op::Watch(_) | Op::Nothing => Ok(String::new()),
        };
        outcome.unwrap_or_else(|e| format!("{:?}: {}", e.code(), e.message()))
    }
}

/// Runs a script on both sides.
///
/// # Errors
/// The first request whose answers differ, and both answers.
pub async fn compared(theirs: &Side, ours: &Side, ops: &[Op]) -> Result<(), String> {
    let begin = |side| async move { Side::begin(side).await.map_err(|e| e.to_string()) };
    let (base, own) = (begin(theirs).await?, begin(ours).await?);
    let watches = ops.iter().any(|op| matches!(op, Op::Watch(_)));
    let mut watching = watches.then(|| (theirs.watch(base), ours.watch(own)));
    for (turn, op) in ops.iter().enumerate() {
        if let Some((them, us)) = &mut watching {
            let failed = |why: String| format!("at request {turn}, {op:?}: {why}");
            match op {
                Op::Watch(watch) => {
                    // Events may be on their way to a watch that is to end: how many reach it, is chance.
                    if them.reads_past || matches!(watch, WatchOp::Cancel(_)) {
                        watch::settle(them, us).await.map_err(failed)?;
                    }
                    if them.is_moot(watch) {
                        continue;
                    }
                    for (side, watching) in [(theirs, &mut *them), (ours, &mut *us)] {
                        side.catch_up().await.map_err(|e| failed(e.to_string()))?;
                        watching.ask(watch, side.compacted()).await.map_err(failed)?;
                    }
                }
                // A watch that is behind a compaction ends; which one is, is chance.
                Op::Compact(_) => watch::settle(them, us).await.map_err(failed)?,
                _ => {}
            }
        }
        let (them, us) = (theirs.answer(op, base, turn).await, ours.answer(op, own, turn).await);
        if them != us {
            return Err(format!("request {turn}: {op:?}\n  etcd: {them}\n  ours: {us}"));
        }
    }
    match &mut watching {
        Some((them, us)) => watch::settle(them, us).await,
        None => Ok(()),
    }
}

impl Rev {
    fn at(self, base: i64) -> i64 {
        match self {
            Rev::Absolute(n) => n,
            Rev::Since(n) => (base + n).max(0),
        }
    }
}

impl Range {
    fn request(&self, base: i64) -> pb::RangeRequest {
        let [keys_only, count_only] = self.flags;
        pb::RangeRequest {
            key: self.key.clone(),
            range_end: self.end.clone(),
            limit: self.limit,
            revision: self.revision.at(base),
            sort_order: self.sort.0,
            sort_target: self.sort.1,
            // One of several servers may be behind; that is not a difference.
            serializable: false,
            keys_only,
            count_only,
            min_mod_revision: self.bounds[0].at(base),
            max_mod_revision: self.bounds[1].at(base),
            min_create_revision: self.bounds[2].at(base),
            max_create_revision: self.bounds[3].at(base),
        }
    }
}

impl Put {
    fn request(&self) -> pb::PutRequest {
        let [prev_kv, ignore_value, ignore_lease] = self.flags;
        // Mostly well formed: a value that is kept is not brought along.
        let value = if ignore_value { self.value.slice(..0) } else { self.value.clone() };
        let (key, lease) = (self.key.clone(), self.lease);
        pb::PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease }
    }
}

impl Delete {
    fn request(&self) -> pb::DeleteRangeRequest {
        let (key, range_end) = (self.key.clone(), self.end.clone());
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.prev_kv }
    }
}

impl Txn {
    fn request(&self, base: i64) -> pb::TxnRequest {
        let ops = |ops: &[Op]| ops.iter().map(|op| op.nested(base)).collect();
        pb::TxnRequest {
            compare: self.compare.iter().map(|compare| compare.request(base)).collect(),
            success: ops(&self.success),
            failure: ops(&self.failure),
        }
    }
}

impl Op {
    fn nested(&self, base: i64) -> pb::RequestOp {
        let request = match self {
            Op::Range(range) => Some(Request::RequestRange(range.request(base))),
            Op::Put(put) => Some(Request::RequestPut(put.request())),
            Op::Delete(delete) => Some(Request::RequestDeleteRange(delete.request())),
            Op::Txn(txn) => Some(Request::RequestTxn(txn.request(base))),
            Op::Compact(_) | Op::Lease(_) | Op::Watch(_) | Op::Nothing => None,
        };
        pb::RequestOp { request }
    }
}

impl Compare {
    fn request(&self, base: i64) -> pb::Compare {
        let number = self.number.at(base);
        let target_union = Some(match self.target {
            0 => TargetUnion::Version(number.clamp(0, 3)),
            1 => TargetUnion::CreateRevision(number),
            2 => TargetUnion::ModRevision(number),
            3 => TargetUnion::Value(self.value.clone()),
            _ => TargetUnion::Lease(number.min(1)),
        });
        pb::Compare {
            result: self.result,
            target: self.target,
            key: self.key.clone(),
            target_union,
            range_end: self.end.clone(),
        }
    }
}

fn rebase_header(header: &mut Option<pb::ResponseHeader>, base: i64) {
    if let Some(header) = header {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
        rebase(&mut header.revision, base);
    }
}

/// Zero is not a revision.
fn rebase(revision: &mut i64, base: i64) {
    if *revision != 0 {
        *revision -= base;
    }
}

fn rebase_pair(pair: &mut KeyValue, base: i64) {
    rebase(&mut pair.create_revision, base);
    rebase(&mut pair.mod_revision, base);
}

fn rebase_range(answer: &mut pb::RangeResponse, base: i64) {
    rebase_header(&mut answer.header, base);
    answer.kvs.iter_mut().for_each(|pair| rebase_pair(pair, base));
}

fn rebase_put(answer: &mut pb::PutResponse, base: i64) {
    rebase_header(&mut answer.header, base);
    answer.prev_kv.iter_mut().for_each(|pair| rebase_pair(pair, base));
}

fn rebase_delete(answer: &mut pb::DeleteRangeResponse, base: i64) {
    rebase_header(&mut answer.header, base);
    answer.prev_kvs.iter_mut().for_each(|pair| rebase_pair(pair, base));
}

fn rebase_txn(answer: &mut pb::TxnResponse, base: i64) {
    rebase_header(&mut answer.header, base);
    for response in answer.responses.iter_mut().filter_map(|op| op.response.as_mut()) {
        match response {
            Response::ResponseRange(answer) => rebase_range(answer, base),
            Response::ResponsePut(answer) => rebase_put(answer, base),
            Response::ResponseDeleteRange(answer) => rebase_delete(answer, base),
            Response::ResponseTxn(answer) => rebase_txn(answer, base),
        }
    }
}
