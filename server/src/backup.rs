//! A backup of the store, as `etcdctl snapshot save` fetches it.
//!
//! ```text
//! backup   magic "SWBACKUP" | length u64 | JSON of [`About`] | the store (`kv::Store::encode`)
//!          | zeros, up to a multiple of 512 bytes | SHA-256 of everything before
//! ```
//!
//! The length is that of the JSON, little-endian. `etcdctl` of 3.5 and later wants the size to be 32
//! more than a multiple of 512, and takes the last 32 bytes for a checksum; it looks at nothing
//! else. Members and sessions are not in it: it begins a cluster of its own.

use std::cell::Cell;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::kv::Store;

const MAGIC: &[u8; 8] = b"SWBACKUP";
const SECTOR_BYTES: u64 = 512;
const HASH_BYTES: usize = 32;
/// A piece is given away when it has this many bytes.
const PIECE_BYTES: usize = 256 << 10;

/// Facts about a backup, for people; the store tells the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The layout.
    pub format: u32,
    /// The version of the program that wrote it.
    pub version: String,
    /// The cluster it was taken of, and the server, in hexadecimal.
    pub cluster: String,
    /// The server that wrote it.
    pub server: String,
    /// The last revision in it.
    pub revision: i64,
    /// How many keys exist.
    pub keys: usize,
    /// How many versions of keys are in it.
    pub versions: usize,
}

impl About {
    /// Describes a store.
    pub fn of(store: &Store, cluster: u64, server: u64) -> About {
        About {
            format: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: format!("{cluster:016x}"),
            server: format!("{server:016x}"),
            revision: store.revision(),
            keys: store.len(),
            versions: store.versions(),
        }
    }
}

/// Writes a backup in pieces. Ends early when `give` does not take one: its answer is false.
pub fn write(store: &Store, about: &About, give: &mut dyn FnMut(Vec<u8>) -> bool) {
    let (mut hasher, len) = (Sha256::new(), Cell::new(0));
    let mut pass = |out: &mut Vec<u8>| {
        hasher.update(&out[..]);
        len.set(len.get() + out.len() as u64);
        give(std::mem::take(out))
    };
    let json = serde_json::to_vec(about).expect("plain data");
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(json.len() as u64).to_le_bytes());
    out.extend_from_slice(&json);
    if !store.encode_pieces(&mut out, PIECE_BYTES, &mut pass) || !pass(&mut out) {
        return;
    }
    let mut padding = vec![0; (SECTOR_BYTES - len.get() % SECTOR_BYTES) as usize];
    if pass(&mut padding) {
        give(hasher.finalize().to_vec());
    }
}

/// Reads a backup whole.
///
/// # Errors
/// Why it is none, or is damaged, as a sentence.
pub fn read(bytes: &[u8]) -> Result<(About, Store), String> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err("it is no backup of this program: it does not begin with SWBACKUP".to_owned());
    };
    let content = bytes.len().saturating_sub(HASH_BYTES);
    let is_whole = (content as u64).is_multiple_of(SECTOR_BYTES) && rest.len() > HASH_BYTES;
    if !is_whole || Sha256::digest(&bytes[..content])[..] != bytes[content..] {
        return Err("it is damaged, or was cut short: its checksum does not match".to_owned());
    }
    decode(&bytes[MAGIC.len()..content]).ok_or("a later version of the program wrote it".to_owned())
}

fn decode(bytes: &[u8]) -> Option<(About, Store)> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let (json, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    let about: About = serde_json::from_slice(json).ok()?;
    let store = Store::decode_before_padding(rest).filter(|_| about.format == 1)?;
    Some((about, store))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Command;
    use crate::proto::etcdserverpb as pb;

    fn store(keys: usize) -> Store {
        let mut store = Store::default();
        for n in 0..keys {
            let (key, value) = (format!("k{n}").into(), vec![b'x'; n % 3000].into());
            let put = pb::PutRequest { key, value, ..Default::default() };
            store.apply(&Command::Put(put)).unwrap();
        }
        store
    }

    #[test]
    fn a_backup_comes_back_and_no_damage_is_taken_for_one() {
        for keys in [0, 1, 5, 2000] {
            let store = store(keys);
            let about = About::of(&store, 1, 2);
            let (mut bytes, mut pieces) = (Vec::new(), 0);
            write(&store, &about, &mut |piece| {
                bytes.extend_from_slice(&piece);
                pieces += 1;
                true
            });
            assert_eq!(bytes.len() % 512, 32);
            assert!(pieces > 3 || keys < 2000, "{pieces} pieces");
            let (found, back) = read(&bytes).unwrap();
            assert_eq!((found, back.versions()), (about, store.versions()));
            let (mut before, mut after) = (Vec::new(), Vec::new());
            store.encode(&mut before);
            back.encode(&mut after);
            assert_eq!(before, after);
            let step = (bytes.len() / 50).max(1);
            for at in (0..bytes.len()).step_by(step) {
                assert!(read(&bytes[..at]).is_err(), "cut at {at}");
                bytes[at] ^= 1;
                assert!(read(&bytes).is_err(), "changed at {at}");
                bytes[at] ^= 1;
            }
        }
    }
}
