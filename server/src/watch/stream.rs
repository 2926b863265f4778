//! The watches of one stream, and its responses.

use std::collections::BTreeMap;

use super::planted;
use crate::kv::{KeyRange, PIECE_VERSIONS, Store, TooOld, Wanted};
use crate::planted::guard;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_create_request::FilterType;

/// The watches that a client has on one stream. Responses hold a revision in their headers; the
/// server that sends them adds the rest.
#[derive(Debug)]
pub struct Stream {
    /// How many versions of the history are looked at in one step.
    piece_versions: usize,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// Whose turn it is among those that are behind.
    turn: i64,
}

#[derive(Debug)]
struct Watcher {
    keys: KeyRange,
    wanted: Wanted,
    fragment: bool,
    /// It asks to be told how far it is.
    wants_progress: bool,
    /// It was told of an event since the last round of progress.
    was_told: bool,
    /// The next revision to look at, if it is behind; the first that it wants, if that is in
    /// the future.
    next: i64,
    is_behind: bool,
}

/// A response, and whether it may be sent in fragments.
#[derive(Debug, PartialEq)]
pub struct Outgoing {
    /// The response.
    pub response: pb::WatchResponse,
    /// The client can put fragments together.
    pub fragment: bool,
}

/// etcd's texts for refusals, and the id that they come with.
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const DUPLICATE: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const NO_WATCH: i64 = -1;

impl Default for Stream {
    fn default() -> Stream {
        Stream::in_pieces_of(PIECE_VERSIONS)
    }
}

impl Stream {
    /// A stream whose watches look at this many versions of the history in one step, or a whole
    /// revision, if that has more.
    pub fn in_pieces_of(piece_versions: usize) -> Stream {
        Stream { piece_versions, watchers: BTreeMap::new(), next_id: 0, turn: 0 }
    }

    /// Checks a request for a new watch, and gives it its id.
    ///
    /// # Errors
    /// The response that refuses it.
    pub fn admit(
        &mut self,
        request: &pb::WatchCreateRequest,
    ) -> Result<(i64, KeyRange), pb::WatchResponse> {
        let refuse = |reason: &str| pb::WatchResponse {
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..Default::default()
        };
        let Some(keys) = KeyRange::of(&request.key, &request.range_end) else {
            return Err(refuse(EMPTY_RANGE));
        };
        if request.watch_id != 0 {
            return match self.watchers.contains_key(&request.watch_id) {
                true => Err(refuse(DUPLICATE)),
                false => Ok((request.watch_id, keys)),
            };
        }
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Ok((self.next_id - 1, keys))
    }

    /// Begins a watch that was admitted, in a state of the store that a hub which knows the
    /// watch will look at, or has not looked beyond.
    pub fn begin(
        &mut self,
        (id, keys): (i64, KeyRange),
        request: &pb::WatchCreateRequest,
        store: &Store,
    ) -> pb::WatchResponse {
        let now = store.revision();
        let next = if request.start_revision == 0 { now + 1 } else { request.start_revision };
        let next = planted::begins_at(next, now);
        let filters = |kind: FilterType| request.filters.contains(&(kind as i32));
        let wanted = Wanted {
            no_puts: filters(FilterType::Noput),
            no_deletes: filters(FilterType::Nodelete),
            prev_kv: request.prev_kv,
        };
        let watcher = Watcher {
            keys,
            wanted,
            fragment: request.fragment,
            wants_progress: request.progress_notify,
            was_told: false,
            next,
            is_behind: next <= now,
        };
        let before = self.watchers.insert(id, watcher);
        assert!(before.is_none(), "an id is given to one watch");
        let header = header(now);
        pb::WatchResponse { header, watch_id: id, created: true, ..Default::default() }
    }

    /// Ends a watch. `None` if there is none of this id.
    pub fn cancel(&mut self, id: i64, store: &Store) -> Option<pb::WatchResponse> {
        self.watchers.remove(&id)?;
        let header = header(store.revision());
        Some(pb::WatchResponse { header, watch_id: id, canceled: true, ..Default::default() })
    }

    /// Something happened to the keys of a watch: first in this revision, if it was not
    /// behind before.
    pub fn mark(&mut self, id: i64, since: i64) {
        if let Some(watcher) = self.watchers.get_mut(&id)
            && guard!(!watcher.is_behind, MarkJumps)
        {
            watcher.is_behind = true;
            watcher.next = planted::marked(watcher.next, since);
        }
    }

