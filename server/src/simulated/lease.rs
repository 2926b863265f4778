//! Leases that clients of the simulation hold.
//!
//! | request | carried out as |
//! | --- | --- |
//! | `hold` a lease of that id and time | LeaseGrant, then Put of a key that is attached to it |
//! | `keep` it | LeaseKeepAlive: how long it lives now, in milliseconds; null if it is no more |
//! | `look` at it | a linearizable look: whether the lease is there, and whether its key is |

use bytes::Bytes;
use seaworthy::message::{Body, ErrorCode, RpcError};
use serde_json::json;

use super::next::{Next, command, field, refuse};
use crate::kv::{Command, Response, Store};
use crate::node::{Question, Reply, Request};
use crate::proto::etcdserverpb as pb;

/// A request about a lease, as far as it has come.
#[derive(Debug)]
pub(super) enum Held {
    Grant(i64),
    Attach,
    Keep,
    Look(i64),
}

fn key(id: i64) -> Bytes {
    format!("held/{id}").into()
}

impl Held {
    /// Reads a request. `None` if it is about something else.
    ///
    /// # Errors
    /// If it lacks a field.
    pub(super) fn begin(body: &Body) -> Result<Option<(Held, Request)>, RpcError> {
        let number = |name| {
            let wrong = || refuse(ErrorCode::MALFORMED_REQUEST, "a number is missing");
            field(body, name)?.as_i64().ok_or_else(wrong)
        };
        Ok(Some(match body.kind.as_str() {
            "hold" => {
                let (id, ttl) = (number("lease")?, number("seconds")?);
                let grant = pb::LeaseGrantRequest { id, ttl };
                (Held::Grant(id), command(&Command::LeaseGrant(grant)))
            }
            "keep" => (Held::Keep, Request::Lease(number("lease")?, Question::KeepAlive)),
            "look" => (Held::Look(number("lease")?), Request::Read),
            _ => return Ok(None),
        }))
    }

    /// Takes the node's answer; not that it failed.
    pub(super) fn proceed(&mut self, reply: Reply) -> Next {
        match (&*self, reply) {
            (Held::Grant(id), Reply::Done(_, Ok(Response::LeaseGrant(_)))) => {
                let (id, value) = (*id, Bytes::from_static(b"1"));
                *self = Held::Attach;
                let put = pb::PutRequest { key: key(id), value, lease: id, ..Default::default() };
                Next::Ask(command(&Command::Put(put)))
            }
            (Held::Attach, Reply::Done(_, Ok(Response::Put(_)))) => {
                Next::Answer(json!({"type": "hold_ok"}))
            }
            (Held::Keep, Reply::Lease(_, left)) => {
                let left = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                Next::Answer(json!({"type": "keep_ok", "left": left}))
            }
            (Held::Look(id), Reply::State(_, store)) => look(&store, *id),
            (_, reply) => Next::Refuse(refuse(ErrorCode::ABORT, &format!("answered {reply:?}"))),
        }
    }
}

fn look(store: &Store, id: i64) -> Next {
    let range = pb::RangeRequest { key: key(id), ..Default::default() };
    let found = store.range(&range).expect("the present can always be read");
    let (lease, key) = (store.lease(id).is_some(), found.count > 0);
    Next::Answer(json!({"type": "look_ok", "lease": lease, "key": key}))
}
