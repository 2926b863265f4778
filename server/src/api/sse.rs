//! Watches as server-sent events: `GET /v1/KEY?watch=true`, and `/v1/?watch=true&prefix=P`.
//!
//! An event is `put` or `delete`, and its data the pair as JSON. The last event of a revision
//! has the revision as its id, so that a browser that reconnects (`Last-Event-ID`) goes on after
//! it, and no event of a revision is lost. `compacted` is the last event of a watch whose past is
//! gone.

use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio_stream::Stream;
use tonic::Status;

use super::App;
use super::pair::pair;
use super::watch::Responses;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::mvccpb::Event;

/// Tells what happens to the keys from `start_revision` on; from now on, if it is 0.
pub(super) fn watch(app: &App, (key, range_end): (Bytes, Bytes), start_revision: i64) -> Response {
    let create = pb::WatchCreateRequest {
        key,
        range_end,
        start_revision,
        ..pb::WatchCreateRequest::default()
    };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let responses = app.clone().watch_stream(tokio_stream::once(Ok(request)), false);
    let texts = Texts { responses, is_over: false };
    let kind = HeaderValue::from_static("text/event-stream");
    let fresh = HeaderValue::from_static("no-store");
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, fresh)];
    (headers, Body::from_stream(texts)).into_response()
}

/// Responses as text. The end follows the last one at once: the stream of responses stays open for
/// further requests, of which there are none here.
struct Texts {
    responses: Responses,
    is_over: bool,
}

impl Stream for Texts {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let response = ready!(self.responses.as_mut().poll_next(cx));
        self.is_over = response
            .as_ref()
            .is_none_or(|response| response.as_ref().map_or(true, |response| response.canceled));
        Poll::Ready(response.map(|response| Ok(Bytes::from(text(response)))))
    }
}

fn text(response: Result<pb::WatchResponse, Status>) -> String {
    let response = match response {
        Ok(response) => response,
        Err(status) => return format!("event: error\ndata: {}\n\n", status.message()),
    };
    if response.compact_revision != 0 {
        return format!("event: compacted\ndata: {}\n\n", response.compact_revision);
    }
    if response.canceled {
        return format!("event: error\ndata: {}\n\n", response.cancel_reason);
    }
    let revision = |event: &Event| event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
    let mut text = match response.created {
        // Something at once, so that a client sees that it is connected.
        true => {
            format!(": watching, at revision {}\n\n", response.header.unwrap_or_default().revision)
        }
        false => String::new(),
    };
    let mut events = response.events.iter().peekable();
    while let Some(event) = events.next() {
        let is_last = events.peek().is_none_or(|next| revision(next) != revision(event));
        if is_last {
            let _ = writeln!(text, "id: {}", revision(event));
        }
        let kind = if event.r#type == 0 { "put" } else { "delete" };
        let data = event.kv.as_ref().map(pair).unwrap_or_default();
        let _ = write!(text, "event: {kind}\ndata: {data}\n\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mvccpb::KeyValue;

    #[test]
    fn the_last_event_of_a_revision_has_its_id() {
        let event = |kind, key: &str, mod_revision| Event {
            r#type: kind,
            kv: Some(KeyValue {
                key: Bytes::from(key.to_owned()),
                mod_revision,
                ..Default::default()
            }),
            prev_kv: None,
        };
        let events = vec![event(0, "a", 5), event(1, "b", 5), event(0, "a", 6)];
        let text = text(Ok(pb::WatchResponse { events, ..Default::default() }));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("data")).collect();
        let wanted = ["event: put", "", "id: 5", "event: delete", "", "id: 6", "event: put", ""];
        assert_eq!(lines, wanted);
    }
}
