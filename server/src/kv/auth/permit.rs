//! The permissions that a request needs, and whether its user has them.

use super::{Access, Auth, Error, User, Who};
use crate::kv::{Command, Store};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;

/// A range of keys; without an end it has no bound.
type Span = (Vec<u8>, Option<Vec<u8>>);

fn span(key: &[u8], range_end: &[u8]) -> Span {
    let after = |key: &[u8]| [key, b"\0"].concat();
    match range_end {
        [] => (key.to_vec(), Some(after(key))),
        [0] => (key.to_vec(), None),
        // An empty range is judged by its first key.
        end if end <= key => (key.to_vec(), Some(after(key))),
        end => (key.to_vec(), Some(end.to_vec())),
    }
}

/// Whether ranges that may touch and overlap, in the order of their beginnings, cover another one.
fn cover(mut ranges: Vec<Span>, (begin, end): Span) -> bool {
    ranges.sort();
    let mut upto = begin;
    for (first, last) in ranges {
        if first > upto {
            return false;
        }
        match last {
            None => return true,
            Some(last) => upto = upto.max(last),
        }
        if end.as_ref().is_some_and(|end| upto >= *end) {
            return true;
        }
    }
    false
}

impl Auth {
    /// The user who asks, if there has to be one.
    fn asker(&self, who: Option<&Who>) -> Result<Option<&User>, Error> {
        if !self.is_enabled {
            return Ok(None);
        }
        let who = who.ok_or(Error::UserEmpty)?;
        if who.revision < self.revision {
            return Err(Error::OldRevision);
        }
        self.users.get(&who.name).ok_or(Error::PermissionDenied).map(Some)
    }

    /// Asks for a user, whichever it is.
    ///
    /// # Errors
    /// If users count, and there is none.
    pub fn check_user(&self, who: Option<&Who>) -> Result<(), Error> {
        self.asker(who).map(|_| ())
    }

    /// Asks for a user who may do everything.
    ///
    /// # Errors
    /// If users count, and this is none of them.
    pub fn check_root(&self, who: Option<&Who>) -> Result<(), Error> {
        match self.asker(who)? {
            Some(user) if !user.is_root() => Err(Error::PermissionDenied),
            _ => Ok(()),
        }
    }

    /// Asks for a user who may do everything, or is the one of that name.
    ///
    /// # Errors
    /// If users count, and this is another.
    pub fn check_self(&self, who: Option<&Who>, name: &str) -> Result<(), Error> {
        match who {
            Some(who) if who.name == name => self.check_user(Some(who)),
            _ => self.check_root(who),
        }
    }

    /// Asks for a user who may do everything, or has that role.
    ///
    /// # Errors
    /// If users count, and this one has not.
    pub fn check_role(&self, who: Option<&Who>, role: &str) -> Result<(), Error> {
        match self.asker(who)? {
            Some(user) if !user.is_root() && !user.roles.contains(role) => {
                Err(Error::PermissionDenied)
            }
            _ => Ok(()),
        }
    }

    /// Asks for a user who may read all keys of a range.
    ///
    /// # Errors
    /// If users count, and this one may not.
    pub fn check_read(&self, who: Option<&Who>, key: &[u8], end: &[u8]) -> Result<(), Error> {
        self.check(who, key, end, |access| access.read)
    }

    fn check_write(&self, who: Option<&Who>, key: &[u8], end: &[u8]) -> Result<(), Error> {
        self.check(who, key, end, |access| access.write)
    }

    fn check(
        &self,
        who: Option<&Who>,
        key: &[u8],
        end: &[u8],
        has: impl Fn(&Access) -> bool,
    ) -> Result<(), Error> {
        let Some(user) = self.asker(who)? else { return Ok(()) };
        if user.is_root() {
            return Ok(());
        }
        let roles = user.roles.iter().filter_map(|name| self.roles.get(name));
        let permissions = roles.flat_map(|role| &role.permissions);
        let granted = permissions.filter(|(_, access)| has(access));
        let granted = granted.map(|((key, end), _)| span(key, end)).collect();
        match cover(granted, span(key, end)) {
            true => Ok(()),
            false => Err(Error::PermissionDenied),
        }
    }
}

impl Store {
    /// Asks for everything that a command needs.
    ///
    /// # Errors
    /// If users count, and this one may not do it.
    pub(in crate::kv) fn permit(&self, who: Option<&Who>, command: &Command) -> Result<(), Error> {
        let auth = &self.auth;
        if !auth.is_enabled {
            return Ok(());
        }
        match command {
            Command::Put(put) => self.permit_put(who, put),
            Command::DeleteRange(delete) => self.permit_delete(who, delete),
            Command::Txn(txn) => self.permit_txn(who, txn),
            Command::LeaseRevoke(revoke) => self.permit_lease(who, revoke.id),
            Command::Auth(_) => auth.check_root(who),
            // A server raises alarms of itself.
            Command::Alarm(_) if who.is_some() => auth.check_root(who),
            Command::By(by) => self.permit(Some(&by.who), &by.command),
            // Servers do these of themselves, too; clients are asked before the log.
            _ => Ok(()),
        }
    }

    /// Asks for everything that a transaction needs, whichever way it goes.
    ///
    /// # Errors
    /// If users count, and this one may not do it.
    pub fn permit_txn(&self, who: Option<&Who>, txn: &pb::TxnRequest) -> Result<(), Error> {
        for compare in &txn.compare {
            self.auth.check_read(who, &compare.key, &compare.range_end)?;
        }
        let ops = txn.success.iter().chain(&txn.failure);
        ops.filter_map(|op| op.request.as_ref()).try_for_each(|op| match op {
            Request::RequestRange(range) => self.auth.check_read(who, &range.key, &range.range_end),
            Request::RequestPut(put) => self.permit_put(who, put),
            Request::RequestDeleteRange(delete) => self.permit_delete(who, delete),
            Request::RequestTxn(nested) => self.permit_txn(who, nested),
        })
    }

    fn permit_put(&self, who: Option<&Who>, put: &pb::PutRequest) -> Result<(), Error> {
        self.auth.check_write(who, &put.key, b"")?;
        if put.prev_kv {
            self.auth.check_read(who, &put.key, b"")?;
        }
        // Guard: the end of a lease deletes all of its keys.
        self.permit_lease(who, put.lease)
    }

    fn permit_delete(
        &self,
        who: Option<&Who>,
        delete: &pb::DeleteRangeRequest,
    ) -> Result<(), Error> {
        self.auth.check_write(who, &delete.key, &delete.range_end)?;
        match delete.prev_kv {
            true => self.auth.check_read(who, &delete.key, &delete.range_end),
            false => Ok(()),
        }
    }

    /// Asks for a user who may write all keys of a lease.
    fn permit_lease(&self, who: Option<&Who>, id: i64) -> Result<(), Error> {
        self.auth.check_user(who)?;
        let keys = self.lease(id).into_iter().flat_map(|lease| lease.keys());
        keys.into_iter().try_for_each(|key| self.auth.check_write(who, key, b""))
    }
}
