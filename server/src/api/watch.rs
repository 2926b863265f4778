//! Watches, over gRPC.

// A stream of watches has a task of its own.
#![allow(clippy::disallowed_methods)]

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{App, OVERHEAD_BYTES};
use crate::kv::auth::Auth;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_server::Watch;
use crate::watch::{Permitted, Session, channel};

pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

#[async_trait]
impl Watch for App {
    type WatchStream = Responses;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let needs_leader = self.needs_leader(request.metadata());
        Ok(Response::new(self.clone().watch_stream(request.into_inner(), needs_leader)))
    }
}

impl App {
    /// Serves watches to a client, whichever way it came in.
    pub(super) fn watch_stream(
        self,
        requests: impl Stream<Item = Result<pb::WatchRequest, Status>> + Send + 'static,
        needs_leader: bool,
    ) -> Responses {
        // One response waits while another is sent; everything else waits in the history.
        let (sender, responses) = channel();
        let max_bytes = self.limits.max_request_bytes + OVERHEAD_BYTES;
        let guard = self.clone();
        let permit = move |request: pb::WatchCreateRequest| -> Permitted {
            let guard = guard.clone();
            Box::pin(async move { guard.permit_watch(&request).await })
        };
        let session = Session::open(
            &self.node.watches,
            max_bytes,
            self.progress_interval,
            sender.clone(),
            Box::new(permit),
        );
        let (this, refusals) = (self.clone(), sender.clone());
        tokio::spawn(App::in_the_same_name(async move {
            // Guard: the node publishes its state with the next answer; without it a new watch would
            // begin at an old one, and be permitted by the users of an old one.
            match this.state(true).await {
                Ok(_) => session.serve(requests, this.leader_lost(needs_leader)).await,
                Err(status) => drop(refusals.send(Err(status)).await),
            }
        }));
        let responses = responses.map(move |told| {
            let term = self.node.watches.led().borrow().term;
            told.map(|mut response| {
                self.sign(&mut response.header, term);
                response
            })
        });
        Box::pin(responses)
    }

    /// Whether the user of a stream may watch those keys. A stream lives long, and its server may
    /// lag: where users count, or the client brings a name that this server does not know, the
    /// rules are those of the leader. Without a leader they are those known here.
    async fn permit_watch(&self, request: &pb::WatchCreateRequest) -> Result<(), Status> {
        let known = self.node.watches.auth();
        if (known.is_enabled() || self.may_be_behind())
            && let Ok((_, store)) = self.state(false).await
        {
            return self.check_watch(store.auth(), request);
        }
        self.check_watch(&known, request)
    }

    fn check_watch(&self, auth: &Auth, request: &pb::WatchCreateRequest) -> Result<(), Status> {
        let who = self.who(auth)?;
        let key = if request.key.is_empty() { &b"\0"[..] } else { &request.key };
        let checked = auth.check_read(who.as_ref(), key, &request.range_end);
        checked.map_err(|error| super::status(error.into()))
    }
}
