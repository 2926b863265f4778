//! Plain REST: a key is a path, a value is a body, and both are any bytes.
//!
//! ```text
//! GET    /v1/KEY                   200 and the value, or 404
//! PUT    /v1/KEY                   201 if the key is new, else 200
//! DELETE /v1/KEY                   200
//! GET    /v1/?prefix=P&limit=N     200 and a list, as JSON
//! GET    /v1/KEY?watch=true        200 and changes as server-sent events; of a prefix, too
//! ```
//!
//! `ETag` is the revision of the last change, and `If-Match: "N"` or `If-None-Match: *`
//! make a change depend on it (412 if it does not hold). Bytes of a key that cannot stand
//! in a path are percent-encoded. Reads are linearizable, unless
//! `?consistency=serializable` asks for this server's own state.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tonic::Status;
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::json::{http_status, json};
use super::pair::pair;
use super::{App, BODY_PATIENCE, OVERHEAD_BYTES, sse};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;

const PREFIX: &str = "/v1/";

/// One path for all keys, and one for lists.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/", get(list))
        .route("/v1/{*key}", get(read).put(write).delete(delete))
        .layer(DefaultBodyLimit::max(2 * OVERHEAD_BYTES + (3 << 19)))
        .layer(RequestBodyTimeoutLayer::new(BODY_PATIENCE))
}

type Here = State<Arc<App>>;

/// The bytes of the key in a path.
fn key_of(uri: &Uri) -> Bytes {
    decode(uri.path().strip_prefix(PREFIX).unwrap_or_default().as_bytes())
}

/// Undoes percent-encoding; a `%` that begins none stands for itself.
fn decode(text: &[u8]) -> Bytes {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    bytes.into()
}

/// The value of a parameter of the query.
fn parameter(uri: &Uri, name: &str) -> Option<Bytes> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(value.as_bytes()))
}

/// Whether the answer may come from this server's own state.
fn is_local(uri: &Uri) -> Result<bool, Status> {
    match parameter(uri, "consistency").as_deref() {
        None | Some(b"linearizable") => Ok(false),
        Some(b"serializable") => Ok(true),
        Some(_) => Err(Status::invalid_argument("consistency is linearizable or serializable")),
    }
}

/// Whether changes are asked for, and from which revision on; the header is what browsers
/// send when they connect again.
fn watches_from(uri: &Uri, headers: &HeaderMap) -> Result<Option<i64>, Status> {
    if parameter(uri, "watch").as_deref() != Some(b"true") {
        return Ok(None);
    }
    let wrong = || Status::invalid_argument("revision and Last-Event-ID are numbers");
    let number = |text: &[u8]| -> Result<i64, Status> {
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
    };
    match (headers.get("last-event-id"), parameter(uri, "revision")) {
        (Some(last), _) => number(last.as_bytes()).map(|last| Some(last.saturating_add(1))),
        (None, Some(revision)) => number(&revision).map(Some),
        (None, None) => Ok(Some(0)),
    }
}

async fn read(State(app): Here, uri: Uri, headers: HeaderMap) -> Response {
    match watches_from(&uri, &headers) {
        Ok(None) => {}
        Ok(Some(revision)) => return sse::watch(&app, (key_of(&uri), Bytes::new()), revision),
        Err(status) => return refuse(&status),
    }
    let get = async {
        let request = pb::RangeRequest {
            key: key_of(&uri),
            serializable: is_local(&uri)?,
            ..pb::RangeRequest::default()
        };
        app.range(request).await
    };
    match get.await {
        Ok(answer) => match answer.kvs.into_iter().next() {
            Some(pair) => {
                let kind = "application/octet-stream".to_owned();
                let headers = [(ETAG, tag(pair.mod_revision)), (CONTENT_TYPE, kind)];
                (headers, pair.value).into_response()
            }
            None => (StatusCode::NOT_FOUND, "no such key\n").into_response(),
        },
        Err(status) => refuse(&status),
    }
}

async fn write(State(app): Here, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let key = key_of(&uri);
    let put = pb::PutRequest {
        key: key.clone(),
        value: body,
        prev_kv: true,
        ..pb::PutRequest::default()
    };
    let done = match condition(&headers) {
        Ok(None) => app.put(put).await.map(Some),
        Ok(Some(wanted)) => {
            let outcome = conditional(&app, key, wanted, Request::RequestPut(put)).await;
            outcome.map(|response| match response {
                Some(pb::response_op::Response::ResponsePut(put)) => Some(put),
                _ => None,
            })
        }
        Err(status) => Err(status),
    };
    match done {
        Ok(Some(put)) => {
            let is_new = put.prev_kv.is_none();
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            let revision = put.header.map_or(0, |header| header.revision);
            (status, [(ETAG, tag(revision))]).into_response()
        }
        Ok(None) => unmet(),
        Err(status) => refuse(&status),
    }
}

