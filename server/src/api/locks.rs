//! etcd's services for locks and elections, over the queues of `queue`.

// An observer of an election has a task.
#![allow(clippy::disallowed_methods)]

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, async_trait};

use super::json::{answer, parse, refuse};
use super::queue::{created_at, op, revision};
use super::stream::lines;
use super::{Answer, App};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request as Op;
use crate::proto::mvccpb::event::EventType;
use crate::proto::v3electionpb::election_server::Election;
use crate::proto::v3electionpb::{self as election, LeaderKey};
use crate::proto::v3lockpb as lock;
use crate::proto::v3lockpb::lock_server::Lock;

type Grpc<T> = Result<Response<T>, Status>;
type Leaders = Pin<Box<dyn Stream<Item = Answer<election::LeaderResponse>> + Send>>;

impl App {
    async fn lock(&self, request: lock::LockRequest) -> Answer<lock::LockResponse> {
        let place =
            self.line_up(&request.name, request.lease, Bytes::new()).await.map_err(foreign)?;
        Ok(lock::LockResponse { header: place.header, key: place.key })
    }

    async fn unlock(&self, request: lock::UnlockRequest) -> Answer<lock::UnlockResponse> {
        Ok(lock::UnlockResponse { header: self.leave(request.key).await.map_err(foreign)? })
    }

    async fn campaign(
        &self,
        request: election::CampaignRequest,
    ) -> Answer<election::CampaignResponse> {
        let election::CampaignRequest { name, lease, value } = request;
        let place = self.line_up(&name, lease, value).await.map_err(foreign)?;
        let leader = LeaderKey { name, key: place.key, rev: place.revision, lease: place.lease };
        Ok(election::CampaignResponse { header: place.header, leader: Some(leader) })
    }

    /// Carries out an operation if this leader has not been replaced.
    async fn as_leader(
        &self,
        leader: &LeaderKey,
        operation: Op,
    ) -> Answer<(bool, Option<pb::ResponseHeader>)> {
        let request = pb::TxnRequest {
            compare: vec![created_at(&leader.key, leader.rev)],
            success: vec![op(operation)],
            failure: Vec::new(),
        };
        let done = self.txn(request).await.map_err(foreign)?;
        Ok((done.succeeded, done.header))
    }

    async fn proclaim(
        &self,
        request: election::ProclaimRequest,
    ) -> Answer<election::ProclaimResponse> {
        let leader = request.leader.ok_or_else(no_leader_key)?;
        let put = pb::PutRequest {
            key: leader.key.clone(),
            value: request.value,
            lease: leader.lease,
            ..Default::default()
        };
        match self.as_leader(&leader, Op::RequestPut(put)).await? {
            (true, header) => Ok(election::ProclaimResponse { header }),
            (false, _) => Err(Status::unknown("election: not leader")),
        }
    }

    async fn resign(&self, request: election::ResignRequest) -> Answer<election::ResignResponse> {
        let leader = request.leader.ok_or_else(no_leader_key)?;
        let delete = pb::DeleteRangeRequest { key: leader.key.clone(), ..Default::default() };
        let (_, header) = self.as_leader(&leader, Op::RequestDeleteRange(delete)).await?;
        Ok(election::ResignResponse { header })
    }

    async fn leader(&self, request: election::LeaderRequest) -> Answer<election::LeaderResponse> {
        match self.first_in_line(&request.name).await.map_err(foreign)? {
            (header, Some(kv)) => Ok(election::LeaderResponse { header, kv: Some(kv) }),
            (_, None) => Err(Status::unknown("election: no leader")),
        }
    }

    /// Each leader and each of its proclamations, until the client has enough.
    fn observe(&self, request: election::LeaderRequest) -> Leaders {
        let (sender, leaders) = mpsc::channel(1);
        let app = self.clone();
        tokio::spawn(App::in_the_same_name(async move {
            tokio::select! {
                told = app.tell_leaders(&request.name, &sender) => {
                    if let Err(status) = told {
                        let _ = sender.send(Err(status)).await;
                    }
                }
                () = sender.closed() => {}
            }
        }));
        Box::pin(ReceiverStream::new(leaders))
    }

