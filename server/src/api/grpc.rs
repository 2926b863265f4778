//! etcd's services over gRPC.

use std::sync::Arc;

use axum::Router;
use tonic::{Request, Response, Status, async_trait};

use super::{App, OVERHEAD_BYTES};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_server::AuthServer;
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::etcdserverpb::kv_server::{Kv, KvServer};
use crate::proto::etcdserverpb::lease_server::LeaseServer;
use crate::proto::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::proto::etcdserverpb::watch_server::WatchServer;

/// The services by their paths.
pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let max = app.limits.max_request_bytes + OVERHEAD_BYTES;
    let kv = KvServer::from_arc(app.clone()).max_decoding_message_size(max);
    let watch = WatchServer::from_arc(app.clone()).max_encoding_message_size(usize::MAX);
    Router::new()
        .route_service("/etcdserverpb.KV/{method}", kv.max_encoding_message_size(usize::MAX))
        .route_service("/etcdserverpb.Watch/{method}", watch)
        .route_service("/etcdserverpb.Auth/{method}", AuthServer::from_arc(app.clone()))
        .route_service("/etcdserverpb.Lease/{method}", LeaseServer::from_arc(app.clone()))
        .route_service("/etcdserverpb.Cluster/{method}", ClusterServer::from_arc(app.clone()))
        .route_service(
            "/etcdserverpb.Maintenance/{method}",
            MaintenanceServer::from_arc(app.clone()),
        )
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl Kv for App {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Answer<pb::RangeResponse> {
        self.range(request.into_inner()).await.map(Response::new)
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        self.put(request.into_inner()).await.map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Answer<pb::DeleteRangeResponse> {
        self.delete_range(request.into_inner()).await.map(Response::new)
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Answer<pb::TxnResponse> {
        self.txn(request.into_inner()).await.map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Answer<pb::CompactionResponse> {
        self.compact(request.into_inner()).await.map(Response::new)
    }
}
