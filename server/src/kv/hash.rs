//! A checksum of the store, for those who want to know whether servers hold the same.

use super::coding::put_version;
use super::error::Error;
use super::store::Store;
use super::version::Revision;

impl Store {
    /// The CRC-32 of every kept version up to `revision`, 0 for the present one. Equal on servers
    /// that compacted the same; not the number that etcd would give.
    ///
    /// # Errors
    /// If the revision is gone, or is not there yet.
    pub fn hash(&self, revision: i64) -> Result<u32, Error> {
        let upto = match revision {
            0 => self.revision,
            r if r < self.compacted => return Err(Error::Compacted),
            r if r > self.revision => return Err(Error::FutureRevision),
            r => r,
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.compacted.to_le_bytes());
        let mut bytes = Vec::new();
        self.views.visit_log(..=Revision::end_of(upto), &mut |version| {
            bytes.clear();
            put_version(&mut bytes, version);
            hasher.update(&bytes);
            true
        });
        Ok(hasher.finalize())
    }
}