async fn delete(State(app): Here, uri: Uri, headers: HeaderMap) -> Response {
    let key = key_of(&uri);
    let request = pb::DeleteRangeRequest { key: key.clone(), ..Default::default() };
    let wanted = match condition(&headers) {
        Ok(None) => {
            return match app.delete_range(request).await {
                Ok(_) => StatusCode::OK.into_response(),
                Err(status) => refuse(&status),
            };
        }
        Ok(Some(wanted)) => wanted,
        Err(status) => return refuse(&status),
    };
    let outcome = conditional(&app, key.clone(), wanted, Request::RequestDeleteRange(request));
    match outcome.await {
        Ok(Some(_)) => StatusCode::OK.into_response(),
        Ok(None) => {
            let range = pb::RangeRequest { key, count_only: true, ..Default::default() };
            match app.range(range).await {
                Ok(found) if found.count == 0 => {
                    (StatusCode::NOT_FOUND, "no such key\n").into_response()
                }
                Ok(_) => unmet(),
                Err(status) => refuse(&status),
            }
        }
        Err(status) => refuse(&status),
    }
}

/// The revision that a change depends on, if it does; 0 is a key that does not exist.
fn condition(headers: &HeaderMap) -> Result<Option<i64>, Status> {
    if let Some(value) = headers.get(IF_NONE_MATCH) {
        return match value.as_bytes() {
            b"*" => Ok(Some(0)),
            _ => Err(Status::invalid_argument("If-None-Match is * or absent")),
        };
    }
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    let revision = text.parse().ok().filter(|revision| *revision > 0);
    let wrong = || Status::invalid_argument("If-Match is a revision, as ETag gives it");
    revision.map(Some).ok_or_else(wrong)
}

/// Carries out `op` if `key` was last changed in `revision`; `None` if it was not.
async fn conditional(
    app: &App,
    key: Bytes,
    revision: i64,
    op: Request,
) -> Result<Option<pb::response_op::Response>, Status> {
    let compare = pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key,
        target_union: Some(TargetUnion::ModRevision(revision)),
        range_end: Bytes::new(),
    };
    let success = vec![pb::RequestOp { request: Some(op) }];
    let txn = pb::TxnRequest { compare: vec![compare], success, failure: Vec::new() };
    let header_and_more = app.txn(txn).await?;
    let response = header_and_more.responses.into_iter().next();
    Ok(response.and_then(|op| op.response))
}

async fn list(State(app): Here, uri: Uri, headers: HeaderMap) -> Response {
    let prefix = parameter(&uri, "prefix").unwrap_or_default();
    match watches_from(&uri, &headers) {
        Ok(None) => {}
        Ok(Some(revision)) => return sse::watch(&app, prefix_range(&prefix), revision),
        Err(status) => return refuse(&status),
    }
    let found = async {
        let limit = parameter(&uri, "limit").unwrap_or_else(|| Bytes::from_static(b"1000"));
        let limit = std::str::from_utf8(&limit).ok().and_then(|text| text.parse().ok());
        let limit = limit.ok_or_else(|| Status::invalid_argument("limit is a number"))?;
        let (key, range_end) = prefix_range(&prefix);
        let serializable = is_local(&uri)?;
        let request =
            pb::RangeRequest { key, range_end, limit, serializable, ..Default::default() };
        app.range(request).await
    };
    match found.await {
        Ok(found) => {
            let revision = found.header.map_or(0, |header| header.revision);
            let pairs: Vec<_> = found.kvs.iter().map(pair).collect();
            let body = serde_json::json!({
                "revision": revision, "count": found.count, "more": found.more, "keys": pairs,
            });
            json(StatusCode::OK, format!("{body}\n").into_bytes())
        }
        Err(status) => refuse(&status),
    }
}

/// The range of all keys that begin with `prefix`.
fn prefix_range(prefix: &[u8]) -> (Bytes, Bytes) {
    let all = Bytes::from_static(&[0]);
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return (Bytes::copy_from_slice(prefix), end.into());
        }
    }
    let begin = if prefix.is_empty() { all.clone() } else { Bytes::copy_from_slice(prefix) };
    (begin, all)
}

fn tag(revision: i64) -> String {
    format!("\"{revision}\"")
}

fn unmet() -> Response {
    (StatusCode::PRECONDITION_FAILED, "the key has changed\n").into_response()
}

fn refuse(status: &Status) -> Response {
    let code = match status.message() {
        "etcdserver: request is too large" => StatusCode::PAYLOAD_TOO_LARGE,
        _ => http_status(status.code()),
    };
    (code, format!("{}\n", status.message())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_can_be_a_key() {
        assert_eq!(&decode(b"a/b%20c%00%ff%zz%")[..], b"a/b c\0\xff%zz%");
        let uri = Uri::from_static("/v1/?prefix=a%2Fb&limit=7");
        assert_eq!(parameter(&uri, "prefix").as_deref(), Some(&b"a/b"[..]));
        assert_eq!(parameter(&uri, "limit").as_deref(), Some(&b"7"[..]));
        assert_eq!(parameter(&uri, "other"), None);
    }

    #[test]
    fn a_prefix_ends_before_the_first_key_without_it() {
        let range = |prefix: &[u8]| {
            let (key, end) = prefix_range(prefix);
            (key.to_vec(), end.to_vec())
        };
        assert_eq!(range(b"ab"), (b"ab".to_vec(), b"ac".to_vec()));
        assert_eq!(range(b"a\xff"), (b"a\xff".to_vec(), b"b".to_vec()));
        assert_eq!(range(b"\xff"), (b"\xff".to_vec(), b"\0".to_vec()));
        assert_eq!(range(b""), (b"\0".to_vec(), b"\0".to_vec()));
    }
}
