//! Changes of users and roles: as bytes in the log, and carried out.
//!
//! ```text
//! number u8 | the request, in protobuf; of `Enable`, the secret
//! ```

use std::collections::BTreeSet;

use prost::Message;

use super::{Access, Auth, Error, ROOT, Role, User};
use crate::proto::authpb::permission::Type;
use crate::proto::etcdserverpb as pb;

/// A change of users or roles. Of a password there is only `hashed_password`.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Users count from now on; tokens are signed with this secret.
    Enable(Vec<u8>),
    /// Users do not count any more.
    Disable,
    /// Makes a user.
    UserAdd(pb::AuthUserAddRequest),
    /// Deletes a user.
    UserDelete(pb::AuthUserDeleteRequest),
    /// Gives a user another password.
    ChangePassword(pb::AuthUserChangePasswordRequest),
    /// Gives a user a role.
    GrantRole(pb::AuthUserGrantRoleRequest),
    /// Takes a role from a user.
    RevokeRole(pb::AuthUserRevokeRoleRequest),
    /// Makes a role.
    RoleAdd(pb::AuthRoleAddRequest),
    /// Deletes a role.
    RoleDelete(pb::AuthRoleDeleteRequest),
    /// Gives a role a permission.
    GrantPermission(pb::AuthRoleGrantPermissionRequest),
    /// Takes a permission from a role.
    RevokePermission(pb::AuthRoleRevokePermissionRequest),
}

impl Change {
    /// Appends the change's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        fn put(out: &mut Vec<u8>, number: u8, message: &impl Message) {
            out.push(number);
            message.encode(out).expect("a Vec takes everything");
        }
        match self {
            Change::Enable(secret) => {
                out.push(1);
                out.extend_from_slice(secret);
            }
            Change::Disable => out.push(2),
            Change::UserAdd(request) => put(out, 3, request),
            Change::UserDelete(request) => put(out, 4, request),
            Change::ChangePassword(request) => put(out, 5, request),
            Change::GrantRole(request) => put(out, 6, request),
            Change::RevokeRole(request) => put(out, 7, request),
            Change::RoleAdd(request) => put(out, 8, request),
            Change::RoleDelete(request) => put(out, 9, request),
            Change::GrantPermission(request) => put(out, 10, request),
            Change::RevokePermission(request) => put(out, 11, request),
        }
    }

    /// The kind of the change for people, and the user or role that it is about.
    pub fn title(&self) -> (&'static str, &str) {
        match self {
            Change::Enable(_) => ("auth-enable", ""),
            Change::Disable => ("auth-disable", ""),
            Change::UserAdd(request) => ("user-add", &request.name),
            Change::UserDelete(request) => ("user-delete", &request.name),
            Change::ChangePassword(request) => ("user-passwd", &request.name),
            Change::GrantRole(request) => ("user-grant-role", &request.user),
            Change::RevokeRole(request) => ("user-revoke-role", &request.name),
            Change::RoleAdd(request) => ("role-add", &request.name),
            Change::RoleDelete(request) => ("role-delete", &request.role),
            Change::GrantPermission(request) => ("role-grant-permission", &request.name),
            Change::RevokePermission(request) => ("role-revoke-permission", &request.role),
        }
    }

    /// Undoes [`Change::encode`]; `None` if the bytes were not written by it.
    pub fn decode(bytes: &[u8]) -> Option<Change> {
        let (number, body) = bytes.split_first()?;
        match *number {
            1 => Some(Change::Enable(body.to_vec())),
            2 => body.is_empty().then_some(Change::Disable),
            3 => Message::decode(body).ok().map(Change::UserAdd),
            4 => Message::decode(body).ok().map(Change::UserDelete),
            5 => Message::decode(body).ok().map(Change::ChangePassword),
            6 => Message::decode(body).ok().map(Change::GrantRole),
            7 => Message::decode(body).ok().map(Change::RevokeRole),
            8 => Message::decode(body).ok().map(Change::RoleAdd),
            9 => Message::decode(body).ok().map(Change::RoleDelete),
            10 => Message::decode(body).ok().map(Change::GrantPermission),
            11 => Message::decode(body).ok().map(Change::RevokePermission),
            _ => None,
        }
    }
}

