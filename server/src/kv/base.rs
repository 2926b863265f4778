//! The views as bytes, for a tree on disk: parts of keys and values, in the order of their bytes.
//!
//! ```text
//! part       key                              value
//! Current    key                              revision | lease i64
//! History    key, escaped | revision          nothing
//! Versions   revision                         version, as in a snapshot
//! Replaced   revision | revision replaced     size u64 | key
//! Rest       "store"                          format u8 | revision i64 | compacted i64 | bytes u64 |
//!                                             keys u64 | versions u64 | leases, alarms and auth as in a snapshot
//! ```
//!
//! A revision is its two numbers, big-endian, so that bytes have its order. In an escaped key a zero
//! byte is followed by 255, and its end is a zero and a one: no key is the beginning of another. A
//! value is written once, and in the order of revisions.

use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::coding::{put_version, read_version};
use super::key::Key;
use super::layer::{Ends, Gone, Layer, Place, Replaced};
use super::version::{Revision, Version};

/// A part of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The keys that exist.
    Current,
    /// The revisions of each key.
    History,
    /// The versions by revision.
    Versions,
    /// The versions that a later one has replaced, and deletions, by the revision at which that happened.
    Replaced,
    /// Everything else.
    Rest,
}

/// Keys and values of a part, in the order of the keys.
pub type Entries<'a> = Box<dyn DoubleEndedIterator<Item = (Bytes, Bytes)> + 'a>;

/// A tree as it was at one moment, to be read by any thread. It cannot fail: a program that cannot
/// read its state has to end.
pub trait Base: Debug + Send + Sync {
    /// Which of several trees it is.
    fn number(&self) -> u64;

    /// The value of a key.
    fn get(&self, part: Part, key: &[u8]) -> Option<Bytes>;

    /// The entries whose keys are between two ends.
    fn range(&self, part: Part, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Entries<'_>;
}

/// The changes of a store that its tree does not have yet.
#[derive(Debug)]
pub struct Batch {
    pub(super) layer: Arc<Layer>,
    pub(super) numbers: Vec<u8>,
}

impl Batch {
    /// Visits the changes: part, key, and the new value, or `None` if the key goes.
    pub fn visit(&self, visit: &mut dyn FnMut(Part, Vec<u8>, Option<Vec<u8>>)) {
        for (key, version) in &self.layer.current {
            let value = version.as_ref().map(|version| current_value(version));
            visit(Part::Current, key.to_vec(), value);
        }
        for (place, version) in &self.layer.history {
            visit(Part::History, place_key(&place.key, place.at), version.as_ref().map(|_| vec![]));
        }
        for (at, version) in &self.layer.log {
            let value = version.as_ref().map(|version| {
                let mut value = Vec::new();
                put_version(&mut value, version);
                value
            });
            visit(Part::Versions, revision_key(*at).to_vec(), value);
        }
        for (place, gone) in &self.layer.replaced {
            visit(Part::Replaced, replaced_key(*place), gone.as_ref().map(gone_value));
        }
        visit(Part::Rest, NUMBERS.to_vec(), Some(self.numbers.clone()));
    }
}

/// The key of the store's numbers among the rest.
pub(super) const NUMBERS: &[u8] = b"store";
const REVISION_BYTES: usize = 12;

/// The bytes of a revision, in its order.
pub(super) fn revision_key(at: Revision) -> [u8; REVISION_BYTES] {
    let mut key = [0; REVISION_BYTES];
    // Negative ones, which only bounds are, come first.
    let main = at.main.cast_unsigned() ^ (1 << 63);
    key[..8].copy_from_slice(&main.to_be_bytes());
    key[8..].copy_from_slice(&at.sub.to_be_bytes());
    key
}

fn revision_of(key: &[u8]) -> Option<Revision> {
    let (main, rest) = key.split_first_chunk()?;
    let (sub, _) = rest.split_first_chunk()?;
    let main = (u64::from_be_bytes(*main) ^ (1 << 63)).cast_signed();
    Some(Revision { main, sub: u32::from_be_bytes(*sub) })
}

/// The bytes of a place in the history, in its order.
pub(super) fn place_key(key: &[u8], at: Revision) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 2 + REVISION_BYTES);
    for byte in key {
        bytes.push(*byte);
        if *byte == 0 {
            bytes.push(255);
        }
    }
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(&revision_key(at));
    bytes
}

fn place_of(bytes: &[u8]) -> Option<Place> {
    let (escaped, at) = bytes.split_at_checked(bytes.len().checked_sub(REVISION_BYTES)?)?;
    let mut escaped = escaped.strip_suffix(&[0, 1])?.iter();
    let mut key = Vec::with_capacity(escaped.len());
    while let Some(byte) = escaped.next() {
        key.push(*byte);
        if *byte == 0 && escaped.next() != Some(&255) {
            return None;
        }
    }
    Some(Place { key: key.into(), at: revision_of(at)? })
}

fn replaced_key((when, at): Replaced) -> Vec<u8> {
    [revision_key(when), revision_key(at)].concat()
}

fn gone_value(gone: &Gone) -> Vec<u8> {
    [&gone.size_bytes.to_le_bytes()[..], &gone.key].concat()
}