    /// Whether a watch has something to look at.
    pub fn is_behind(&self) -> bool {
        self.watchers.values().any(|watcher| watcher.is_behind)
    }

    /// Whether there is a watch of this id.
    pub fn has(&self, id: i64) -> bool {
        self.watchers.contains_key(&id)
    }

    /// Takes the next watch that is behind one piece further; they take turns. `None` if
    /// nothing came of it, or if none is behind.
    pub fn step(&mut self, store: &Store) -> Option<Outgoing> {
        let is_behind = |(_, watcher): &(&i64, &mut Watcher)| watcher.is_behind;
        let turn = self.turn;
        let later = self.watchers.range_mut(turn..).find(is_behind).map(|(id, _)| *id);
        let id = later.or_else(|| self.watchers.iter_mut().find(is_behind).map(|(id, _)| *id))?;
        self.turn = id.saturating_add(1);
        let watcher = self.watchers.get_mut(&id)?;
        let Watcher { keys, next, wanted, .. } = &*watcher;
        let changes = match store.changes_in(keys, *next, *wanted, self.piece_versions) {
            Ok(changes) => changes,
            Err(TooOld { compacted }) => {
                self.watchers.remove(&id);
                return Some(too_old(id, compacted, store));
            }
        };
        watcher.next = watcher.next.max(planted::told_upto(changes.upto, changes.events.len()) + 1);
        watcher.is_behind = changes.upto < store.revision();
        if changes.events.is_empty() {
            return None;
        }
        watcher.was_told = true;
        let (header, events) = (header(changes.upto), changes.events);
        let response = pb::WatchResponse { header, watch_id: id, events, ..Default::default() };
        Some(Outgoing { response, fragment: watcher.fragment })
    }

    /// The answer to a request for progress, if no watch is behind `revision`: no event up to it
    /// will follow. The hub must have looked at that much, and every mark been made.
    pub fn progress(&self, revision: i64) -> Option<pb::WatchResponse> {
        if !guard!(!self.is_behind(), ProgressUnsynced) {
            return None;
        }
        let header = header(revision);
        Some(pb::WatchResponse { header, watch_id: NO_WATCH, ..Default::default() })
    }

    /// A round of progress, for the watches that ask for it and were told of nothing since the
    /// last one. The same holds as for [`Stream::progress`].
    pub fn progress_round(&mut self, revision: i64) -> Vec<pb::WatchResponse> {
        let mut responses = Vec::new();
        for (id, watcher) in &mut self.watchers {
            let was_told = std::mem::take(&mut watcher.was_told);
            // A watch that begins in the future has no progress to tell.
            let has_begun = watcher.next <= revision + 1;
            if watcher.wants_progress && !was_told && !watcher.is_behind && has_begun {
                let header = header(revision);
                let response = pb::WatchResponse { header, watch_id: *id, ..Default::default() };
                responses.push(response);
            }
        }
        responses
    }
}

fn too_old(id: i64, compacted: i64, store: &Store) -> Outgoing {
    let response = pb::WatchResponse {
        header: header(store.revision()),
        watch_id: id,
        canceled: true,
        compact_revision: compacted,
        ..Default::default()
    };
    Outgoing { response, fragment: false }
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}

impl Outgoing {
    /// The responses to send: the one, or its fragments of less than `max_bytes` each.
    pub fn fragments(self, max_bytes: usize) -> Vec<pb::WatchResponse> {
        use prost::Message;
        let Outgoing { mut response, fragment } = self;
        if !fragment || response.encoded_len() < max_bytes || response.events.len() < 2 {
            return vec![response];
        }
        let events = std::mem::take(&mut response.events);
        let (mut fragments, mut bytes) = (Vec::new(), 0);
        let mut part = pb::WatchResponse { fragment: true, ..response.clone() };
        for event in events {
            let len = event.encoded_len() + FIELD_BYTES;
            if !part.events.is_empty() && bytes + len >= max_bytes {
                let next = pb::WatchResponse { fragment: true, ..response.clone() };
                fragments.push(std::mem::replace(&mut part, next));
                bytes = 0;
            }
            bytes += len;
            part.events.push(event);
        }
        part.fragment = false;
        fragments.push(part);
        fragments
    }
}

/// The tag and the length of an event in a response take at most this much.
const FIELD_BYTES: usize = 6;
