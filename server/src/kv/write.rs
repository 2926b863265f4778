//! Writing: commands, one after the other.

use std::sync::Arc;

use super::command::{Command, Response};
use super::error::Error;
use super::key::Key;
use super::range::Keys;
use super::store::Store;
use super::version::{Body, Revision, Version, kept};
use crate::planted::guard;
use crate::proto::etcdserverpb::{
    AuthEnableResponse, CompactionRequest, CompactionResponse, DeleteRangeRequest,
    DeleteRangeResponse, PutRequest, PutResponse, ResponseHeader,
};

/// The changes that one command makes: they share a revision.
pub(super) struct Writer<'a> {
    pub(super) store: &'a mut Store,
    changes: u32,
}

impl Store {
    /// Carries out a command. All of it happens, or, with an error, nothing.
    ///
    /// # Errors
    /// [`Error`], which is an answer like any other: every server gets the same.
    pub fn apply(&mut self, command: &Command) -> Result<Response, Error> {
        self.permit(None, command)?;
        let command = command.bare();
        self.check_alarms(command)?;
        match command {
            Command::Put(put) => self.write(|w| w.put(put)).map(Response::Put),
            Command::DeleteRange(delete) => {
                self.write(|w| Ok(w.delete_range(delete))).map(Response::DeleteRange)
            }
            Command::Txn(txn) => self.txn(txn).map(Response::Txn),
            Command::Compact(compact) => self.compaction(compact).map(Response::Compact),
            Command::LeaseGrant(grant) => self.grant(grant).map(Response::LeaseGrant),
            Command::LeaseRevoke(revoke) => self.revoke(revoke).map(Response::LeaseRevoke),
            Command::Alarm(request) => Ok(Response::Alarm(self.alarm(request))),
            Command::Auth(change) => {
                Arc::make_mut(&mut self.auth).apply(change)?;
                let header = header(self.revision);
                Ok(Response::Auth(AuthEnableResponse { header }))
            }
            Command::By(_) => unreachable!("a command is of one user"),
        }
    }

    /// Runs changes that share a revision. They must check before they change.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&mut Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut writer = Writer { store: self, changes: 0 };
        let answer = change(&mut writer);
        let now = writer.now();
        if guard!(answer.is_ok(), TxnPartial) {
            self.revision = now;
        }
        answer
    }

    fn compaction(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, Error> {
        if request.revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if request.revision > self.revision {
            return Err(Error::FutureRevision);
        }
        self.compact(request.revision);
        Ok(CompactionResponse { header: header(self.revision) })
    }
}

impl Writer<'_> {
    /// The revision that reads within this command see.
    pub(super) fn now(&self) -> i64 {
        self.store.revision + i64::from(self.changes > 0)
    }

    fn next(&mut self) -> Revision {
        let at = Revision { main: self.store.revision + 1, sub: self.changes };
        self.changes += 1;
        at
    }

    pub(super) fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Error> {
        let before = self.store.views.current(&request.key);
        // Of both, a put on its own is told of its lease, and one in a transaction of its key.
        self.store.check_lease(request)?;
        self.store.check_kept(request)?;
        let old = before.as_ref().and_then(|version| version.body.as_ref());
        let value = match old.filter(|_| request.ignore_value) {
            Some(old) => kept(&old.value),
            None => kept(&request.value),
        };
        let lease = match old.filter(|_| request.ignore_lease) {
            Some(old) => old.lease,
            None => request.lease,
        };
        let at = self.next();
        let body = Body {
            value,
            create_revision: old.map_or(at.main, |old| old.create_revision),
            version: old.map_or(1, |old| old.version + 1),
            lease,
        };
        let key = before.as_ref().map_or_else(|| Arc::from(&request.key[..]), |b| b.key.clone());
        self.store.insert(before.as_deref(), &Arc::new(Version { key, at, body: Some(body) }));
        let prev_kv = before.filter(|_| request.prev_kv).and_then(|old| old.to_pair(false));
        Ok(PutResponse { header: header(at.main), prev_kv })
    }

    pub(super) fn delete_range(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let keys = Keys::of(&request.key, &request.range_end);
        let (mut doomed, mut prev_kvs) = (Vec::new(), Vec::new());
        // Not the versions: over a tree their values may be more than there is memory.
        self.store.present(keys, &mut |version| {
            doomed.push(version.key.clone());
            prev_kvs.extend(version.to_pair(false).filter(|_| request.prev_kv));
            true
        });
        let deleted = doomed.len() as i64;
        doomed.into_iter().for_each(|key| self.delete(key));
        DeleteRangeResponse { header: header(self.now()), deleted, prev_kvs }
    }

    /// Deletes a key that exists.
    pub(super) fn delete(&mut self, key: Key) {
        let at = self.next();
        let before = self.store.views.current(&key);
        self.store.insert(before.as_deref(), &Arc::new(Version { key, at, body: None }));
    }
}

impl Store {
    /// Refuses a put of a key that is not there, if value or lease of it are to be kept.
    pub(super) fn check_kept(&self, request: &PutRequest) -> Result<(), Error> {
        let keeps = request.ignore_value || request.ignore_lease;
        match keeps && !self.views.has(&request.key) {
            true => Err(Error::KeyNotFound),
            false => Ok(()),
        }
    }

    /// Refuses a put with a lease that does not exist.
    pub(super) fn check_lease(&self, request: &PutRequest) -> Result<(), Error> {
        match request.lease {
            0 => Ok(()),
            id if self.leases.contains_key(&id) => Ok(()),
            _ => Err(Error::LeaseNotFound),
        }
    }
}

/// A header that holds a revision; the server that answers adds the rest.
pub(super) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}
