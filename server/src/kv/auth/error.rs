//! Refusals, with etcd's codes and texts.

use super::super::error::Code;

/// Why a request was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// Authentication cannot be enabled without the user "root" ...
    RootUserMissing,
    /// ... who has the role "root".
    RootRoleMissing,
    /// There is a user of this name.
    UserExists,
    /// No name of a user: also of a request that comes from none, where one is needed.
    UserEmpty,
    /// There is no such user.
    UserNotFound,
    /// There is a role of this name.
    RoleExists,
    /// There is no such role.
    RoleNotFound,
    /// No name of a role.
    RoleEmpty,
    /// Name and password do not fit.
    Failed,
    /// The user may not do this.
    PermissionDenied,
    /// The user does not have the role.
    RoleNotGranted,
    /// The role does not have the permission.
    PermissionNotGranted,
    /// A permission without contents.
    PermissionNotGiven,
    /// Only users could do this, and they do not count.
    NotEnabled,
    /// The token is unknown, or too old.
    InvalidToken,
    /// It would leave the cluster without a user who may manage it; or a range is empty.
    InvalidManagement,
    /// Users or roles have changed since the request set out. It can be repeated.
    OldRevision,
}

impl Error {
    /// The code of gRPC for it.
    pub fn code(self) -> Code {
        match self {
            Error::UserEmpty
            | Error::RoleEmpty
            | Error::Failed
            | Error::PermissionNotGiven
            | Error::InvalidManagement
            | Error::OldRevision => Code::InvalidArgument,
            Error::PermissionDenied => Code::PermissionDenied,
            Error::InvalidToken => Code::Unauthenticated,
            _ => Code::FailedPrecondition,
        }
    }

    /// etcd's text for it.
    pub fn message(self) -> &'static str {
        match self {
            Error::RootUserMissing => "etcdserver: root user does not exist",
            Error::RootRoleMissing => "etcdserver: root user does not have root role",
            Error::UserExists => "etcdserver: user name already exists",
            Error::UserEmpty => "etcdserver: user name is empty",
            Error::UserNotFound => "etcdserver: user name not found",
            Error::RoleExists => "etcdserver: role name already exists",
            Error::RoleNotFound => "etcdserver: role name not found",
            Error::RoleEmpty => "etcdserver: role name is empty",
            Error::Failed => "etcdserver: authentication failed, invalid user ID or password",
            Error::PermissionDenied => "etcdserver: permission denied",
            Error::RoleNotGranted => "etcdserver: role is not granted to the user",
            Error::PermissionNotGranted => "etcdserver: permission is not granted to the role",
            Error::PermissionNotGiven => "etcdserver: permission not given",
            Error::NotEnabled => "etcdserver: authentication is not enabled",
            Error::InvalidToken => "etcdserver: invalid auth token",
            Error::InvalidManagement => "etcdserver: invalid auth management",
            Error::OldRevision => "etcdserver: revision of auth store is old",
        }
    }
}

impl From<Error> for super::super::Error {
    fn from(error: Error) -> super::super::Error {
        super::super::Error::Auth(error)
    }
}
