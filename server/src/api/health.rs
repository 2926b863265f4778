//! gRPC's own health service. As in etcd it says whether the process serves, and `/health` whether
//! there is a leader: a balancer must not cut off all servers because there is none.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, async_trait};

use super::{Answer, App};
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::Health;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};

type Told = Pin<Box<dyn Stream<Item = Answer<HealthCheckResponse>> + Send>>;

fn told(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

#[async_trait]
impl Health for App {
    type WatchStream = Told;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.is_empty() {
            true => Ok(Response::new(told(ServingStatus::Serving))),
            false => Err(Status::not_found("unknown service")),
        }
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Told>, Status> {
        let status = match request.get_ref().service.is_empty() {
            true => ServingStatus::Serving,
            false => ServingStatus::ServiceUnknown,
        };
        // It stays so for as long as the stream lives.
        let stream = tokio_stream::once(Ok(told(status))).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}
