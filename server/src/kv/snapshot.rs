//! The store as bytes.
//!
//! ```text
//! revision i64 | compacted i64 | count u64 | version* | grants u64 | count u64 | lease* | alarms | auth
//! lease     id i64 | seconds i64 | serial u64
//! alarms    nothing, or: count u64 | (member u64 | kind i32)*
//! auth      nothing, or: 1 u8 | length u32 | users and roles in postcard
//! version   main i64 | sub u32 | key length u32 | key | kind u8, and if it is 1:
//!           create i64 | version i64 | lease i64 | value length u32 | value
//! ```
//!
//! All integers are little-endian. Versions stand in the order of their revisions, leases in
//! that of their ids, so the bytes of equal stores are equal. The keys that are attached to a
//! lease follow from the versions. Without the part on leases there are none: version 0.1
//! wrote it so. Checksums are the storage's business.

use std::io::{self, Read};
use std::sync::Arc;

use imbl::OrdSet;

use super::auth::Auth;
use super::coding::{
    bytes_of, i64_of, put_bytes, put_version, read_array, read_i64, read_version, take,
};
use super::key::Key;
use super::lease::Lease;
use super::planted;
use super::store::Store;
use super::version::Revision;

impl Store {
    /// Appends the whole store to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(usize::try_from(self.encoded_bytes()).unwrap_or(0));
        self.encode_pieces(out, usize::MAX, &mut |_| true);
    }

    /// The same, but whenever there are `most` bytes in `out`, they go to `give`, which leaves it
    /// empty. Ends early, with false, when its answer is false. The last piece stays.
    pub fn encode_pieces(
        &self,
        out: &mut Vec<u8>,
        most: usize,
        give: &mut dyn FnMut(&mut Vec<u8>) -> bool,
    ) -> bool {
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.compacted.to_le_bytes());
        out.extend_from_slice(&(self.versions() as u64).to_le_bytes());
        let mut goes_on = true;
        self.views.visit_log(.., &mut |version| {
            put_version(out, version);
            goes_on = out.len() < most || give(out);
            goes_on
        });
        if !goes_on {
            return false;
        }
        self.put_rest(out);
        true
    }

    /// Appends the parts after the versions.
    pub(super) fn put_rest(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.grants.to_le_bytes());
        out.extend_from_slice(&(self.leases.len() as u64).to_le_bytes());
        for (id, lease) in &self.leases {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&lease.seconds.to_le_bytes());
            out.extend_from_slice(&lease.serial.to_le_bytes());
        }
        let has_auth = *self.auth != Auth::default();
        if !self.alarms.is_empty() || has_auth {
            out.extend_from_slice(&(self.alarms.len() as u64).to_le_bytes());
            for (member, kind) in &self.alarms {
                out.extend_from_slice(&member.to_le_bytes());
                out.extend_from_slice(&kind.to_le_bytes());
            }
        }
        if has_auth {
            out.push(1);
            put_bytes(out, &postcard::to_allocvec(&*self.auth).expect("plain data"));
        }
    }

    /// Reads bytes of [`Store::encode`]; `None` if the bytes are anything else.
    pub fn decode(mut bytes: &[u8]) -> Option<Store> {
        Store::read(&mut bytes).ok()?
    }

    /// The same, if nothing but zeros follows.
    pub fn decode_before_padding(mut bytes: &[u8]) -> Option<Store> {
        let (store, padding) = Store::read_padded(&mut bytes).ok()??;
        padding.iter().all(|byte| *byte == 0).then_some(store)
    }

    /// The same for bytes that are read until they end, little at a time.
    ///
    /// # Errors
    /// Those of `input`.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Store>> {
        let read = Store::read_padded(input)?.filter(|(_, padding)| padding.is_empty());
        Ok(read.map(|(store, _)| store))
    }

    fn read_padded(input: &mut impl Read) -> io::Result<Option<(Store, Vec<u8>)>> {
        Store::default().fill(input, &mut |_, _| Ok(()))
    }

    /// Fills an empty store with what it reads. `relieve` is called after each version, and before the
    /// end once more with true.
    pub(super) fn fill(
        mut self,
        input: &mut impl Read,
        relieve: &mut dyn FnMut(&mut Store, bool) -> io::Result<()>,
    ) -> io::Result<Option<(Store, Vec<u8>)>> {
        let store = &mut self;
        store.revision = read_i64(input)?;
        store.compacted = read_i64(input)?;
        let (mut scratch, mut last) = (Vec::new(), Revision::FIRST);
        for _ in 0..u64::from_le_bytes(read_array(input)?) {
            let mut before = None;
            // Versions share their key, as they did before.
            let mut shared = |key: &[u8]| {
                before = store.views.current(key);
                before.as_ref().map_or_else(|| Key::from(key), |before| before.key.clone())
            };
            let version = read_version(input, &mut shared, &mut scratch)?;
            let Some(version) = version else { return Ok(None) };
            if version.at.main > store.revision || version.at <= last {
                return Ok(None);
            }
            last = version.at;
            store.insert(before.as_deref(), &Arc::new(version));
            relieve(store, false)?;
        }
        relieve(store, true)?;
        let mut rest = Vec::new();
        input.read_to_end(&mut rest)?;
        let mut left = &rest[..];
        let is_whole = store.take_rest(&mut left).is_some();
        let left = left.to_vec();
        Ok(is_whole.then_some((self, left)))
    }

    /// Reads the parts after the versions.
    pub(super) fn take_rest(&mut self, input: &mut &[u8]) -> Option<()> {
        let store = self;
        if !input.is_empty() {
            store.grants = u64::from_le_bytes(take(input)?);
            for _ in 0..u64::from_le_bytes(take(input)?) {
                let (id, seconds) = (i64_of(input)?, i64_of(input)?);
                let serial = u64::from_le_bytes(take(input)?);
                store.leases.insert(id, Lease { seconds, serial, keys: OrdSet::new() });
            }
        }
        // Fewer bytes are no part, but padding.
        if input.len() >= 8 {
            for _ in 0..u64::from_le_bytes(take(input)?) {
                let alarm = (u64::from_le_bytes(take(input)?), i32::from_le_bytes(take(input)?));
                store.alarms.insert(alarm);
            }
        }
        if input.first() == Some(&1) {
            let [_] = take(input)?;
            store.auth = Arc::new(postcard::from_bytes(bytes_of(input)?).ok()?);
        }
        store.attach_all()?;
        planted::restored(store);
        Some(())
    }
}
