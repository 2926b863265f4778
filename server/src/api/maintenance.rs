//! Maintenance: status, alarms, hashes, backups.

// A backup is written by a thread of its own.
#![allow(clippy::disallowed_methods)]

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Answer, App, mismatch, status};
use crate::backup::{self, About};
use crate::kv::Command;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::maintenance_server::Maintenance;
use crate::quota;
use crate::space::Space;

/// Pieces of a backup that wait for their client.
const PIECES: usize = 4;

impl App {
    pub(super) async fn alarm(&self, request: pb::AlarmRequest) -> Answer<pb::AlarmResponse> {
        let kind = pb::AlarmType::try_from(request.alarm).unwrap_or_default();
        let is_get = request.action == AlarmAction::Get as i32;
        // An alarm of no kind is not raised, as in etcd since 3.5: it says nothing that an operator could put right.
        let is_void = request.action == AlarmAction::Activate as i32 && kind == pb::AlarmType::None;
        if is_get || is_void {
            let (term, store) = self.state(false).await?;
            let alarms = if is_get { store.list_alarms(kind) } else { Vec::new() };
            let mut answer = pb::AlarmResponse { header: None, alarms };
            self.complete(&mut answer.header, term, &store);
            return Ok(answer);
        }
        match self.write(Command::Alarm(request)).await? {
            crate::kv::Response::Alarm(answer) => Ok(answer),
            other => Err(mismatch(&other)),
        }
    }

    /// Refuses a command for which there is no space: on the disk here, or in the store.
    pub(super) async fn check_space(&self, command: &Command, len: usize) -> Answer<()> {
        if !command.takes_space() {
            return Ok(());
        }
        let refused = || status(crate::kv::Error::NoSpace);
        if self.space.as_ref().is_some_and(Space::is_full) {
            return Err(refused());
        }
        if self.quota.is_exceeded(self.node.metrics.store_bytes(), len) {
            let raise = quota::alarm(AlarmAction::Activate, self.id.0, pb::AlarmType::Nospace);
            let (_, store) = self.state(true).await?;
            if !store.has_alarm(pb::AlarmType::Nospace) {
                tracing::error!(
                    "the store has {} MiB, and its quota is reached: writes are refused; reads, \
                     deletions and compactions go on. Delete keys and compact, or raise \
                     --quota-backend-bytes",
                    store.size_bytes() >> 20
                );
                let mut bytes = Vec::new();
                raise.encode(&mut bytes);
                self.propose(bytes).await?;
            }
            return Err(refused());
        }
        Ok(())
    }

    pub(super) async fn hash_kv(&self, request: pb::HashKvRequest) -> Answer<pb::HashKvResponse> {
        let (term, store) = self.state(true).await?;
        let hashed = tokio::task::spawn_blocking(move || {
            let hash = store.hash(request.revision);
            hash.map(|hash| (hash, store))
        });
        let stopped = |e| Status::internal(format!("the hash was not computed: {e}"));
        let (hash, store) = hashed.await.map_err(stopped)?.map_err(status)?;
        let compact_revision = store.compacted();
        let mut answer = pb::HashKvResponse { header: None, hash, compact_revision };
        self.complete(&mut answer.header, term, &store);
        Ok(answer)
    }

    pub(super) async fn hash(&self) -> Answer<pb::HashResponse> {
        let answer = self.hash_kv(pb::HashKvRequest { revision: 0 }).await?;
        Ok(pb::HashResponse { header: answer.header, hash: answer.hash })
    }

    /// There is nothing to defragment: a compaction gives its memory back.
    pub(super) async fn defragment(&self) -> Answer<pb::DefragmentResponse> {
        self.view().await.map(|_| pb::DefragmentResponse { header: None })
    }

    /// The backup, of this server as it is, in pieces: written from a clone, by another thread, as
    /// fast as the client takes it.
    pub(super) async fn snapshot(&self) -> Answer<Pieces> {
        let (term, store) = self.state(true).await?;
        let mut header = None;
        self.complete(&mut header, term, &store);
        let (sender, pieces) = mpsc::channel(PIECES);
        let about = About::of(&store, self.node.cluster_id(), self.id.0);
        tokio::task::spawn_blocking(move || {
            let mut left = store.encoded_bytes();
            backup::write(&store, &about, &mut |blob| {
                left = left.saturating_sub(blob.len() as u64);
                let (header, blob) = (header.take(), blob.into());
                let piece = pb::SnapshotResponse { header, remaining_bytes: left, blob };
                sender.blocking_send(Ok(piece)).is_ok()
            });
        });
        Ok(Box::pin(ReceiverStream::new(pieces)))
    }
}

/// The pieces of a backup.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = Answer<pb::SnapshotResponse>> + Send>>;

type Reply<T> = Result<Response<T>, Status>;

#[async_trait]
impl Maintenance for App {
    type SnapshotStream = Pieces;

    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Reply<pb::AlarmResponse> {
        self.alarm(request.into_inner()).await.map(Response::new)
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Reply<pb::StatusResponse> {
        self.status().await.map(Response::new)
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Reply<pb::MoveLeaderResponse> {
        self.move_leader(request.into_inner()).await.map(Response::new)
    }

    async fn defragment(&self, _: Request<pb::DefragmentRequest>) -> Reply<pb::DefragmentResponse> {
        self.defragment().await.map(Response::new)
    }

    async fn hash(&self, _: Request<pb::HashRequest>) -> Reply<pb::HashResponse> {
        self.hash().await.map(Response::new)
    }

    async fn hash_kv(&self, request: Request<pb::HashKvRequest>) -> Reply<pb::HashKvResponse> {
        self.hash_kv(request.into_inner()).await.map(Response::new)
    }

    async fn snapshot(&self, _: Request<pb::SnapshotRequest>) -> Reply<Pieces> {
        self.snapshot().await.map(Response::new)
    }
}
