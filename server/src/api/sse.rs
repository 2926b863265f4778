//! Watches as server-sent events: `GET /v1/KEY?watch=true`, and `/v1/?watch=true&prefix=P`.
//!
//! An event is `put` or `delete`, and its data the pair as JSON. The last event of a revision
//! has the revision as its id, so that a browser that reconnects (`Last-Event-ID`) goes on after
//! it, and no event of a revision is lost. `compacted` is the last event of a watch whose past is
//! gone.

use std::convert::Infallible;
use std::fmt::Write;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::vec::IntoIter;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::Stream;
use tokio_util::sync::PollSemaphore;
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
    let texts = Texts::new(responses);
    let kind = HeaderValue::from_static("text/event-stream");
    let fresh = HeaderValue::from_static("no-store");
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, fresh)];
    (headers, Body::from_stream(texts)).into_response()
}

/// About how long a piece of text is; an event is not parted.
const PIECE_BYTES: usize = 8 << 10;
/// How many pieces of a watch may be under way. The connection itself would keep about 100 kB for a
/// client that does not read.
const PIECES: usize = 1;

/// Responses as text, in pieces. The end follows the last one at once: the stream of responses
/// stays open for further requests, of which there are none here.
struct Texts {
    responses: Responses,
    /// The events of the last response that are not yet text.
    events: Peekable<IntoIter<Event>>,
    pieces: PollSemaphore,
    is_over: bool,
}

impl Texts {
    fn new(responses: Responses) -> Texts {
        let events = Vec::new().into_iter().peekable();
        let pieces = PollSemaphore::new(Arc::new(Semaphore::new(PIECES)));
        Texts { responses, events, pieces, is_over: false }
    }

    /// Takes the events of a response; returns the text that comes before them.
    fn begin(&mut self, response: Result<pb::WatchResponse, Status>) -> String {
        self.is_over = response.as_ref().map_or(true, |response| response.canceled);
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
        self.events = response.events.into_iter().peekable();
        let revision = response.header.unwrap_or_default().revision;
        match response.created {
            // Something at once, so that a client sees that it is connected.
            true => format!(": watching, at revision {revision}\n\n"),
            false => String::new(),
        }
    }

    /// Adds the next events, as many as a piece has.
    fn add_events(&mut self, text: &mut String) {
        let revision = |event: &Event| event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
        while text.len() < PIECE_BYTES
            && let Some(event) = self.events.next()
        {
            let is_last = self.events.peek().is_none_or(|next| revision(next) != revision(&event));
            if is_last {
                let _ = writeln!(text, "id: {}", revision(&event));
            }
            let kind = if event.r#type == 0 { "put" } else { "delete" };
            let data = event.kv.as_ref().map(pair).unwrap_or_default();
            let _ = write!(text, "event: {kind}\ndata: {data}\n\n");
        }
    }
}

impl Stream for Texts {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(place) = ready!(self.pieces.poll_acquire(cx)) else {
            return Poll::Ready(None);
        };
        let mut text = String::new();
        if self.events.peek().is_none() {
            if self.is_over {
                return Poll::Ready(None);
            }
            let Some(response) = ready!(self.responses.as_mut().poll_next(cx)) else {
                return Poll::Ready(None);
            };
            text = self.begin(response);
        }
        self.add_events(&mut text);
        let piece = Piece { text: text.into_boxed_str(), _place: place };
        Poll::Ready(Some(Ok(Bytes::from_owner(piece))))
    }
}

/// A piece of text, which has its place until the connection has written it.
struct Piece {
    text: Box<str>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::proto::mvccpb::KeyValue;

    fn event(kind: i32, key: &str, mod_revision: i64) -> Event {
        let key = Bytes::from(key.to_owned());
        Event {
            r#type: kind,
            kv: Some(KeyValue { key, mod_revision, ..Default::default() }),
            prev_kv: None,
        }
    }

    fn texts(events: Vec<Event>) -> Texts {
        let response = pb::WatchResponse { events, ..Default::default() };
        Texts::new(Box::pin(tokio_stream::once(Ok(response))))
    }

    fn next(texts: &mut Texts) -> Poll<Option<Bytes>> {
        let next = Pin::new(texts).poll_next(&mut Context::from_waker(Waker::noop()));
        next.map(|next| next.map(|Ok(piece)| piece))
    }

    #[test]
    fn the_last_event_of_a_revision_has_its_id() {
        let events = vec![event(0, "a", 5), event(1, "b", 5), event(0, "a", 6)];
        let Poll::Ready(Some(piece)) = next(&mut texts(events)) else { panic!("no piece") };
        let text = std::str::from_utf8(&piece).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("data")).collect();
        let wanted = ["event: put", "", "id: 5", "event: delete", "", "id: 6", "event: put", ""];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn pieces_that_are_not_written_hold_back_the_next_ones() {
        let long = "k".repeat(PIECE_BYTES);
        let mut texts = texts((1..=4).map(|revision| event(0, &long, revision)).collect());
        let mut under_way: Vec<Bytes> = Vec::new();
        while let Poll::Ready(Some(piece)) = next(&mut texts) {
            assert!(piece.len() < 2 * PIECE_BYTES, "one event a piece");
            under_way.push(piece);
        }
        assert_eq!(under_way.len(), PIECES);
        under_way.remove(0);
        let Poll::Ready(Some(piece)) = next(&mut texts) else { panic!("no place was given back") };
        assert!(piece.starts_with(format!("id: {}\n", PIECES + 1).as_bytes()));
        assert!(next(&mut texts).is_pending());
        drop((under_way, piece));
        for revision in PIECES + 2..=4 {
            let Poll::Ready(Some(piece)) = next(&mut texts) else {
                panic!("no place was given back")
            };
            assert!(piece.starts_with(format!("id: {revision}\n").as_bytes()));
        }
        assert_eq!(next(&mut texts), Poll::Ready(None));
    }
}
