//! Watches of the simulation: the hub and the streams of a real server, asked piece by piece.
//!
//! A `watch` request names the keys and the revision to begin with, 0 being from now on. It is
//! answered with the next events, or, if there are none for a while, with how far the watch is.
//! The stream lives on, and is continued if the next request of its client begins where the last
//! answer ended; otherwise another one is begun. The hub looks at new revisions in some turns, and
//! not in all, as the one of a real server does.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use seaworthy::message::{Body, ErrorCode, NodeId, Request as Asker, RpcError};
use seaworthy::node::Context;
use seaworthy::time::Time;
use serde_json::{Value, json};

use super::next::{field, refuse};
use crate::kv::Store;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::Event;
use crate::watch::{Hub, Stream, WatcherId};

/// The type of a request.
pub(super) const WATCH: &str = "watch";
/// An answer without events comes after this long.
pub(super) const PATIENCE: Duration = Duration::from_millis(800);
/// The id of a stream's one watch.
const ID: i64 = 1;
/// A piece of the history is this many versions: few, so that a watch is read in pieces at all.
const PIECE_VERSIONS: usize = 3;

/// The watches of a server.
#[derive(Default)]
pub(super) struct Watches {
    hub: Hub,
    streams: BTreeMap<NodeId, Watching>,
    next_stream: u64,
}

/// A client's stream.
struct Watching {
    number: u64,
    keys: String,
    stream: Stream,
    /// The marks of the hub that the stream has not taken: it does while a request waits.
    marks: Vec<(i64, i64)>,
    /// The first revision that was not told of.
    next: i64,
    /// The request that waits, and until when.
    waiting: Option<(Asker, Time)>,
}

impl Watches {
    /// Takes up a request.
    ///
    /// # Errors
    /// If it is malformed.
    pub(super) fn ask(
        &mut self,
        now: Time,
        asker: Asker,
        body: &Body,
        store: &Store,
    ) -> Result<(), RpcError> {
        let malformed = || refuse(ErrorCode::MALFORMED_REQUEST, "keys are a prefix, from a number");
        let from = field(body, "from")?.as_i64().ok_or_else(malformed)?;
        let keys = field(body, "keys")?.as_str().ok_or_else(malformed)?.to_owned();
        let client = asker.src.clone();
        let continues = self
            .streams
            .get(&client)
            .is_some_and(|known| known.keys == keys && known.next == from && known.stream.has(ID));
        if !continues {
            let watching = self.begin(from, keys, store);
            if let Some(old) = self.streams.insert(client.clone(), watching) {
                self.hub.remove_stream(old.number);
            }
        }
        let watching = self.streams.get_mut(&client).expect("it was there, or has just come");
        watching.waiting = Some((asker, now + PATIENCE));
        Ok(())
    }

    fn begin(&mut self, from: i64, keys: String, store: &Store) -> Watching {
        let number = self.next_stream;
        self.next_stream += 1;
        // Prefixes end with a slash here; a zero follows it.
        let end = match keys.strip_suffix('/') {
            Some(name) => format!("{name}0").into(),
            None => Bytes::from_static(b"\0"),
        };
        let request = pb::WatchCreateRequest {
            key: keys.clone().into(),
            range_end: end,
            start_revision: from,
            watch_id: ID,
            ..Default::default()
        };
        let mut stream = Stream::in_pieces_of(PIECE_VERSIONS);
        let (id, range) = stream.admit(&request).expect("the first watch of its stream");
        self.hub.add(WatcherId { stream: number, watch: id }, range.clone());
        let created = stream.begin((id, range), &request, store);
        let now = created.header.map_or(0, |header| header.revision);
        let next = if from == 0 { now + 1 } else { from };
        Watching { number, keys, stream, marks: Vec::new(), next, waiting: None }
    }

    /// Whether a request waits.
    pub(super) fn are_waiting(&self) -> bool {
        self.streams.values().any(|watching| watching.waiting.is_some())
    }

    /// Has the hub look at the store.
    pub(super) fn look(&mut self, store: &Store) {
        for (watcher, since) in self.hub.advance(store) {
            let mut streams = self.streams.values_mut();
            if let Some(watching) = streams.find(|known| known.number == watcher.stream) {
                watching.marks.push((watcher.watch, since));
            }
        }
    }

    /// Answers the requests that have waited long enough, or for long enough.
    pub(super) fn serve(&mut self, cx: &mut Context<'_>, store: &Store) {
        let examined = self.hub.revision();
        for watching in self.streams.values_mut() {
            let Some((_, until)) = &watching.waiting else { continue };
            let is_late = *until <= cx.now();
            for (watch, since) in watching.marks.drain(..) {
                self.hub.wake(WatcherId { stream: watching.number, watch });
                watching.stream.mark(watch, since);
            }
            if let Some(answer) = watching.answer(store, is_late.then_some(examined))
                && let Some((asker, _)) = watching.waiting.take()
            {
                cx.reply(&asker, &json!({"type": "watch_ok", "watch": answer}));
            }
        }
    }
}

impl Watching {
    /// The answer, if there is one: events; that they are compacted; or progress, up to a
    /// revision that the hub has looked at.
    fn answer(&mut self, store: &Store, progress: Option<i64>) -> Option<Value> {
        if let Some(answer) = self.progress(progress) {
            return Some(answer);
        }
        let from = self.next;
        while self.stream.is_behind() {
            let Some(outgoing) = self.stream.step(store) else { continue };
            let response = outgoing.response;
            if response.canceled {
                return Some(json!(["compacted", self.keys, from, response.compact_revision]));
            }
            let upto = response.header.map_or(0, |header| header.revision);
            self.next = upto + 1;
            let events: Vec<Value> = response.events.iter().map(event).collect();
            return Some(json!(["told", self.keys, from, upto, events]));
        }
        self.progress(progress)
    }

    /// The answer without events, if it is time for one and the stream lets it be told.
    fn progress(&mut self, examined: Option<i64>) -> Option<Value> {
        let response = self.stream.progress(examined?)?;
        let from = self.next;
        let upto = response.header.map_or(0, |header| header.revision);
        // A watch that begins later says nothing about before.
        self.next = from.max(upto + 1);
        Some(json!(["told", self.keys, from, self.next - 1, []]))
    }
}

fn event(event: &Event) -> Value {
    let pair = event.kv.as_ref().expect("every event has a pair");
    let key = String::from_utf8_lossy(&pair.key).into_owned();
    let value = match event.r#type {
        0 => serde_json::from_slice(&pair.value).expect("values are JSON"),
        _ => Value::Null,
    };
    json!([pair.mod_revision, key, value])
}