fn gone_of(key: &[u8], value: &[u8]) -> Option<(Replaced, Gone)> {
    let (when, at) = key.split_at_checked(REVISION_BYTES)?;
    let (size_bytes, key) = value.split_first_chunk()?;
    let gone = Gone { key: Key::from(key), size_bytes: u64::from_le_bytes(*size_bytes) };
    Some(((revision_of(when)?, revision_of(at)?), gone))
}

fn current_value(version: &Version) -> Vec<u8> {
    [&revision_key(version.at)[..], &version.lease().to_le_bytes()].concat()
}

const WRITTEN: &str = "this program wrote the tree, which checks its bytes";

impl dyn Base {
    /// The revision of each key that exists between two ends.
    pub(super) fn current(
        &self,
        (from, to): Ends<'_>,
    ) -> impl DoubleEndedIterator<Item = (Key, Revision)> {
        let entries = self.range(Part::Current, from, to);
        entries.map(|(key, value)| (Key::from(&key[..]), revision_of(&value).expect(WRITTEN)))
    }

    /// The revision of a key, if it exists.
    pub(super) fn current_at(&self, key: &[u8]) -> Option<Revision> {
        let value = self.get(Part::Current, key)?;
        Some(revision_of(&value).expect(WRITTEN))
    }

    /// Each key that exists, with its lease.
    pub(super) fn leases(&self) -> impl Iterator<Item = (Key, i64)> {
        let entries = self.range(Part::Current, Bound::Unbounded, Bound::Unbounded);
        entries.map(|(key, value)| {
            let lease = value.get(REVISION_BYTES..).and_then(|lease| lease.try_into().ok());
            (Key::from(&key[..]), i64::from_le_bytes(lease.expect(WRITTEN)))
        })
    }

    /// The places of the history between two of them.
    pub(super) fn places(
        &self,
        from: Bound<Place>,
        to: Bound<Place>,
    ) -> impl DoubleEndedIterator<Item = Place> {
        let bytes = |place: Place| place_key(&place.key, place.at);
        let (from, to) = (from.map(bytes), to.map(bytes));
        let entries = self.range(Part::History, as_slice(&from), as_slice(&to));
        entries.map(|(key, _)| place_of(&key).expect(WRITTEN))
    }

    /// The version of a revision, if it is kept.
    pub(super) fn version(&self, at: Revision) -> Option<Arc<Version>> {
        let value = self.get(Part::Versions, &revision_key(at))?;
        Some(decode(&value))
    }

    /// The versions between two revisions, in a tree that has none after `upto`.
    pub(super) fn versions(
        &self,
        from: Bound<&Revision>,
        to: Bound<&Revision>,
        upto: i64,
    ) -> impl Iterator<Item = Arc<Version>> {
        let seeks = seeks(from, to, upto).into_iter();
        let found = seeks.map(|(from, to)| {
            let bytes = |at: &Revision| revision_key(*at).to_vec();
            let (from, to) = (from.as_ref().map(bytes), to.as_ref().map(bytes));
            self.range(Part::Versions, as_slice(&from), as_slice(&to))
        });
        found.flatten().map(|(_, value)| decode(&value))
    }

    /// The replaced versions between two places.
    pub(super) fn replaced(
        &self,
        from: Bound<Replaced>,
        to: Bound<Replaced>,
    ) -> impl Iterator<Item = (Replaced, Gone)> {
        let (from, to) = (from.map(replaced_key), to.map(replaced_key));
        let entries = self.range(Part::Replaced, as_slice(&from), as_slice(&to));
        entries.map(|(key, value)| gone_of(&key, &value).expect(WRITTEN))
    }
}

/// After so many revisions a look at the versions from one on seeks again, and once more. Most looks are for a few;
/// and a seek reads from every table that has anything in its range.
const SEEK_REVISIONS: [i64; 2] = [200, 2000];

/// The ranges to seek in, one after the other, for the versions between two revisions.
fn seeks(
    from: Bound<&Revision>,
    to: Bound<&Revision>,
    upto: i64,
) -> Vec<(Bound<Revision>, Bound<Revision>)> {
    let last = Revision::end_of(upto);
    let (to, end) = match to.cloned() {
        Bound::Included(to) if to < last => (Bound::Included(to), to),
        Bound::Excluded(to) if to < last => (Bound::Excluded(to), to),
        _ => (Bound::Included(last), last),
    };
    let (mut from, mut seeks) = (from.cloned(), Vec::new());
    if let Bound::Included(first) | Bound::Excluded(first) = from {
        let has_end = matches!((&from, &to), (Bound::Included(_), Bound::Included(_)));
        if first > end || (first == end && !has_end) {
            return seeks;
        }
        for revisions in SEEK_REVISIONS {
            let next = Revision { main: first.main.saturating_add(revisions), sub: 0 };
            if next < end {
                seeks.push((from, Bound::Excluded(next)));
                from = Bound::Included(next);
            }
        }
    }
    seeks.push((from, to));
    seeks
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(|bytes| &bytes[..])
}

fn decode(mut value: &[u8]) -> Arc<Version> {
    let version = read_version(&mut value, &mut |key| Key::from(key), &mut Vec::new());
    Arc::new(version.ok().flatten().expect(WRITTEN))
}
