//! Commands, as they stand in the log, and their answers.
//!
//! A command is a byte that names it, and the request as protobuf: a format with numbered
//! fields, so that a log can be read by later versions.

use prost::Message;

use super::auth::{Change, Who};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AuthEnableResponse, CompactionRequest, CompactionResponse,
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, PutResponse, RequestOp, ResponseHeader,
    TxnRequest, TxnResponse,
};

/// A change of the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Writes a key.
    Put(PutRequest),
    /// Deletes keys.
    DeleteRange(DeleteRangeRequest),
    /// Several operations at once, if conditions hold.
    Txn(TxnRequest),
    /// Forgets the past before a revision.
    Compact(CompactionRequest),
    /// Grants a lease, under the id that the request brings.
    LeaseGrant(LeaseGrantRequest),
    /// Ends a lease, and deletes the keys attached to it.
    LeaseRevoke(LeaseRevokeRequest),
    /// Raises or lifts an alarm.
    Alarm(AlarmRequest),
    /// Changes users or roles.
    Auth(Change),
    /// Another command, in the name of a user.
    By(Box<By>),
}

/// A command, and the user who wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct By {
    /// The user.
    pub who: Who,
    /// Any command but another of these.
    pub command: Command,
}

/// The result of a command. The headers hold the revision and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Answers a put.
    Put(PutResponse),
    /// Answers a deletion.
    DeleteRange(DeleteRangeResponse),
    /// Answers a transaction.
    Txn(TxnResponse),
    /// Answers a compaction.
    Compact(CompactionResponse),
    /// Answers the grant of a lease.
    LeaseGrant(LeaseGrantResponse),
    /// Answers the end of a lease.
    LeaseRevoke(LeaseRevokeResponse),
    /// Answers an alarm.
    Alarm(AlarmResponse),
    /// Answers a change of users or roles: all of these answers are alike.
    Auth(AuthEnableResponse),
}

pub(super) const PUT: u8 = 1;
const DELETE_RANGE: u8 = 2;
pub(super) const TXN: u8 = 3;
const COMPACT: u8 = 4;
const LEASE_GRANT: u8 = 5;
const LEASE_REVOKE: u8 = 6;
const ALARM: u8 = 7;
const AUTH: u8 = 20;
/// Followed by: length of the name u16 | name | revision u64 | the other command.
pub(super) const BY: u8 = 21;

