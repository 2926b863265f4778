//! The streaming half of the JSON twin, as etcd's gateway has it: requests are JSON values, one
//! after the other, in the body of a POST; each response is a line, `{"result": ...}`, and an
//! error is the last one, `{"error": ...}`.

// The body of a request is read by a task of its own.
#![allow(clippy::disallowed_methods)]

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::App;
use super::json::{http_status, refuse};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v3/watch", post(watch))
        .route("/v3/lease/keepalive", post(keep_alive))
        .route("/v3/maintenance/snapshot", post(snapshot))
}

async fn watch(State(app): State<Arc<App>>, body: Body) -> Response {
    lines((*app).clone().watch_stream(values(body), false))
}

async fn keep_alive(State(app): State<Arc<App>>, body: Body) -> Response {
    lines((*app).clone().keep_alive_stream(values(body), false))
}

async fn snapshot(State(app): State<Arc<App>>) -> Response {
    match app.snapshot().await {
        Ok(pieces) => lines(pieces),
        Err(status) => refuse(&status),
    }
}

/// The most bytes of a request in a stream.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// The JSON values in a body, each as soon as it is there.
fn values<T: DeserializeOwned + Send + 'static>(body: Body) -> ReceiverStream<Result<T, Status>> {
    let (sender, values) = mpsc::channel(1);
    tokio::spawn(async move {
        let (mut chunks, mut buffer) = (body.into_data_stream(), Vec::new());
        while let Some(chunk) = chunks.next().await {
            let found = match chunk {
                Ok(chunk) => take_values(&mut buffer, &chunk),
                Err(error) => vec![Err(Status::invalid_argument(error.to_string()))],
            };
            for value in found {
                let is_last = value.is_err();
                if sender.send(value).await.is_err() || is_last {
                    return;
                }
            }
        }
    });
    ReceiverStream::new(values)
}

/// Appends to the buffer, and takes the values out that are complete.
fn take_values<T: DeserializeOwned>(buffer: &mut Vec<u8>, chunk: &[u8]) -> Vec<Result<T, Status>> {
    buffer.extend_from_slice(chunk);
    let mut found = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(buffer).into_iter::<T>();
    let mut done = 0;
    while let Some(value) = values.next() {
        match value {
            Ok(value) => found.push(Ok(value)),
            // The rest comes with a later chunk.
            Err(error) if error.is_eof() => break,
            Err(error) => {
                found.push(Err(Status::invalid_argument(error.to_string())));
                break;
            }
        }
        done = values.byte_offset();
    }
    buffer.drain(..done);
    if buffer.len() > MAX_VALUE_BYTES {
        found.push(Err(Status::invalid_argument("a request is too large")));
    }
    found
}

/// Responses as lines of JSON.
fn lines<T: Serialize + Send + 'static>(
    responses: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Response {
    let lines = responses.map(|response| Ok::<_, Infallible>(line(response)));
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response()
}

fn line<T: Serialize>(response: Result<T, Status>) -> Bytes {
    let body = match response {
        Ok(response) => serde_json::json!({ "result": response }),
        Err(status) => {
            let http = http_status(status.code());
            serde_json::json!({ "error": {
                "grpc_code": status.code() as i32,
                "http_code": http.as_u16(),
                "message": status.message(),
                "http_status": http.canonical_reason(),
            }})
        }
    };
    format!("{body}\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_soon_as_they_are_complete() {
        let mut buffer = Vec::new();
        let mut take = |chunk: &str| {
            let values: Vec<Result<Vec<u8>, Status>> = take_values(&mut buffer, chunk.as_bytes());
            values
                .into_iter()
                .map(|value| value.map_err(|status| status.code()))
                .collect::<Vec<_>>()
        };
        assert_eq!(take("[1,2] [3"), [Ok(vec![1, 2])]);
        assert_eq!(take(""), []);
        assert_eq!(take("]\n[4]"), [Ok(vec![3]), Ok(vec![4])]);
        assert_eq!(take("x"), [Err(tonic::Code::InvalidArgument)]);
    }
}
