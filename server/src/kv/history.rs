//! The changes of keys from a revision on, for watches.
//!
//! The history is read from the store itself, in pieces of bounded size that never part a
//! revision. So a watch needs no queue, and one that is slow costs nothing while it waits.

use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::key::Key;
use super::planted;
use super::range::Keys;
use super::store::Store;
use super::version::{Revision, Version};
use crate::planted::guard;
use crate::proto::mvccpb::event::EventType;
use crate::proto::mvccpb::{Event, KeyValue};

/// The keys that a watch is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    begin: Bytes,
    end: Bytes,
}

impl KeyRange {
    /// Reads `key` and `range_end` of a request; no key is the first of all. `None` if no key can
    /// be in it.
    pub fn of(key: &Bytes, range_end: &Bytes) -> Option<KeyRange> {
        let begin = if key.is_empty() { Bytes::from_static(b"\0") } else { key.clone() };
        let is_bounded = !range_end.is_empty() && &range_end[..] != b"\0";
        let is_empty = is_bounded && *range_end <= begin;
        (!is_empty).then(|| KeyRange { begin, end: range_end.clone() })
    }

    /// The one key, if it is about one.
    pub fn single(&self) -> Option<&[u8]> {
        self.end.is_empty().then_some(&self.begin[..])
    }

    /// Whether a key is in it.
    pub fn has(&self, key: &[u8]) -> bool {
        Keys::of(&self.begin, &self.end).has(key)
    }
}

/// Which changes are told, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Puts are left out.
    pub no_puts: bool,
    /// Deletions are left out.
    pub no_deletes: bool,
    /// Each change comes with the pair before it, unless that is compacted.
    pub prev_kv: bool,
}

/// A piece of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// The events, in the order in which they happened. A revision is in it whole, or not.
    pub events: Vec<Event>,
    /// Everything up to this revision has been looked at.
    pub upto: i64,
}

/// The first revision asked for is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// The revision of the last compaction.
    pub compacted: i64,
}

/// A piece ends, with a revision, when its events have about this many bytes as messages: each watch whose client
/// does not read holds some of them ...
const PIECE_BYTES: usize = 4 << 10;
/// ... or when this many versions have been looked at.
pub const PIECE_VERSIONS: usize = 10_000;

impl Store {
    /// Returns the events of `keys` in the revisions from `from` on: all of them, or as many as
    /// make a piece.
    ///
    /// # Errors
    /// If that is not kept any more.
    pub fn changes(&self, keys: &KeyRange, from: i64, wanted: Wanted) -> Result<Changes, TooOld> {
        self.changes_in(keys, from, wanted, PIECE_VERSIONS)
    }

    /// The same, in pieces that end once `most` versions have been looked at.
    ///
    /// # Errors
    /// As [`Store::changes`].
    pub fn changes_in(
        &self,
        keys: &KeyRange,
        from: i64,
        wanted: Wanted,
        most: usize,
    ) -> Result<Changes, TooOld> {
        if !guard!(from >= self.compacted, SilentCompaction) {
            return Err(TooOld { compacted: self.compacted });
        }
        let (events, copies) = (Vec::new(), Copies::default());
        let mut piece =
            Piece { store: self, wanted, most, events, copies, bytes: 0, seen: 0, at: 0 };
        let first = Revision { main: planted::first_told(from, self.compacted), sub: 0 };
        let mut is_whole = true;
        let mut look = |version: &Arc<Version>| {
            is_whole = match keys.has(&version.key) {
                true => piece.take(version),
                false => piece.pass(version),
            };
            is_whole
        };
        match keys.single() {
            Some(key) => self.views.visit_history(&Key::from(key), first, &mut look),
            None => self.views.visit_log(first.., &mut look),
        }
        let upto = if is_whole { self.revision } else { piece.at };
        let mut events = piece.events;
        events.shrink_to_fit();
        Ok(Changes { events, upto })
    }

    /// Visits the key of every change after revision `after`, with its revision.
    pub fn visit_changes(&self, after: i64, visit: &mut dyn FnMut(&[u8], i64)) {
        let from = (Bound::Excluded(Revision::end_of(after)), Bound::Unbounded);
        self.views.visit_log(from, &mut |version| {
            visit(&version.key, version.at.main);
            true
        });
    }

    /// The version before the revision of another one of its key.
    fn before(&self, version: &Version) -> Option<Arc<Version>> {
        let before = version.at.main - 1;
        if before < self.compacted {
            return None;
        }
        self.views.newest(&version.key, Revision::end_of(before))
    }
}

/// A piece in the making.
struct Piece<'a> {
    store: &'a Store,
    wanted: Wanted,
    /// How many versions it is about at most.
    most: usize,
    events: Vec<Event>,
    copies: Copies,
    bytes: usize,
    seen: usize,
    /// The revision of the last version that was looked at.
    at: i64,
}

impl Piece<'_> {
    /// Looks at a version; false if it does not belong to this piece any more.
    fn pass(&mut self, version: &Version) -> bool {
        let is_full = self.bytes >= PIECE_BYTES || self.seen >= self.most;
        // Guard: a revision is not parted.
        if is_full && version.at.main > self.at {
            return false;
        }
        self.seen += 1;
        self.at = version.at.main;
        true
    }

    fn take(&mut self, version: &Arc<Version>) -> bool {
        if !self.pass(version) {
            return false;
        }
        let is_deletion = version.body.is_none();
        let is_left_out = if is_deletion { self.wanted.no_deletes } else { self.wanted.no_puts };
        if is_left_out {
            return true;
        }
        let (mod_revision, mut copy) = (version.at.main, |bytes: &[u8]| self.copies.copy(bytes));
        let kv = version.to_pair_in(false, &mut copy).unwrap_or_else(|| {
            let key = copy(&version.key);
            KeyValue { key, mod_revision, ..Default::default() }
        });
        // A key that comes into being has no pair before, even if it was deleted just then.
        let is_new = version.body.as_ref().is_some_and(|body| body.create_revision == mod_revision);
        let wants_before = self.wanted.prev_kv && !is_new;
        let before = wants_before.then(|| self.store.before(version)).flatten();
        let prev_kv = before.and_then(|before| before.to_pair_in(false, &mut copy));
        let len = |pair: &KeyValue| pair.key.len() + pair.value.len();
        self.bytes += len(&kv) + prev_kv.as_ref().map_or(0, len) + EVENT_BYTES;
        let kind = if is_deletion { EventType::Delete } else { EventType::Put };
        self.events.push(Event { r#type: kind as i32, kv: Some(kv), prev_kv });
        true
    }
}

/// About how many bytes of a message an event has besides its keys and values. The structs take far more, but
/// live only until a message is made of them, which its client waits for.
const EVENT_BYTES: usize = 30;

/// The most bytes of an allocation for copies, unless one copy has more.
const COPIES_BYTES: usize = 4 << 10;

/// Copies of short keys and values, many of them in one allocation: a piece of small events has hundreds.
#[derive(Default)]
struct Copies {
    space: BytesMut,
    /// The size of the last allocation.
    len: usize,
}

impl Copies {
    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.space.capacity() < bytes.len() {
            // The first one has no more than it needs: most watches are told of one event at a time.
            self.len = (2 * self.len).min(COPIES_BYTES).max(bytes.len());
            self.space = BytesMut::with_capacity(self.len);
        }
        self.space.extend_from_slice(bytes);
        self.space.split().freeze()
    }
}
