//! Answers that outlive their entries: a server that catches up by a snapshot finds in it how
//! the writes ended that its clients wait for.
//!
//! ```text
//! kind u8 | the answer, in protobuf; or the error, in postcard
//! ```

use prost::Message;
use serde::{Deserialize, Serialize};

use super::roles::NotChanged;
use crate::kv::{Error, Response};

/// The outcome of a write.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Of a command for the store.
    Store(Result<Response, Error>),
    /// Of a change of members.
    Members(Result<(), NotChanged>),
}

/// A larger answer is not kept: sessions are in memory, and in every snapshot.
const MAX_BYTES: usize = 256;

const PUT: u8 = 1;
const DELETE_RANGE: u8 = 2;
const TXN: u8 = 3;
const COMPACT: u8 = 4;
const ERROR: u8 = 5;
const LEASE_GRANT: u8 = 6;
const LEASE_REVOKE: u8 = 7;
const ALARM: u8 = 8;
const MEMBERS: u8 = 9;
const AUTH: u8 = 20;

/// The answer to a write, if it is small.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answer(Option<Vec<u8>>);

impl Answer {
    pub(super) fn of(outcome: &Outcome) -> Answer {
        let result = match outcome {
            Outcome::Store(result) => result,
            Outcome::Members(result) => {
                return Answer(postcard::to_extend(result, vec![MEMBERS]).ok());
            }
        };
        Answer(match result {
            Ok(Response::Put(answer)) => small(PUT, answer),
            Ok(Response::DeleteRange(answer)) => small(DELETE_RANGE, answer),
            Ok(Response::Txn(answer)) => small(TXN, answer),
            Ok(Response::Compact(answer)) => small(COMPACT, answer),
            Err(error) => postcard::to_extend(error, vec![ERROR]).ok(),
            Ok(Response::LeaseGrant(answer)) => small(LEASE_GRANT, answer),
            Ok(Response::LeaseRevoke(answer)) => small(LEASE_REVOKE, answer),
            Ok(Response::Alarm(answer)) => small(ALARM, answer),
            Ok(Response::Auth(answer)) => small(AUTH, answer),
        })
    }

    /// The answer; `None` if it was too large.
    pub(super) fn result(&self) -> Option<Outcome> {
        let (kind, bytes) = self.0.as_deref()?.split_first()?;
        Some(Outcome::Store(match *kind {
            MEMBERS => return postcard::from_bytes(bytes).ok().map(Outcome::Members),
            PUT => Ok(Response::Put(Message::decode(bytes).ok()?)),
            DELETE_RANGE => Ok(Response::DeleteRange(Message::decode(bytes).ok()?)),
            TXN => Ok(Response::Txn(Message::decode(bytes).ok()?)),
            COMPACT => Ok(Response::Compact(Message::decode(bytes).ok()?)),
            LEASE_GRANT => Ok(Response::LeaseGrant(Message::decode(bytes).ok()?)),
            LEASE_REVOKE => Ok(Response::LeaseRevoke(Message::decode(bytes).ok()?)),
            ALARM => Ok(Response::Alarm(Message::decode(bytes).ok()?)),
            AUTH => Ok(Response::Auth(Message::decode(bytes).ok()?)),
            ERROR => Err(postcard::from_bytes(bytes).ok()?),
            _ => return None,
        }))
    }
}

fn small(kind: u8, answer: &impl Message) -> Option<Vec<u8>> {
    let len = answer.encoded_len();
    (len < MAX_BYTES).then(|| {
        let mut bytes = Vec::with_capacity(1 + len);
        bytes.push(kind);
        answer.encode(&mut bytes).expect("a vector grows");
        bytes
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::{etcdserverpb as pb, mvccpb};

    fn kept(result: Result<Response, Error>) -> Option<Outcome> {
        kept_outcome(Outcome::Store(result))
    }

    fn kept_outcome(outcome: Outcome) -> Option<Outcome> {
        let bytes = postcard::to_allocvec(&Answer::of(&outcome)).unwrap();
        let kept = postcard::from_bytes::<Answer>(&bytes).unwrap().result();
        assert!(kept.as_ref().is_none_or(|kept| *kept == outcome));
        kept
    }

    #[test]
    fn a_small_answer_is_kept_and_a_large_one_is_not() {
        let header = Some(pb::ResponseHeader { revision: 7, ..Default::default() });
        let put = |len: usize| {
            let value = Bytes::from(vec![b'x'; len]);
            let prev_kv = Some(mvccpb::KeyValue { value, ..Default::default() });
            Ok(Response::Put(pb::PutResponse { header, prev_kv }))
        };
        assert!(kept(put(10)).is_some() && kept(put(300)).is_none());
        let deleted = pb::DeleteRangeResponse { deleted: 3, ..Default::default() };
        assert!(kept(Ok(Response::DeleteRange(deleted))).is_some());
        let txn = pb::TxnResponse { succeeded: true, ..Default::default() };
        assert!(kept(Ok(Response::Txn(txn))).is_some());
        assert!(kept(Ok(Response::Compact(Default::default()))).is_some());
        assert!(kept(Ok(Response::LeaseGrant(Default::default()))).is_some());
        assert!(kept(Ok(Response::LeaseRevoke(Default::default()))).is_some());
        assert!(kept(Ok(Response::Alarm(Default::default()))).is_some());
        assert!(kept(Err(Error::Compacted)).is_some());
        for outcome in [Ok(()), Err(NotChanged::NotInSync)] {
            assert!(kept_outcome(Outcome::Members(outcome)).is_some());
        }
    }
}
