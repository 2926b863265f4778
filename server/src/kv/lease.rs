//! Leases, and the keys attached to them.
//!
//! A key is attached to the lease of its last put, until it is put again or deleted; a lease
//! that ends takes its keys along, in one revision. When it ends is none of the store's
//! business: the store has no clock.

use imbl::OrdSet;

use super::key::Key;

/// The longest life of a lease, in seconds, as in etcd: 285 years.
pub const MAX_LEASE_SECONDS: i64 = 9_000_000_000;

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How long it lives without a sign of life.
    pub(super) seconds: i64,
    /// The number of its grant. An id can be granted again; this never is.
    pub(super) serial: u64,
    /// The keys that are attached to it.
    pub(super) keys: OrdSet<Key>,
}

impl Lease {
    /// How long the lease lives without a sign of life, in seconds.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// The number of its grant among all grants.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The keys attached to it, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| &key[..])
    }
}