impl Command {
    /// Appends the command's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        fn put(out: &mut Vec<u8>, tag: u8, message: &impl Message) {
            out.reserve(1 + message.encoded_len());
            out.push(tag);
            message.encode(out).expect("a Vec takes everything");
        }
        match self {
            Command::Put(request) => put(out, PUT, request),
            Command::DeleteRange(request) => put(out, DELETE_RANGE, request),
            Command::Txn(request) => put(out, TXN, request),
            Command::Compact(request) => put(out, COMPACT, request),
            Command::LeaseGrant(request) => put(out, LEASE_GRANT, request),
            Command::LeaseRevoke(request) => put(out, LEASE_REVOKE, request),
            Command::Alarm(request) => put(out, ALARM, request),
            Command::Auth(change) => {
                out.push(AUTH);
                change.encode(out);
            }
            Command::By(by) => {
                let Who { name, revision } = &by.who;
                let len = u16::try_from(name.len()).expect("names are checked when they are made");
                out.push(BY);
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(&revision.to_le_bytes());
                by.command.encode(out);
            }
        }
    }

    /// Whether the store is larger after it, or may be. Everything else is carried out even if there is no
    /// space left: deletions and compactions make some.
    pub fn takes_space(&self) -> bool {
        match self {
            Command::Put(_) | Command::LeaseGrant(_) => true,
            Command::Txn(txn) => puts(&txn.success) || puts(&txn.failure),
            Command::DeleteRange(_) | Command::Compact(_) => false,
            Command::LeaseRevoke(_) | Command::Alarm(_) | Command::Auth(_) => false,
            Command::By(by) => by.command.takes_space(),
        }
    }

    /// The command itself, without the user who wants it.
    pub fn bare(&self) -> &Command {
        match self {
            Command::By(by) => &by.command,
            other => other,
        }
    }

    /// The kind of the command for people, and the key that it is about: the first one of a range
    /// or transaction.
    pub fn title(self) -> (&'static str, Vec<u8>) {
        match self {
            Command::Put(put) => ("put", put.key.into()),
            Command::DeleteRange(delete) => ("delete", delete.key.into()),
            Command::Txn(txn) => {
                let compared = txn.compare.into_iter().map(|compare| compare.key);
                let ops = txn.success.into_iter().chain(txn.failure).filter_map(|op| op.request);
                let mut keys = compared.chain(ops.filter_map(|request| match request {
                    Request::RequestPut(put) => Some(put.key),
                    Request::RequestRange(range) => Some(range.key),
                    Request::RequestDeleteRange(delete) => Some(delete.key),
                    Request::RequestTxn(_) => None,
                }));
                ("txn", keys.next().unwrap_or_default().into())
            }
            Command::Compact(compact) => ("compact", compact.revision.to_string().into()),
            Command::LeaseGrant(grant) => ("grant", format!("{:x}", grant.id).into()),
            Command::LeaseRevoke(revoke) => ("revoke", format!("{:x}", revoke.id).into()),
            Command::Alarm(alarm) => ("alarm", alarm.alarm().as_str_name().into()),
            Command::Auth(change) => {
                let (kind, name) = change.title();
                (kind, name.into())
            }
            Command::By(by) => by.command.title(),
        }
    }

    /// Undoes [`Command::encode`]; `None` if the bytes were not written by it.
    pub fn decode(bytes: &[u8]) -> Option<Command> {
        let (tag, body) = bytes.split_first()?;
        match *tag {
            PUT => PutRequest::decode(body).ok().map(Command::Put),
            DELETE_RANGE => DeleteRangeRequest::decode(body).ok().map(Command::DeleteRange),
            TXN => TxnRequest::decode(body).ok().map(Command::Txn),
            COMPACT => CompactionRequest::decode(body).ok().map(Command::Compact),
            LEASE_GRANT => LeaseGrantRequest::decode(body).ok().map(Command::LeaseGrant),
            LEASE_REVOKE => LeaseRevokeRequest::decode(body).ok().map(Command::LeaseRevoke),
            ALARM => AlarmRequest::decode(body).ok().map(Command::Alarm),
            AUTH => Change::decode(body).map(Command::Auth),
            BY => decode_by(body),
            _ => None,
        }
    }
}

fn decode_by(body: &[u8]) -> Option<Command> {
    let (who, command) = split_by(body)?;
    let command = Command::decode(command)?;
    Some(Command::By(Box::new(By { who, command })))
}

/// The user of a command, and the bytes of the command itself.
pub(super) fn split_by(body: &[u8]) -> Option<(Who, &[u8])> {
    let (len, rest) = body.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    let (revision, rest) = rest.split_first_chunk()?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    let who = Who { name, revision: u64::from_le_bytes(*revision) };
    // One within the other has no meaning, and could go on without end.
    let command = Some(rest).filter(|rest| rest.first() != Some(&BY));
    Some((who, command?))
}

/// Whether one of these operations is a put.
fn puts(ops: &[RequestOp]) -> bool {
    ops.iter().any(|op| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(nested)) => puts(&nested.success) || puts(&nested.failure),
        _ => false,
    })
}

impl Response {
    /// The answer's header.
    pub fn header(&self) -> Option<&ResponseHeader> {
        match self {
            Response::Put(answer) => answer.header.as_ref(),
            Response::DeleteRange(answer) => answer.header.as_ref(),
            Response::Txn(answer) => answer.header.as_ref(),
            Response::Compact(answer) => answer.header.as_ref(),
            Response::LeaseGrant(answer) => answer.header.as_ref(),
            Response::LeaseRevoke(answer) => answer.header.as_ref(),
            Response::Alarm(answer) => answer.header.as_ref(),
            Response::Auth(answer) => answer.header.as_ref(),
        }
    }

    /// The place of the answer's header.
    pub fn header_mut(&mut self) -> &mut Option<ResponseHeader> {
        match self {
            Response::Put(answer) => &mut answer.header,
            Response::DeleteRange(answer) => &mut answer.header,
            Response::Txn(answer) => &mut answer.header,
            Response::Compact(answer) => &mut answer.header,
            Response::LeaseGrant(answer) => &mut answer.header,
            Response::LeaseRevoke(answer) => &mut answer.header,
            Response::Alarm(answer) => &mut answer.header,
            Response::Auth(answer) => &mut answer.header,
        }
    }
}
