//! Leases that are granted and revoked, and keys that move from one to another.

use imbl::OrdSet;

use super::error::Error;
use super::key::Key;
use super::lease::{Lease, MAX_LEASE_SECONDS};
use super::store::Store;
use super::version::Version;
use super::views::ALL_KEYS;
use super::write::header;
use crate::proto::etcdserverpb as pb;

impl Store {
    /// The lease of this id.
    pub fn lease(&self, id: i64) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// How many leases were ever granted, and how many of them have ended: what tells states apart
    /// that have the same revision.
    pub fn lease_changes(&self) -> (u64, u64) {
        (self.grants, self.grants - self.leases.len() as u64)
    }

    /// All leases, by id.
    pub fn leases(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    pub(super) fn grant(
        &mut self,
        request: &pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Error> {
        let (id, seconds) = (request.id, request.ttl);
        if id == 0 {
            return Err(Error::LeaseNotFound);
        }
        if seconds > MAX_LEASE_SECONDS {
            return Err(Error::LeaseTooLong);
        }
        if self.leases.contains_key(&id) {
            return Err(Error::LeaseExists);
        }
        self.grants += 1;
        let lease = Lease { seconds, serial: self.grants, keys: OrdSet::new() };
        self.leases.insert(id, lease);
        let (header, error) = (header(self.revision), String::new());
        Ok(pb::LeaseGrantResponse { header, id, ttl: seconds, error })
    }

    pub(super) fn revoke(
        &mut self,
        request: &pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Error> {
        let lease = self.leases.get(&request.id).cloned().ok_or(Error::LeaseNotFound)?;
        self.write(|w| {
            lease.keys.into_iter().for_each(|key| w.delete(key));
            Ok(())
        })?;
        self.leases.remove(&request.id);
        Ok(pb::LeaseRevokeResponse { header: header(self.revision) })
    }

    /// Ends a lease whose time is over, if it is still the one of that grant.
    pub fn expire(&mut self, id: i64, serial: u64) {
        // Guard: an id may have been revoked and granted anew since the time was over.
        if self.leases.get(&id).is_some_and(|lease| lease.serial == serial) {
            let revoked = self.revoke(&pb::LeaseRevokeRequest { id });
            assert!(revoked.is_ok(), "the lease is there");
        }
    }

    /// Moves a key from the lease of the version `before` to that of `now`.
    pub(super) fn attach(&mut self, before: Option<&Version>, now: &Version) {
        let (from, to) = (before.map_or(0, Version::lease), now.lease());
        if from == to {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&from) {
            lease.keys.remove(&now.key);
        }
        if let Some(lease) = self.leases.get_mut(&to) {
            lease.keys.insert(now.key.clone());
        }
    }

    /// Attaches every key to its lease, when versions and leases have been read. `None` if a key
    /// names a lease that is not there. The changes of a store over a tree must be in it.
    pub(super) fn attach_all(&mut self) -> Option<()> {
        let is_free = self.leases.is_empty();
        let leases = &mut self.leases;
        let mut attach = |id: i64, key: &Key| match (id, leases.get_mut(&id)) {
            (0, _) => true,
            (_, Some(lease)) => {
                lease.keys.insert(key.clone());
                true
            }
            (_, None) => false,
        };
        let mut is_whole = true;
        match self.views.base() {
            // Without leases the pass over all keys has nothing to find.
            Some(_) if is_free => {}
            Some(base) => is_whole = base.leases().all(|(key, id)| attach(id, &key)),
            None => self.views.visit_current(ALL_KEYS, &mut |version| {
                is_whole = attach(version.lease(), &version.key);
                is_whole
            }),
        }
        is_whole.then_some(())
    }
}
