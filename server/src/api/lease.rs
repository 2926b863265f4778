//! Leases, over gRPC: grant, revoke, keep alive, time to live, list.

// A stream of signs of life has a task of its own.
#![allow(clippy::disallowed_methods)]

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Answer, App, failed, mismatch};
use crate::kv::{Command, MAX_LEASE_SECONDS};
use crate::node::{self, Question, Reply};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::lease_server::Lease;

/// Answers of a stream that wait for their client.
const STREAM_QUEUE: usize = 16;

impl App {
    pub(super) async fn lease_grant(
        &self,
        mut request: pb::LeaseGrantRequest,
    ) -> Answer<pb::LeaseGrantResponse> {
        if request.id == 0 {
            request.id = random_id()?;
        }
        // A lease must outlive the election of a leader. A time that is too long stays so, and is
        // refused where the log decides.
        let least = self.limits.min_lease_seconds.min(MAX_LEASE_SECONDS);
        request.ttl = request.ttl.max(least);
        match self.write(Command::LeaseGrant(request)).await? {
            crate::kv::Response::LeaseGrant(answer) => Ok(answer),
            other => Err(mismatch(&other)),
        }
    }

    pub(super) async fn lease_revoke(
        &self,
        request: pb::LeaseRevokeRequest,
    ) -> Answer<pb::LeaseRevokeResponse> {
        match self.write(Command::LeaseRevoke(request)).await? {
            crate::kv::Response::LeaseRevoke(answer) => Ok(answer),
            other => Err(mismatch(&other)),
        }
    }

    /// One sign of life. A lease that does not exist has 0 seconds.
    pub(super) async fn lease_keep_alive(
        &self,
        request: pb::LeaseKeepAliveRequest,
    ) -> Answer<pb::LeaseKeepAliveResponse> {
        // The revision is read first: a lease that was revoked at a revision must not be told
        // to live at a later one.
        let (term, store) = self.state(true).await?;
        self.permit(&store, |auth, who| auth.check_user(who))?;
        let mut answer = pb::LeaseKeepAliveResponse { header: None, id: request.id, ttl: 0 };
        self.complete(&mut answer.header, term, &store);
        drop(store);
        if let Some(left) = self.ask_lease(request.id, Question::KeepAlive).await? {
            answer.ttl = left;
        }
        Ok(answer)
    }

    pub(super) async fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Answer<pb::LeaseTimeToLiveResponse> {
        let (term, store) = self.state(false).await?;
        let mut answer =
            pb::LeaseTimeToLiveResponse { id: request.id, ttl: -1, ..Default::default() };
        self.complete(&mut answer.header, term, &store);
        self.permit(&store, |auth, who| auth.check_user(who))?;
        let Some(lease) = store.lease(request.id) else { return Ok(answer) };
        if request.keys {
            for key in lease.keys() {
                self.permit(&store, |auth, who| auth.check_read(who, key, b""))?;
            }
        }
        if let Some(left) = self.ask_lease(request.id, Question::Left).await? {
            (answer.ttl, answer.granted_ttl) = (left, lease.seconds());
            if request.keys {
                answer.keys = lease.keys().map(Bytes::copy_from_slice).collect();
            }
        }
        Ok(answer)
    }

    pub(super) async fn lease_leases(&self) -> Answer<pb::LeaseLeasesResponse> {
        let (term, store) = self.state(false).await?;
        self.permit(&store, |auth, who| auth.check_user(who))?;
        let leases = store.leases().map(|(id, _)| pb::LeaseStatus { id }).collect();
        let mut answer = pb::LeaseLeasesResponse { header: None, leases };
        self.complete(&mut answer.header, term, &store);
        Ok(answer)
    }

    /// Asks the leader; the answer is in whole seconds.
    async fn ask_lease(&self, id: i64, question: Question) -> Answer<Option<i64>> {
        match self.node.ask(node::Request::Lease(id, question)).await {
            Reply::Lease(_, left) => {
                Ok(left.map(|left| i64::try_from(left.as_secs()).unwrap_or(i64::MAX)))
            }
            Reply::Failed(failure) => Err(failed(failure)),
            _ => Err(Status::internal("an answer of another kind")),
        }
    }
}

/// An id for a lease whose client has no wish.
fn random_id() -> Answer<i64> {
    let random = getrandom::u64().map_err(|e| Status::internal(e.to_string()))?;
    Ok(((random >> 1) as i64).max(1))
}

type Grpc<T> = Result<Response<T>, Status>;
type Answers = Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

#[async_trait]
impl Lease for App {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Grpc<pb::LeaseGrantResponse> {
        self.lease_grant(request.into_inner()).await.map(Response::new)
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Grpc<pb::LeaseRevokeResponse> {
        self.lease_revoke(request.into_inner()).await.map(Response::new)
    }

    type LeaseKeepAliveStream = Answers;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Grpc<Answers> {
        let needs_leader = self.needs_leader(request.metadata());
        let stream = self.clone().keep_alive_stream(request.into_inner(), needs_leader);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Grpc<pb::LeaseTimeToLiveResponse> {
        self.lease_time_to_live(request.into_inner()).await.map(Response::new)
    }

    async fn lease_leases(
        &self,
        _: Request<pb::LeaseLeasesRequest>,
    ) -> Grpc<pb::LeaseLeasesResponse> {
        self.lease_leases().await.map(Response::new)
    }
}

impl App {
    /// Answers signs of life one after the other, until there are no more, one of them fails, or
    /// the client insists on a leader and there has been none for a while.
    pub(super) fn keep_alive_stream(
        self,
        requests: impl Stream<Item = Result<pb::LeaseKeepAliveRequest, Status>> + Send + 'static,
        needs_leader: bool,
    ) -> ReceiverStream<Result<pb::LeaseKeepAliveResponse, Status>> {
        let (answers, stream) = mpsc::channel(STREAM_QUEUE);
        let this = Arc::new(self);
        tokio::spawn(App::in_the_same_name(async move {
            let mut requests = Box::pin(requests);
            let serve = async {
                while let Some(request) = requests.next().await {
                    let answer = match request {
                        Ok(request) => this.lease_keep_alive(request).await,
                        Err(status) => Err(status),
                    };
                    let is_last = answer.is_err();
                    if answers.send(answer).await.is_err() || is_last {
                        return;
                    }
                }
            };
            tokio::select! {
                () = serve => {}
                () = answers.closed() => {}
                status = this.leader_lost(needs_leader) => drop(answers.send(Err(status)).await),
            }
        }));
        ReceiverStream::new(stream)
    }
}