impl Auth {
    /// Carries out a change.
    ///
    /// # Errors
    /// etcd's refusals; nothing is changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), Error> {
        let next = self.revision + 1;
        match change {
            Change::Enable(secret) => {
                // As in etcd, this is no change of the users.
                return self.enable(secret);
            }
            Change::Disable if !self.is_enabled => return Ok(()),
            Change::Disable => self.is_enabled = false,
            Change::UserAdd(request) => self.add_user(request, next)?,
            Change::UserDelete(request) => self.delete_user(&request.name)?,
            Change::ChangePassword(request) => {
                let user = self.user_mut(&request.name)?;
                user.hash = Some(request.hashed_password.clone());
                user.since = next;
            }
            Change::GrantRole(request) => {
                let is_known = request.role == ROOT || self.roles.contains_key(&request.role);
                let user = self.user_mut(&request.user)?;
                if !is_known {
                    return Err(Error::RoleNotFound);
                }
                if !user.roles.insert(request.role.clone()) {
                    return Ok(());
                }
            }
            Change::RevokeRole(request) => self.revoke_role(request)?,
            Change::RoleAdd(request) => self.add_role(&request.name)?,
            Change::RoleDelete(request) => self.delete_role(&request.role)?,
            Change::GrantPermission(request) => self.grant_permission(request)?,
            Change::RevokePermission(request) => {
                let role = self.roles.get_mut(&request.role).ok_or(Error::RoleNotFound)?;
                let range = (request.key.to_vec(), request.range_end.to_vec());
                role.permissions.remove(&range).ok_or(Error::PermissionNotGranted)?;
            }
        }
        self.revision = next;
        Ok(())
    }

    fn enable(&mut self, secret: &[u8]) -> Result<(), Error> {
        if self.is_enabled {
            return Ok(());
        }
        let root = self.users.get(ROOT).ok_or(Error::RootUserMissing)?;
        if !root.is_root() {
            return Err(Error::RootRoleMissing);
        }
        self.is_enabled = true;
        self.secret = secret.to_vec();
        Ok(())
    }

    fn user_mut(&mut self, name: &str) -> Result<&mut User, Error> {
        self.users.get_mut(name).ok_or(Error::UserNotFound)
    }

    fn add_user(&mut self, request: &pb::AuthUserAddRequest, since: u64) -> Result<(), Error> {
        if request.name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.users.contains_key(&request.name) {
            return Err(Error::UserExists);
        }
        let has_password = !request.options.as_ref().is_some_and(|options| options.no_password);
        let hash = has_password.then(|| request.hashed_password.clone());
        self.users.insert(request.name.clone(), User { hash, since, roles: BTreeSet::new() });
        Ok(())
    }

    fn delete_user(&mut self, name: &str) -> Result<(), Error> {
        // Guard: there is always a user who may manage the others.
        if self.is_enabled && name == ROOT {
            return Err(Error::InvalidManagement);
        }
        self.users.remove(name).map(|_| ()).ok_or(Error::UserNotFound)
    }

    fn revoke_role(&mut self, request: &pb::AuthUserRevokeRoleRequest) -> Result<(), Error> {
        // Guard: and that user stays one.
        if self.is_enabled && request.name == ROOT && request.role == ROOT {
            return Err(Error::InvalidManagement);
        }
        match self.user_mut(&request.name)?.roles.remove(&request.role) {
            true => Ok(()),
            false => Err(Error::RoleNotGranted),
        }
    }

    fn add_role(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Error::RoleExists);
        }
        self.roles.insert(name.to_owned(), Role::default());
        Ok(())
    }

    fn delete_role(&mut self, name: &str) -> Result<(), Error> {
        if self.is_enabled && name == ROOT {
            return Err(Error::InvalidManagement);
        }
        self.roles.remove(name).ok_or(Error::RoleNotFound)?;
        for user in self.users.values_mut() {
            user.roles.remove(name);
        }
        Ok(())
    }

    fn grant_permission(
        &mut self,
        request: &pb::AuthRoleGrantPermissionRequest,
    ) -> Result<(), Error> {
        let wanted = request.perm.as_ref().ok_or(Error::PermissionNotGiven)?;
        let (key, end) = (&wanted.key, &wanted.range_end);
        if !end.is_empty() && &end[..] != b"\0" && end <= key {
            return Err(Error::InvalidManagement);
        }
        let role = self.roles.get_mut(&request.name).ok_or(Error::RoleNotFound)?;
        let access = match wanted.perm_type() {
            Type::Read => Access { read: true, write: false },
            Type::Write => Access { read: false, write: true },
            Type::Readwrite => Access { read: true, write: true },
        };
        role.permissions.insert((key.to_vec(), end.to_vec()), access);
        Ok(())
    }
}
