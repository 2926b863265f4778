//! Queues of keys below a name, of which locks and elections are made: each key has a lease, and
//! the oldest one is first. A key in line is renewed while its client waits, and leaves the line
//! with its client.

// A client that waits has a clock, and a client that leaves has a task.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tonic::Status;

use super::watch::Responses;
use super::{Answer, App};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request as Op;
use crate::proto::etcdserverpb::response_op::Response as Done;
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::mvccpb;

/// A client that names no lease gets one of so many seconds, as in etcd.
const LEASE_SECONDS: i64 = 60;
/// How often the lease of one that waits is renewed.
const RENEWAL: Duration = Duration::from_millis(500);

/// etcd's words for a place whose lease has ended.
const EXPIRED: &str = "mutex: session is expired";

/// A place in a queue.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) header: Option<pb::ResponseHeader>,
    pub(super) key: Bytes,
    /// The revision of its key's creation.
    pub(super) revision: i64,
    pub(super) lease: i64,
}

/// A place whose client may go away before its turn has come: then it is given up.
struct Waiting<'a> {
    app: &'a App,
    key: Option<Bytes>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let app = self.app.clone();
        // A request that fails leaves the key to the end of its lease.
        tokio::spawn(App::in_the_same_name(async move {
            let _ = app.leave(key).await;
        }));
    }
}

/// The names of the keys of a queue begin with this.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The end of the keys with this prefix, which ends with a slash.
fn end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// Holds if a key was created at this revision.
pub(super) fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

pub(super) fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

impl App {
    /// Enters a queue, and waits until all that came before have left. A lease that is in line
    /// already keeps its place; its value may change.
    pub(super) async fn line_up(&self, name: &[u8], lease: i64, value: Bytes) -> Answer<Place> {
        let lease = match lease {
            0 => {
                let request = pb::LeaseGrantRequest { ttl: LEASE_SECONDS, ..Default::default() };
                self.lease_grant(request).await?.id
            }
            lease => lease,
        };
        let prefix = prefix(name);
        let key = Bytes::from([&prefix[..], format!("{lease:x}").as_bytes()].concat());
        let put =
            pb::PutRequest { key: key.clone(), value: value.clone(), lease, ..Default::default() };
        let get = pb::RangeRequest { key: key.clone(), ..Default::default() };
        let entered = self
            .txn(pb::TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![op(Op::RequestPut(put.clone()))],
                failure: vec![op(Op::RequestRange(get.clone()))],
            })
            .await?;
        let mut place =
            Place { revision: revision(&entered.header), header: entered.header, key, lease };
        if let Some(before) = first_key(entered.responses) {
            place.revision = before.create_revision;
            if before.value != value {
                self.put(put).await?;
            }
        }
        let mut waiting = Waiting { app: self, key: Some(place.key.clone()) };
        if self.wait_for_turn(&prefix, &place).await? {
            let mine = self.range(get).await?;
            if mine.kvs.first().is_none_or(|kv| kv.create_revision != place.revision) {
                return Err(Status::unknown(EXPIRED));
            }
            place.header = mine.header;
        }
        waiting.key = None;
        Ok(place)
    }

    /// Waits until no key of the queue is older; whether there was one.
    async fn wait_for_turn(&self, prefix: &Bytes, place: &Place) -> Answer<bool> {
        let mut has_waited = false;
        loop {
            let older = self
                .range(pb::RangeRequest {
                    key: prefix.clone(),
                    range_end: end(prefix),
                    limit: 1,
                    sort_order: SortOrder::Descend as i32,
                    sort_target: SortTarget::Create as i32,
                    max_create_revision: place.revision - 1,
                    ..Default::default()
                })
                .await?;
            let Some(before) = older.kvs.into_iter().next() else { return Ok(has_waited) };
            has_waited = true;
            let gone = self.wait_for_deletion(before.key, revision(&older.header) + 1);
            tokio::pin!(gone);
            let mut renewal = interval(RENEWAL);
            renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    gone = &mut gone => break gone?,
                    _ = renewal.tick() => {
                        let request = pb::LeaseKeepAliveRequest { id: place.lease };
                        let renewed = self.lease_keep_alive(request).await;
                        // Without an answer the lease may live: the next one tells.
                        if renewed.is_ok_and(|answer| answer.ttl == 0) {
                            return Err(Status::unknown(EXPIRED));
                        }
                    }
                }
            }
        }
    }

    async fn wait_for_deletion(&self, key: Bytes, start_revision: i64) -> Answer<()> {
        let filters = vec![FilterType::Noput as i32];
        let watch = pb::WatchCreateRequest { key, start_revision, filters, ..Default::default() };
        self.wait_for_event(watch).await
    }

    /// Waits until a queue may have a key, after a revision at which it had none.
    pub(super) async fn wait_for_candidate(&self, name: &[u8], start_revision: i64) -> Answer<()> {
        let (key, filters) = (prefix(name), vec![FilterType::Nodelete as i32]);
        let range_end = end(&key);
        self.wait_for_event(pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            filters,
            ..Default::default()
        })
        .await
    }

    async fn wait_for_event(&self, create: pb::WatchCreateRequest) -> Answer<()> {
        let mut watch = self.watch_keys(create);
        while let Some(told) = watch.next().await {
            let told = told?;
            if told.canceled && told.compact_revision == 0 {
                return Err(Status::unknown(told.cancel_reason));
            }
            // A compaction may have swallowed the event: the caller looks again.
            if told.canceled || !told.events.is_empty() {
                return Ok(());
            }
        }
        Err(Status::unavailable("etcdserver: server stopped"))
    }

    pub(super) fn watch_keys(&self, create: pb::WatchCreateRequest) -> Responses {
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = tokio_stream::once(Ok(request)).chain(tokio_stream::pending());
        self.clone().watch_stream(requests, false)
    }

    /// The oldest key of a queue.
    pub(super) async fn first_in_line(
        &self,
        name: &[u8],
    ) -> Answer<(Option<pb::ResponseHeader>, Option<mvccpb::KeyValue>)> {
        let key = prefix(name);
        let found = self
            .range(pb::RangeRequest {
                range_end: end(&key),
                key,
                limit: 1,
                sort_order: SortOrder::Ascend as i32,
                sort_target: SortTarget::Create as i32,
                ..Default::default()
            })
            .await?;
        Ok((found.header, found.kvs.into_iter().next()))
    }

    /// Gives up a place.
    pub(super) async fn leave(&self, key: Bytes) -> Answer<Option<pb::ResponseHeader>> {
        let request = pb::DeleteRangeRequest { key, ..Default::default() };
        Ok(self.delete_range(request).await?.header)
    }
}

pub(super) fn revision(header: &Option<pb::ResponseHeader>) -> i64 {
    header.as_ref().map_or(0, |header| header.revision)
}

/// The key that the first operation of a transaction has read.
fn first_key(done: Vec<pb::ResponseOp>) -> Option<mvccpb::KeyValue> {
    match done.into_iter().next()?.response? {
        Done::ResponseRange(found) => found.kvs.into_iter().next(),
        _ => None,
    }
}
