//! Users, roles and permissions: who may read and change which keys.
//!
//! They are part of the replicated state: every change is a command of the log, and gives the next
//! *revision* of its own. Rules and refusals are etcd's. The state holds hashes of passwords, made
//! before the command; no password stands in the log.
//!
//! `change` carries out commands; `permit` decides what a command or a read needs; `error` has the
//! refusals.

mod change;
mod error;
mod permit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::change::Change;
pub use self::error::Error;
use crate::proto::authpb;
use crate::proto::authpb::permission::Type;

/// The user, and the role, that may do everything.
pub const ROOT: &str = "root";

/// Users, roles, and whether they count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    is_enabled: bool,
    /// Grows with each change.
    revision: u64,
    /// The key of the tokens that servers give out; anew each time that authentication is enabled.
    secret: Vec<u8>,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The hash of the password; `None` for one who comes with a certificate.
    pub hash: Option<String>,
    /// The revision in which the user, or the password, was made: a token of an earlier one is void.
    pub since: u64,
    roles: BTreeSet<String>,
}

/// The permissions of a role, in the order of their ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Role {
    permissions: BTreeMap<Range, Access>,
}

/// `key` and `range_end` of a request.
type Range = (Vec<u8>, Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Access {
    read: bool,
    write: bool,
}

/// A user who asks, and the revision in which that was established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The name of the user.
    pub name: String,
    /// The revision of the users then.
    pub revision: u64,
}

impl Default for Auth {
    fn default() -> Auth {
        let (users, roles) = (BTreeMap::new(), BTreeMap::new());
        Auth { is_enabled: false, revision: 1, secret: Vec::new(), users, roles }
    }
}

impl Auth {
    /// Whether users and roles count.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The number of the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The key of tokens.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// The names of all users, in order.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// The names of all roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// The permissions of a role, as the API shows them. Those of root go without saying.
    ///
    /// # Errors
    /// If there is no such role.
    pub fn permissions(&self, role: &str) -> Result<Vec<authpb::Permission>, Error> {
        let found = self.roles.get(role).ok_or(Error::RoleNotFound)?;
        let shown = found.permissions.iter().map(|((key, range_end), access)| {
            let kind = match (access.read, access.write) {
                (true, true) => Type::Readwrite,
                (false, true) => Type::Write,
                _ => Type::Read,
            };
            authpb::Permission {
                perm_type: kind as i32,
                key: key.clone().into(),
                range_end: range_end.clone().into(),
            }
        });
        Ok(shown.collect())
    }
}

impl User {
    /// The names of the user's roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(String::as_str)
    }

    /// Whether the user may do everything.
    pub fn is_root(&self) -> bool {
        self.roles.contains(ROOT)
    }
}
