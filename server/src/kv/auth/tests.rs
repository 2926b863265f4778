//! Users, roles and permissions, against the rules of etcd.

#![allow(clippy::unwrap_used)]

use super::{Auth, Change, Error, Who};
use crate::kv::{self, By, Command, Store};
use crate::proto::authpb::Permission;
use crate::proto::authpb::permission::Type;
use crate::proto::etcdserverpb as pb;

fn change(store: &mut Store, change: Change) -> Result<(), Error> {
    let command = Command::Auth(change);
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    assert_eq!(Command::decode(&bytes).as_ref(), Some(&command));
    refusal(store.apply(&command))
}

fn refusal(result: Result<kv::Response, kv::Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(kv::Error::Auth(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn user(name: &str) -> Change {
    let hashed_password = "hash".to_owned();
    Change::UserAdd(pb::AuthUserAddRequest {
        name: name.to_owned(),
        hashed_password,
        ..Default::default()
    })
}

fn role(name: &str) -> Change {
    Change::RoleAdd(pb::AuthRoleAddRequest { name: name.to_owned() })
}

fn grant(user: &str, role: &str) -> Change {
    let (user, role) = (user.to_owned(), role.to_owned());
    Change::GrantRole(pb::AuthUserGrantRoleRequest { user, role })
}

fn permission(role: &str, kind: Type, key: &'static str, end: &'static str) -> Change {
    let perm = Permission { perm_type: kind as i32, key: key.into(), range_end: end.into() };
    let (name, perm) = (role.to_owned(), Some(perm));
    Change::GrantPermission(pb::AuthRoleGrantPermissionRequest { name, perm })
}

/// A store with the users root and alice, who may read [a, d) and [d, f), and write b.
fn guarded() -> Store {
    let mut store = Store::default();
    let changes = [
        user("root"),
        role("root"),
        grant("root", "root"),
        user("alice"),
        role("r"),
        permission("r", Type::Read, "a", "d"),
        permission("r", Type::Read, "d", "f"),
        permission("r", Type::Readwrite, "b", ""),
        grant("alice", "r"),
        Change::Enable(vec![7; 32]),
    ];
    changes.into_iter().for_each(|c| change(&mut store, c).unwrap());
    store
}

fn by(store: &Store, name: &str, command: Command) -> Command {
    let who = Who { name: name.to_owned(), revision: store.auth().revision() };
    Command::By(Box::new(By { who, command }))
}

fn put(key: &'static str, lease: i64) -> Command {
    Command::Put(pb::PutRequest { key: key.into(), lease, ..Default::default() })
}

#[test]
fn ranges_that_touch_count_as_one() {
    let store = guarded();
    let who = Who { name: "alice".to_owned(), revision: store.auth().revision() };
    let read =
        |key: &str, end: &str| store.auth().check_read(Some(&who), key.as_bytes(), end.as_bytes());
    for (key, end) in [("a", ""), ("c", "e"), ("a", "f"), ("e\u{7f}", ""), ("d", "c")] {
        assert_eq!(read(key, end), Ok(()), "{key}-{end}");
    }
    for (key, end) in [("f", ""), ("a", "f\0"), ("A", "b"), ("a", "\0"), ("g", "a")] {
        assert_eq!(read(key, end), Err(Error::PermissionDenied), "{key}-{end}");
    }
    assert_eq!(store.auth().check_read(None, b"a", b""), Err(Error::UserEmpty));
}

#[test]
fn a_command_is_checked_where_it_is_carried_out() {
    let mut store = guarded();
    assert_eq!(refusal(store.apply(&put("b", 0))), Err(Error::UserEmpty));
    let mine = by(&store, "alice", put("b", 0));
    let mut bytes = Vec::new();
    mine.encode(&mut bytes);
    assert_eq!(Command::decode(&bytes).as_ref(), Some(&mine));
    assert_eq!(refusal(store.apply(&mine)), Ok(()));
    let other = by(&store, "alice", put("c", 0));
    assert_eq!(refusal(store.apply(&other)), Err(Error::PermissionDenied));
    let ghost = by(&store, "ghost", put("b", 0));
    assert_eq!(refusal(store.apply(&ghost)), Err(Error::PermissionDenied));
    // Alice may manage no one; root may, and then what set out before is too old.
    let add = by(&store, "alice", Command::Auth(user("eve")));
    assert_eq!(refusal(store.apply(&add)), Err(Error::PermissionDenied));
    let add = by(&store, "root", Command::Auth(user("eve")));
    assert_eq!(refusal(store.apply(&add)), Ok(()));
    assert_eq!(refusal(store.apply(&mine)), Err(Error::OldRevision));
    // The log may be read by servers of an older state: a snapshot has it all.
    let mut bytes = Vec::new();
    store.encode(&mut bytes);
    assert_eq!(Store::decode(&bytes).unwrap().auth(), store.auth());
}

#[test]
fn a_transaction_needs_all_that_it_might_do() {
    let mut store = guarded();
    let op = |request| pb::RequestOp { request: Some(request) };
    let range = |key: &'static str| {
        pb::request_op::Request::RequestRange(pb::RangeRequest {
            key: key.into(),
            ..Default::default()
        })
    };
    let write = |key: &'static str| {
        let put = pb::PutRequest { key: key.into(), ..Default::default() };
        pb::request_op::Request::RequestPut(put)
    };
    let mut ask = |compare: &'static str, then, otherwise| {
        let compare = vec![pb::Compare { key: compare.into(), ..Default::default() }];
        let txn = pb::TxnRequest { compare, success: vec![op(then)], failure: vec![op(otherwise)] };
        let nested = pb::request_op::Request::RequestTxn(txn);
        let txn = pb::TxnRequest { success: vec![op(nested)], ..Default::default() };
        let command = by(&store, "alice", Command::Txn(txn));
        refusal(store.apply(&command))
    };
    assert_eq!(ask("a", range("c"), write("b")), Ok(()));
    assert_eq!(ask("z", range("c"), write("b")), Err(Error::PermissionDenied));
    assert_eq!(ask("a", range("z"), write("b")), Err(Error::PermissionDenied));
    assert_eq!(ask("a", range("c"), write("c")), Err(Error::PermissionDenied));
}

