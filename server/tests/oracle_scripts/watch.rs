//! Watches: both sides must tell the same events, each once and in the same order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::watch_client::WatchClient;
use seaworthy_server::proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use super::{Rev, end, key, rebase_pair, rev};

#[derive(Clone, Debug)]
pub enum WatchOp {
    Create { key: Bytes, end: Bytes, start: Rev, id: i64, filters: Vec<i32>, flags: [bool; 2] },
    Cancel(i64),
}

pub fn watch_op() -> impl Strategy<Value = WatchOp> {
    let id = prop_oneof![3 => Just(0_i64), 1 => 5_i64..7];
    let filters = prop::sample::select(vec![vec![], vec![], vec![0], vec![1], vec![0, 1]]);
    let flags = prop::array::uniform2(any::<bool>());
    prop_oneof![
        5 => (key(), end(), rev(), id, filters, flags).prop_map(
            |(key, end, start, id, filters, flags)| {
                WatchOp::Create { key, end, start, id, filters, flags }
            }
        ),
        1 => (0_i64..7).prop_map(WatchOp::Cancel),
    ]
}

/// The events that a watch was told, by its id: a line an event.
pub type Told = BTreeMap<i64, Vec<String>>;

/// One stream of watches of a script.
pub struct Watching {
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    told: Arc<Mutex<Told>>,
    base: i64,
    /// Answers to creations and cancellations that are still to come.
    created: Arc<Mutex<usize>>,
    asked: usize,
    /// Whether a watch may still read the past, which etcd does every 100 ms.
    pub reads_past: bool,
    reader: JoinHandle<()>,
}

impl Drop for Watching {
    /// Ends the stream. The end of the requests alone would leave its watches at both servers, and every
    /// later script would be told to all of them.
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Watching {
    /// Opens a stream.
    pub fn open(channel: Channel, base: i64) -> Watching {
        let (requests, stream) = mpsc::unbounded_channel();
        let stream = UnboundedReceiverStream::new(stream);
        let (told, created): (Arc<Mutex<Told>>, Arc<Mutex<usize>>) = Default::default();
        let (record, count) = (told.clone(), created.clone());
        let reader = tokio::spawn(async move {
            // etcd answers a stream with its first response, and not before.
            let mut client = WatchClient::new(channel);
            let mut responses = client.watch(stream).await.expect("a stream").into_inner();
            let mut last: BTreeMap<i64, i64> = BTreeMap::new();
            while let Some(Ok(response)) = responses.next().await {
                let mut told = record.lock().unwrap();
                let lines = told.entry(response.watch_id).or_default();
                *count.lock().unwrap() += usize::from(response.created);
                lines.extend(describe(&response, base, &mut last));
            }
        });
        Watching { requests, told, base, created, asked: 0, reads_past: false, reader }
    }

    /// Whether a request is about a watch that a compaction has ended. etcd 3.4 goes on to count
    /// it among those that there are, until it is cancelled; here it is gone.
    pub fn is_moot(&self, op: &WatchOp) -> bool {
        let (WatchOp::Cancel(id) | WatchOp::Create { id, .. }) = op;
        let ended = "created false canceled true compacted at";
        let told = self.told.lock().unwrap();
        told.get(id).is_some_and(|lines| lines.iter().any(|line| line.starts_with(ended)))
    }

    /// Sends a request. A new watch is waited for, so that it begins at the same moment on both
    /// sides.
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn ask(&mut self, op: &WatchOp, compacted: i64) -> Result<(), String> {
        let union = match op {
            WatchOp::Cancel(watch_id) => {
                RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: *watch_id })
            }
            WatchOp::Create { key, end, start, id, filters, flags: [prev_kv, fragment] } => {
                let mut start_revision = start.at(self.base);
                // etcd 3.4 forgets deletions of the compacted revision itself; here they are told.
                if start_revision == compacted {
                    start_revision += 1;
                }
                self.reads_past |= start_revision != 0;
                RequestUnion::CreateRequest(pb::WatchCreateRequest {
                    key: key.clone(),
                    range_end: end.clone(),
                    start_revision,
                    filters: filters.clone(),
                    prev_kv: *prev_kv,
                    watch_id: *id,
                    fragment: *fragment,
                    progress_notify: false,
                })
            }
        };
        let is_creation = matches!(union, RequestUnion::CreateRequest(_));
        let request = pb::WatchRequest { request_union: Some(union) };
        self.requests.send(request).map_err(|e| e.to_string())?;
        self.asked += usize::from(is_creation);
        let began = Instant::now();
        while *self.created.lock().unwrap() < self.asked {
            if began.elapsed() > Duration::from_secs(5) {
                return Err(format!("no answer to {op:?}"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }
}

/// Waits until both sides have told the same.
///
/// # Errors
/// The events that each has told, if they do not agree.
pub async fn settle(theirs: &mut Watching, ours: &mut Watching) -> Result<(), String> {
    let began = Instant::now();
    let past = std::mem::take(&mut theirs.reads_past) | std::mem::take(&mut ours.reads_past);
    let least = Duration::from_millis(if past { 150 } else { 10 });
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let (them, us) = (theirs.told(), ours.told());
        if them == us && began.elapsed() > least {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(3) {
            return Err(format!("watches\n  etcd: {them:#?}\n  ours: {us:#?}"));
        }
    }
}

/// A line for each thing that a response says. Panics if revisions run backwards.
fn describe(response: &pb::WatchResponse, base: i64, last: &mut BTreeMap<i64, i64>) -> Vec<String> {
    let mut lines = Vec::new();
    if response.created || response.canceled {
        let (created, canceled) = (response.created, response.canceled);
        let compacted = match response.compact_revision {
            0 => "not".to_owned(),
            revision => format!("at {}", revision - base),
        };
        let reason = &response.cancel_reason;
        lines.push(format!(
            "created {created} canceled {canceled} compacted {compacted} {reason:?}"
        ));
    }
    let header = response.header.as_ref().map_or(0, |header| header.revision);
    for event in &response.events {
        let mut event = event.clone();
        let revision = event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
        let before = last.insert(response.watch_id, revision).unwrap_or(0);
        assert!(before <= revision && revision <= header, "{response:?} after {before}");
        event.kv.iter_mut().chain(&mut event.prev_kv).for_each(|pair| rebase_pair(pair, base));
        lines.push(format!("{event:?}"));
    }
    lines
}
