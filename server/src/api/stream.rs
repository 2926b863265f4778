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
        let (mut chunks, mut values) = (body.into_data_stream(), Values::default());
        while let Some(chunk) = chunks.next().await {
            let found = match chunk {
                Ok(chunk) => values.take(&chunk),
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

/// JSON values that come in pieces. Each byte is looked at once, however small the pieces are, and
/// once more when its value is complete.
#[derive(Debug, Default)]
struct Values {
    buffer: Vec<u8>,
    /// How much of the buffer was looked at.
    seen: usize,
    /// Brackets and braces that are open.
    depth: usize,
    is_string: bool,
    is_escaped: bool,
}

impl Values {
    /// Appends to the buffer, and takes the values out that are complete.
    fn take<T: DeserializeOwned>(&mut self, chunk: &[u8]) -> Vec<Result<T, Status>> {
        self.buffer.extend_from_slice(chunk);
        let (mut found, mut begin) = (Vec::new(), 0);
        while let Some(byte) = self.buffer.get(self.seen).copied() {
            self.seen += 1;
            if self.ends_with(byte) {
                let value = serde_json::from_slice(&self.buffer[begin..self.seen]);
                found.push(value.map_err(|e| Status::invalid_argument(e.to_string())));
                begin = self.seen;
            }
        }
        self.buffer.drain(..begin);
        self.seen -= begin;
        if self.buffer.len() > MAX_VALUE_BYTES {
            found.push(Err(Status::invalid_argument("a request is too large")));
        }
        found
    }

    /// Whether a value ends with this byte. A word that is not JSON counts as a value, to be refused.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.is_string {
            let (was_escaped, is_end) = (self.is_escaped, byte == b'"' && !self.is_escaped);
            self.is_escaped = byte == b'\\' && !was_escaped;
            self.is_string = !is_end;
            return is_end && self.depth == 0;
        }
        match byte {
            b'"' => self.is_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            byte => return self.depth == 0 && !byte.is_ascii_whitespace(),
        }
        false
    }
}

/// Responses as lines of JSON.
pub(super) fn lines<T: Serialize + Send + 'static>(
    responses: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Response {
    let lines = responses.map(|response| Ok::<_, Infallible>(line(response)));
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response()
}

fn line<T: Serialize>(response: Result<T, Status>) -> Bytes {
    let line = match &response {
        Ok(response) => Line::Result(response),
        Err(status) => {
            let http = http_status(status.code());
            Line::Error(Refusal {
                grpc_code: status.code() as i32,
                http_code: http.as_u16(),
                message: status.message(),
                http_status: http.canonical_reason(),
            })
        }
    };
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// A line of an answer, with etcd's names in etcd's order.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a, T> {
    Result(&'a T),
    Error(Refusal<'a>),
}

#[derive(Serialize)]
struct Refusal<'a> {
    grpc_code: i32,
    http_code: u16,
    message: &'a str,
    http_status: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_soon_as_they_are_complete() {
        let mut values = Values::default();
        let mut take = |chunk: &str| {
            let values: Vec<Result<Vec<u8>, Status>> = values.take(chunk.as_bytes());
            values
                .into_iter()
                .map(|value| value.map_err(|status| status.code()))
                .collect::<Vec<_>>()
        };
        assert_eq!(take("[1,2] [3"), [Ok(vec![1, 2])]);
        assert_eq!(take(""), []);
        assert_eq!(take("]\n[4]"), [Ok(vec![3]), Ok(vec![4])]);
        assert_eq!(take("x"), [Err(tonic::Code::InvalidArgument)]);
        assert_eq!(take("]"), [Err(tonic::Code::InvalidArgument)]);
        assert_eq!(take(" \n[6]"), [Ok(vec![6])]);
    }

    #[test]
    fn brackets_in_strings_end_nothing_and_small_pieces_cost_no_more() {
        let text = format!(r#"{{"a": "}}]\\\"{}"}} {{"b": []}}"#, "}".repeat(200_000));
        let (mut values, mut found) = (Values::default(), Vec::new());
        for byte in text.as_bytes() {
            let (seen, count) = (values.seen, found.len());
            found.extend(values.take::<serde_json::Value>(&[*byte]));
            // It looks at the new byte alone: to parse all again would be twenty billion steps.
            let looked = if found.len() > count { 0 } else { seen + 1 };
            assert_eq!((values.seen, values.buffer.len()), (looked, looked));
        }
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].as_ref().unwrap()["a"].as_str().unwrap().len(), 200_004);
    }
}
