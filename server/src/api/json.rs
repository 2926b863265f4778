//! The JSON twin of the services: a POST for each method, as etcd's gateway has it. `stream` has
//! the methods that stream.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Code, Status};
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::{App, BODY_PATIENCE};
use crate::proto::etcdserverpb as pb;

/// The paths of etcd 3.4 and later.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v3/kv/range", post(range))
        .route("/v3/kv/put", post(put))
        .route("/v3/kv/deleterange", post(delete_range))
        .route("/v3/kv/txn", post(txn))
        .route("/v3/kv/compaction", post(compact))
        .route("/v3/lease/grant", post(lease_grant))
        .route("/v3/lease/revoke", post(lease_revoke))
        .route("/v3/kv/lease/revoke", post(lease_revoke))
        .route("/v3/lease/timetolive", post(lease_time_to_live))
        .route("/v3/kv/lease/timetolive", post(lease_time_to_live))
        .route("/v3/lease/leases", post(lease_leases))
        .route("/v3/kv/lease/leases", post(lease_leases))
        .route("/v3/cluster/member/list", post(member_list))
        .route("/v3/cluster/member/add", post(member_add))
        .route("/v3/cluster/member/remove", post(member_remove))
        .route("/v3/cluster/member/update", post(member_update))
        .route("/v3/cluster/member/promote", post(member_promote))
        .route("/v3/maintenance/transfer-leadership", post(move_leader))
        .route("/v3/maintenance/status", post(status))
        .route("/v3/maintenance/alarm", post(alarm))
        .route("/v3/maintenance/defragment", post(defragment))
        .route("/v3/maintenance/hash", post(hash_kv))
        // Base64 is a third longer than its bytes; the store knows the real limit.
        .layer(DefaultBodyLimit::max(8 << 20))
        .layer(RequestBodyTimeoutLayer::new(BODY_PATIENCE))
}

type Here = State<Arc<App>>;

async fn range(State(app): Here, body: Bytes) -> Response {
    answer(async { app.range(parse(&body)?).await }.await)
}

async fn put(State(app): Here, body: Bytes) -> Response {
    answer(async { app.put(parse(&body)?).await }.await)
}

async fn delete_range(State(app): Here, body: Bytes) -> Response {
    answer(async { app.delete_range(parse(&body)?).await }.await)
}

async fn txn(State(app): Here, body: Bytes) -> Response {
    answer(async { app.txn(parse(&body)?).await }.await)
}

async fn compact(State(app): Here, body: Bytes) -> Response {
    answer(async { app.compact(parse(&body)?).await }.await)
}

async fn lease_grant(State(app): Here, body: Bytes) -> Response {
    answer(async { app.lease_grant(parse(&body)?).await }.await)
}

async fn lease_revoke(State(app): Here, body: Bytes) -> Response {
    answer(async { app.lease_revoke(parse(&body)?).await }.await)
}

async fn lease_time_to_live(State(app): Here, body: Bytes) -> Response {
    answer(async { app.lease_time_to_live(parse(&body)?).await }.await)
}

async fn lease_leases(State(app): Here, body: Bytes) -> Response {
    let leases = async {
        parse::<pb::LeaseLeasesRequest>(&body).map(|_| ())?;
        app.lease_leases().await
    };
    answer(leases.await)
}

async fn member_list(State(app): Here, body: Bytes) -> Response {
    answer(async { app.member_list(parse(&body)?).await }.await)
}

async fn alarm(State(app): Here, body: Bytes) -> Response {
    answer(async { app.alarm(parse(&body)?).await }.await)
}

async fn hash_kv(State(app): Here, body: Bytes) -> Response {
    answer(async { app.hash_kv(parse(&body)?).await }.await)
}

async fn defragment(State(app): Here, body: Bytes) -> Response {
    let done = async {
        parse::<pb::DefragmentRequest>(&body).map(|_| ())?;
        app.defragment().await
    };
    answer(done.await)
}

async fn member_add(State(app): Here, body: Bytes) -> Response {
    answer(async { app.member_add(parse(&body)?).await }.await)
}

async fn member_remove(State(app): Here, body: Bytes) -> Response {
    answer(async { app.member_remove(parse(&body)?).await }.await)
}

async fn member_update(State(app): Here, body: Bytes) -> Response {
    answer(async { app.member_update(parse(&body)?).await }.await)
}

async fn member_promote(State(app): Here, body: Bytes) -> Response {
    answer(async { app.member_promote(parse(&body)?).await }.await)
}

async fn move_leader(State(app): Here, body: Bytes) -> Response {
    answer(async { app.move_leader(parse(&body)?).await }.await)
}

async fn status(State(app): Here, body: Bytes) -> Response {
    answer(
        async {
            parse::<pb::StatusRequest>(&body).map(|_| ())?;
            app.status().await
        }
        .await,
    )
}

pub(super) fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Status> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|e| Status::invalid_argument(e.to_string()))
}

pub(super) fn answer<T: Serialize>(result: Result<T, Status>) -> Response {
    match result
        .and_then(|answer| serde_json::to_vec(&answer).map_err(|e| Status::internal(e.to_string())))
    {
        Ok(text) => json(StatusCode::OK, text),
        Err(status) => refuse(&status),
    }
}

/// A refusal, in the shape of etcd's gateway.
pub(super) fn refuse(status: &Status) -> Response {
    let message = status.message();
    let refusal = Refusal { error: message, message, code: status.code() as i32 };
    match serde_json::to_vec(&refusal) {
        Ok(text) => json(http_status(status.code()), text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// In etcd's order, for people and programs that print it.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    message: &'a str,
    code: i32,
}

pub(super) fn json(status: StatusCode, text: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, kind)], text).into_response()
}

/// The status of HTTP that etcd's gateway gives for a code of gRPC.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
