//! One version of a key.

use bytes::Bytes;

use super::entry::SHARED_BYTES;
use super::key::Key;
use crate::proto::mvccpb::KeyValue;

/// The bytes a version costs besides its key and value: structs, allocations, and its
/// places in the views. For the size that the server reports.
pub(super) const VERSION_BYTES: u64 = 240;

/// When a change happened: the revision, and its place among the changes of one
/// transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Revision {
    pub(super) main: i64,
    pub(super) sub: u32,
}

impl Revision {
    /// Not after any change.
    pub(super) const FIRST: Revision = Revision { main: i64::MIN, sub: 0 };
    /// Not before any change.
    pub(super) const LAST: Revision = Revision::end_of(i64::MAX);

    /// The last change of revision `main`.
    pub(super) const fn end_of(main: i64) -> Revision {
        Revision { main, sub: u32::MAX }
    }
}

/// A key at one revision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: Key,
    pub(super) at: Revision,
    /// `None` is a tombstone: the key was deleted.
    pub(super) body: Option<Body>,
}

/// The contents of a version that is not a tombstone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// Made by [`kept`]: a long value may be a part of its log entry.
    pub(super) value: Bytes,
    pub(super) create_revision: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
}

impl Version {
    /// The lease that its key is attached to; 0 if there is none.
    pub(super) fn lease(&self) -> i64 {
        self.body.as_ref().map_or(0, |body| body.lease)
    }

    /// Its part of the size that the server reports.
    pub(super) fn size_bytes(&self) -> u64 {
        let value = self.body.as_ref().map_or(0, |body| body.value.len());
        VERSION_BYTES + (self.key.len() + value) as u64
    }

    /// The pair as the API shows it; `None` for a tombstone.
    pub(super) fn to_pair(&self, keys_only: bool) -> Option<KeyValue> {
        self.to_pair_in(keys_only, &mut Bytes::copy_from_slice)
    }

    /// The same, with `copy` for the key and for a value that is not shared.
    pub(super) fn to_pair_in(
        &self,
        keys_only: bool,
        copy: &mut dyn FnMut(&[u8]) -> Bytes,
    ) -> Option<KeyValue> {
        let body = self.body.as_ref()?;
        let value = match (keys_only, body.value.len()) {
            (true, _) => Bytes::new(),
            (false, 0..SHARED_BYTES) => copy(&body.value),
            (false, _) => body.value.clone(),
        };
        Some(KeyValue {
            key: copy(&self.key),
            create_revision: body.create_revision,
            mod_revision: self.at.main,
            version: body.version,
            value,
            lease: body.lease,
        })
    }
}

/// The same bytes once more, for the store or for an answer. Only long ones are shared: a counter costs 32 bytes.
pub(super) fn kept(value: &Bytes) -> Bytes {
    match value.len() {
        0..SHARED_BYTES => Bytes::copy_from_slice(value),
        _ => value.clone(),
    }
}
