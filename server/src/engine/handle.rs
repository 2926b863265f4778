//! The way to a node's thread: requests, parcels and notices, and the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use seaworthy::raft::RaftId;
use seaworthy::storage::StorageError;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;
use crate::node::{Class, Failure, Hello, Input, Refusal, Reply, Request, Verdict};
use crate::slow::{Kind, Stages};
use crate::traces;
use crate::watch::Watches;

/// How many requests and parcels may wait for the node.
const QUEUE: usize = 8192;

/// The messages to the node's thread.
pub(super) enum Arrival {
    Request(Request, Asker, Instant),
    Input(Input),
    Hello(Box<Hello>, oneshot::Sender<Result<(), Refusal>>),
    /// Bytes that another thread made for another server.
    Send(RaftId, Class, Vec<u8>),
    /// The server has to end.
    End(Ended),
}

/// Where the answer to a request goes.
pub(super) struct Asker {
    pub(super) answer: oneshot::Sender<Reply>,
    /// If the request is traced.
    pub(super) stages: Option<Arc<Stages>>,
}

/// The way to a running node. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) queue: mpsc::Sender<Arrival>,
    /// The engine's counters.
    pub metrics: Arc<Metrics>,
    /// Those who want to hear of every change.
    pub watches: Arc<Watches>,
    /// The identity of the cluster; 0 until it is known.
    pub(super) cluster: Arc<AtomicU64>,
}

/// How an engine ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The disk failed: nothing that depended on it was acknowledged.
    Disk(StorageError),
    /// The cluster does not accept this server.
    Refused(String),
    /// This server was removed from the cluster.
    Removed,
}

impl Handle {
    /// The identity of the cluster; 0 until its log has decided on one.
    pub fn cluster_id(&self) -> u64 {
        self.cluster.load(Ordering::Relaxed)
    }

    /// Asks the node, and waits for its answer.
    pub async fn ask(&self, request: Request) -> Reply {
        let (answer, answered) = oneshot::channel();
        let gone = Reply::Failed(Failure::Stopping);
        let (kind, began) = (Kind::of(&request), Instant::now());
        let record = traces::current();
        let stages = record.as_ref().map(|_| Arc::<Stages>::default());
        let asker = Asker { answer, stages: stages.clone() };
        let reply = match self.queue.send(Arrival::Request(request, asker, began)).await {
            Ok(()) => answered.await.unwrap_or(gone),
            Err(_) => gone,
        };
        self.metrics.slow.answered(kind, began);
        if let (Some(record), Some(stages)) = (record, stages) {
            record.answered(kind, began, &stages, &self.metrics.slow);
        }
        reply
    }

    /// Hands a parcel of another server to the node, and waits if that is busy.
    pub async fn parcel(&self, from: RaftId, bytes: Vec<u8>) {
        self.metrics.peer_received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let _ = self.queue.send(Arrival::Input(Input::Parcel(from, bytes))).await;
    }

    /// Tells the node how much space is left on a disk that is full; `None` if it is not.
    pub async fn space(&self, left: Option<u64>) {
        let _ = self.queue.send(Arrival::Input(Input::Space(left))).await;
    }

    /// Asks the node whether a server may be listened to.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn admit(&self, hello: Hello) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        let _ = self.queue.send(Arrival::Hello(Box::new(hello), answer)).await;
        let stopping = Refusal { why: "this server stops".to_owned(), verdict: Verdict::NotNow };
        answered.await.unwrap_or(Err(stopping))
    }

    /// Tells the node that others will never accept it as it is: the engine ends.
    pub async fn refused(&self, who: &str, refusal: Refusal) {
        let ended = match refusal.verdict {
            Verdict::NotNow => return,
            Verdict::Never => Ended::Refused(format!("{who} refuses it: {}", refusal.why)),
            Verdict::Removed => Ended::Removed,
        };
        let _ = self.queue.send(Arrival::End(ended)).await;
    }

    /// Tells the node that nothing can be made durable any more: the engine ends.
    pub async fn storage_lost(&self, error: StorageError) {
        let _ = self.queue.send(Arrival::End(Ended::Disk(error))).await;
    }

    /// Asks the node to stop; the engine ends soon after.
    pub async fn stop(&self) {
        let _ = self.queue.send(Arrival::Input(Input::Stop)).await;
    }
}

/// A place for a node that is not started yet; the handle works already.
pub struct Seat {
    pub(super) handle: Handle,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
}

/// Makes the way to a node before the node runs, for those that it will need. `cluster` is the cluster that the
/// node knows from its disk: others that have just started, and do not know of a member that was added, listen to
/// one that knows it.
pub fn prepare(cluster: Option<u64>) -> (Handle, Seat) {
    let (queue, arrivals) = mpsc::channel(QUEUE);
    let (metrics, watches) = (Arc::default(), Arc::default());
    let cluster = Arc::new(AtomicU64::new(cluster.unwrap_or(0)));
    let handle = Handle { queue, metrics, watches, cluster };
    (handle.clone(), Seat { handle, arrivals })
}