#[test]
fn a_lease_belongs_to_who_may_write_its_keys() {
    let mut store = guarded();
    let grant = Command::LeaseGrant(pb::LeaseGrantRequest { ttl: 10, id: 5 });
    store.apply(&by(&store, "alice", grant)).unwrap();
    let root = by(&store, "root", put("x", 5));
    store.apply(&root).unwrap();
    let attach = by(&store, "alice", put("b", 5));
    assert_eq!(refusal(store.apply(&attach)), Err(Error::PermissionDenied));
    let revoke = Command::LeaseRevoke(pb::LeaseRevokeRequest { id: 5 });
    let mine = by(&store, "alice", revoke.clone());
    assert_eq!(refusal(store.apply(&mine)), Err(Error::PermissionDenied));
    let root = by(&store, "root", revoke);
    assert_eq!(refusal(store.apply(&root)), Ok(()));
}

#[test]
fn there_is_always_a_root() {
    let mut auth = Auth::default();
    assert_eq!(auth.apply(&Change::Enable(vec![1])), Err(Error::RootUserMissing));
    auth.apply(&user("root")).unwrap();
    assert_eq!(auth.apply(&Change::Enable(vec![1])), Err(Error::RootRoleMissing));
    auth.apply(&grant("root", "root")).unwrap();
    auth.apply(&role("root")).unwrap();
    auth.apply(&Change::Enable(vec![1])).unwrap();
    let (name, root) = ("root".to_owned(), "root".to_owned());
    for refused in [
        Change::UserDelete(pb::AuthUserDeleteRequest { name: name.clone() }),
        Change::RevokeRole(pb::AuthUserRevokeRoleRequest { name, role: root.clone() }),
        Change::RoleDelete(pb::AuthRoleDeleteRequest { role: root }),
    ] {
        let before = auth.clone();
        assert_eq!(auth.apply(&refused), Err(Error::InvalidManagement));
        assert_eq!(auth, before);
    }
    assert_eq!(auth.apply(&grant("root", "none")), Err(Error::RoleNotFound));
    assert_eq!(auth.permissions("root"), Ok(Vec::new()));
}