    async fn tell_leaders(
        &self,
        name: &[u8],
        sender: &mpsc::Sender<Answer<election::LeaderResponse>>,
    ) -> Answer<()> {
        let mut last = 0;
        loop {
            let (header, found) = self.first_in_line(name).await?;
            let after = revision(&header) + 1;
            let Some(kv) = found else {
                self.wait_for_candidate(name, after).await?;
                continue;
            };
            let key = kv.key.clone();
            // Two rounds may see the same proclamation.
            if kv.mod_revision > last {
                last = kv.mod_revision;
                let told = election::LeaderResponse { header, kv: Some(kv) };
                if sender.send(Ok(told)).await.is_err() {
                    return Ok(());
                }
            }
            let mut watch = self.watch_keys(pb::WatchCreateRequest {
                key,
                start_revision: after,
                ..Default::default()
            });
            'reign: while let Some(told) = watch.next().await {
                let told = told?;
                if told.canceled {
                    break;
                }
                for event in told.events {
                    if event.r#type == EventType::Delete as i32 {
                        break 'reign;
                    }
                    let Some(kv) = event.kv else { continue };
                    last = kv.mod_revision;
                    let told = election::LeaderResponse { header: told.header, kv: Some(kv) };
                    if sender.send(Ok(told)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// A refusal as etcd tells it here. Its services for locks and elections are clients of the others,
/// and pass a refusal on as an error of an unknown kind, with the same words. Where a request may
/// be repeated the kind stays.
fn foreign(status: Status) -> Status {
    match status.code() {
        Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            Status::unknown(status.message())
        }
        _ => status,
    }
}

fn no_leader_key() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

#[async_trait]
impl Lock for App {
    async fn lock(&self, request: Request<lock::LockRequest>) -> Grpc<lock::LockResponse> {
        self.lock(request.into_inner()).await.map(Response::new)
    }

    async fn unlock(&self, request: Request<lock::UnlockRequest>) -> Grpc<lock::UnlockResponse> {
        self.unlock(request.into_inner()).await.map(Response::new)
    }
}

#[async_trait]
impl Election for App {
    type ObserveStream = Leaders;

    async fn campaign(
        &self,
        request: Request<election::CampaignRequest>,
    ) -> Grpc<election::CampaignResponse> {
        self.campaign(request.into_inner()).await.map(Response::new)
    }

    async fn proclaim(
        &self,
        request: Request<election::ProclaimRequest>,
    ) -> Grpc<election::ProclaimResponse> {
        self.proclaim(request.into_inner()).await.map(Response::new)
    }

    async fn leader(
        &self,
        request: Request<election::LeaderRequest>,
    ) -> Grpc<election::LeaderResponse> {
        self.leader(request.into_inner()).await.map(Response::new)
    }

    async fn observe(&self, request: Request<election::LeaderRequest>) -> Grpc<Leaders> {
        Ok(Response::new(self.observe(request.into_inner())))
    }

    async fn resign(
        &self,
        request: Request<election::ResignRequest>,
    ) -> Grpc<election::ResignResponse> {
        self.resign(request.into_inner()).await.map(Response::new)
    }
}

type Here = State<Arc<App>>;
type Page = axum::response::Response;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v3/lock/lock", post(post_lock))
        .route("/v3/lock/unlock", post(post_unlock))
        .route("/v3/election/campaign", post(post_campaign))
        .route("/v3/election/proclaim", post(post_proclaim))
        .route("/v3/election/leader", post(post_leader))
        .route("/v3/election/observe", post(post_observe))
        .route("/v3/election/resign", post(post_resign))
}

async fn post_lock(State(app): Here, body: Body) -> Page {
    answer(async { app.lock(parse(&body)?).await }.await)
}

async fn post_unlock(State(app): Here, body: Body) -> Page {
    answer(async { app.unlock(parse(&body)?).await }.await)
}

async fn post_campaign(State(app): Here, body: Body) -> Page {
    answer(async { app.campaign(parse(&body)?).await }.await)
}

async fn post_proclaim(State(app): Here, body: Body) -> Page {
    answer(async { app.proclaim(parse(&body)?).await }.await)
}

async fn post_leader(State(app): Here, body: Body) -> Page {
    answer(async { app.leader(parse(&body)?).await }.await)
}

async fn post_observe(State(app): Here, body: Body) -> Page {
    match parse(&body) {
        Ok(request) => lines(app.observe(request)),
        Err(status) => refuse(&status),
    }
}

async fn post_resign(State(app): Here, body: Body) -> Page {
    answer(async { app.resign(parse(&body)?).await }.await)
}
