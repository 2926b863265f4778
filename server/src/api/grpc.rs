//! etcd's services over gRPC.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Request, Response, Status, async_trait};

use super::{App, OVERHEAD_BYTES};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_server::AuthServer;
use crate::proto::etcdserverpb::cluster_server::ClusterServer;
use crate::proto::etcdserverpb::kv_server::{Kv, KvServer};
use crate::proto::etcdserverpb::lease_server::LeaseServer;
use crate::proto::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::proto::etcdserverpb::watch_server::WatchServer;
use crate::proto::health::health_server::HealthServer;
use crate::proto::v3electionpb::election_server::ElectionServer;
use crate::proto::v3lockpb::lock_server::LockServer;

/// Where the services and their methods are written down.
const PROTOS: [&str; 4] = [
    include_str!("../../proto/etcdserverpb.proto"),
    include_str!("../../proto/health.proto"),
    include_str!("../../proto/v3electionpb.proto"),
    include_str!("../../proto/v3lockpb.proto"),
];

/// The services by their paths. A method that is not served has no path here, so that its name is
/// told to the client.
pub(super) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let max = app.limits.max_request_bytes + OVERHEAD_BYTES;
    let kv = KvServer::from_arc(app.clone()).max_decoding_message_size(max);
    let watch = WatchServer::from_arc(app.clone()).max_encoding_message_size(usize::MAX);
    let router = serve(Router::new(), &kv.max_encoding_message_size(usize::MAX));
    let router = serve(router, &watch);
    let router = serve(router, &AuthServer::from_arc(app.clone()));
    let router = serve(router, &LeaseServer::from_arc(app.clone()));
    let router = serve(router, &ClusterServer::from_arc(app.clone()));
    let router = serve(router, &MaintenanceServer::from_arc(app.clone()));
    let router = serve(router, &LockServer::from_arc(app.clone()));
    let router = serve(router, &ElectionServer::from_arc(app.clone()));
    serve(router, &HealthServer::from_arc(app.clone()))
}

fn serve<S>(router: Router<Arc<App>>, service: &S) -> Router<Arc<App>>
where
    S: Service<axum::extract::Request, Error = Infallible> + NamedService,
    S: Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    methods(S::NAME).fold(router, |router, method| {
        router.route_service(&format!("/{}/{method}", S::NAME), service.clone())
    })
}

/// The methods of a service, by its full name.
fn methods(service: &str) -> impl Iterator<Item = &'static str> {
    let (package, name) = service.rsplit_once('.').unwrap_or_default();
    let (package, name) = (format!("\npackage {package};"), format!("\nservice {name} {{"));
    let proto = PROTOS.into_iter().find(|proto| proto.contains(&package)).unwrap_or_default();
    let body = proto.split_once(name.as_str()).map_or("", |(_, after)| after);
    let body = body.split_once("\n}").map_or(body, |(body, _)| body);
    body.lines()
        .filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('('))
        .map(|(m, _)| m)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_in_their_files() {
        let found = |service| methods(service).collect::<Vec<_>>();
        assert_eq!(found("v3lockpb.Lock"), ["Lock", "Unlock"]);
        assert_eq!(found("etcdserverpb.Watch"), ["Watch"]);
        assert_eq!(found("grpc.health.v1.Health"), ["Check", "Watch"]);
        assert_eq!(found("v3electionpb.Election").len(), 5);
        assert_eq!(found("etcdserverpb.Auth").len(), 17);
        assert_eq!(found("etcdserverpb.None").len() + found("none").len(), 0);
    }
}
