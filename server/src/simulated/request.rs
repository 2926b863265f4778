//! The requests of clients to a simulated server, in words of etcd's API.
//!
//! | request | carried out as |
//! | --- | --- |
//! | `read` of a key | Range |
//! | `write` to a key, of null too | Put, DeleteRange |
//! | `cas` of a key | Txn: if the value is the one given, Put; else Range |
//! | `txn` of reads and appends | as clients of etcd do it: Ranges of one state; if anything is appended, a Txn that Puts if no key it read was modified since, and else reads them all again; some Puts are followed by a Range of the past, which may be compacted |
//! | `hash` | a digest of all keys and leases that this server holds, behind what it depends on: the revision, that of the last compaction, and how many leases were granted and have ended; and a digest of the members behind the last applied entry |
//! | `compact` | Compact of all but the last revisions, as many as it says |
//!
//! `lease` has the requests about leases, `watch` those of watches. Answers hold the revision at which they are true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use seaworthy::message::{Body, ErrorCode, RpcError};
use seaworthy::time::Time;
use serde_json::{Value, json};

use super::lease::Held;
use super::members::Changing;
use super::next::{Next, command, field, refuse};
use crate::kv::{Command, Error, Response, Store};
use crate::node::{Failure, Node, Reply, Request};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request as Op;
use crate::proto::etcdserverpb::response_op::Response as Answered;

/// How often a transaction is tried whose keys others keep changing.
const TRIES: usize = 4;
/// When it is not tried again. Its client waits for five seconds, and over slow links a try takes
/// more than one.
const PATIENCE: Duration = Duration::from_secs(2);
/// One of this many transactions reads the past.
const READ_PAST: i64 = 3;

/// A client's request, as far as it has come.
#[derive(Debug)]
pub(super) enum Asked {
    Read(Bytes),
    Write,
    Swap,
    Txn(Txn),
    Hash,
    /// How many revisions are to be left.
    Compact(i64),
    Held(Held),
    Members(Changing),
}

/// A transaction over lists.
#[derive(Debug)]
pub(super) struct Txn {
    /// Key, and the element that is appended; none for a read.
    ops: Vec<(Value, Option<Value>)>,
    since: Time,
    /// The lists and the revision that last changed them, as they were read.
    seen: BTreeMap<Bytes, (Vec<Value>, i64)>,
    /// A revision that is to be read after the writes, if any.
    past: Option<i64>,
    tries: usize,
}

fn register(key: &Value) -> Bytes {
    format!("register/{key}").into()
}

fn list(key: &Value) -> Bytes {
    format!("list/{key}").into()
}

fn range(key: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest { key: key.clone(), ..Default::default() }
}

fn put(key: Bytes, value: &Value) -> pb::PutRequest {
    pb::PutRequest { key, value: value.to_string().into(), ..Default::default() }
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn compare(key: Bytes, target: CompareTarget, value: TargetUnion) -> pb::Compare {
    let (result, target) = (CompareResult::Equal as i32, target as i32);
    pb::Compare { result, target, key, target_union: Some(value), ..Default::default() }
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn begin(body: &Body, now: Time) -> Result<(Asked, Request), RpcError> {
        if let Some((held, request)) = Held::begin(body)? {
            return Ok((Asked::Held(held), request));
        }
        Ok(match body.kind.as_str() {
            "read" => (Asked::Read(register(&field(body, "key")?)), Request::Read),
            "write" => {
                let key = register(&field(body, "key")?);
                let value = field(body, "value")?;
                let delete = pb::DeleteRangeRequest { key: key.clone(), ..Default::default() };
                let write = match value {
                    Value::Null => Command::DeleteRange(delete),
                    value => Command::Put(put(key, &value)),
                };
                (Asked::Write, command(&write))
            }
            "cas" => {
                let key = register(&field(body, "key")?);
                let (from, to) = (field(body, "from")?, field(body, "to")?);
                let from = TargetUnion::Value(from.to_string().into());
                let txn = pb::TxnRequest {
                    compare: vec![compare(key.clone(), CompareTarget::Value, from)],
                    success: vec![op(Op::RequestPut(put(key.clone(), &to)))],
                    failure: vec![op(Op::RequestRange(range(&key)))],
                };
                (Asked::Swap, command(&Command::Txn(txn)))
            }
            "txn" => (Asked::Txn(Txn::begin(&field(body, "txn")?, now)?), Request::Read),
            "hash" => (Asked::Hash, Request::ReadLocal),
            "compact" => {
                let malformed = || refuse(ErrorCode::MALFORMED_REQUEST, "keep is a number");
                let keep = field(body, "keep")?.as_i64().ok_or_else(malformed)?;
                (Asked::Compact(keep), Request::ReadLocal)
            }
            _ => return Err(refuse(ErrorCode::NOT_SUPPORTED, "no such request")),
        })
    }

    /// Takes the node's answer.
    pub(super) fn proceed(&mut self, now: Time, reply: Reply) -> Next {
        let reply = match reply {
            Reply::Failed(failure) => return Next::Refuse(self.failed(failure)),
            reply => reply,
        };
        match (self, reply) {
            (Asked::Held(held), reply) => held.proceed(reply),
            (Asked::Read(key), Reply::State(_, store)) => read(&store, key),
            (Asked::Compact(keep), Reply::State(_, store)) => {
                let revision = (store.revision() - *keep).max(1);
                let request = pb::CompactionRequest { revision, physical: false };
                Next::Ask(command(&Command::Compact(request)))
            }
            // That another client was faster is not a failure.
            (Asked::Compact(_), Reply::Done(..)) => Next::Answer(json!({"type": "compact_ok"})),
            (Asked::Write, Reply::Done(_, Ok(answer))) => {
                Next::Answer(json!({"type": "write_ok", "revision": revision(&answer)}))
            }
            (Asked::Swap, Reply::Done(_, Ok(Response::Txn(answer)))) => swapped(&answer),
            (Asked::Txn(txn), Reply::State(_, store)) => txn.read(&store),
            (Asked::Txn(txn), Reply::Done(_, Ok(Response::Txn(answer)))) => {
                txn.written(now, &answer)
            }
            (Asked::Txn(txn), Reply::Done(_, Err(Error::Compacted))) => txn.refused(),
            (_, reply) => Next::Refuse(refuse(ErrorCode::ABORT, &format!("answered {reply:?}"))),
        }
    }

    /// A promise that nothing happened is only made where nothing can have.
    fn failed(&self, failure: Failure) -> RpcError {
        let code = match (self, failure) {
            (Asked::Read(_) | Asked::Hash, _) | (_, Failure::Overloaded) => {
                ErrorCode::TEMPORARILY_UNAVAILABLE
            }
            (_, Failure::TimedOut) => ErrorCode::TIMEOUT,
            _ => ErrorCode::CRASH,
        };
        refuse(code, &format!("{failure:?}"))
    }
}

/// The revision in an answer's header.
fn revision(response: &Response) -> i64 {
    response.header().map_or(0, |header| header.revision)
}

fn read(store: &Store, key: &Bytes) -> Next {
    let answer = store.range(&range(key)).expect("the present can always be read");
    let found = answer.kvs.first().map(|pair| serde_json::from_slice(&pair.value));
    let value: Value = found.transpose().expect("values are JSON").unwrap_or(Value::Null);
    Next::Answer(json!({"type": "read_ok", "value": value, "revision": store.revision()}))
}

/// Digests of everything: of the store with the revisions that it depends on, and of the members with
/// the last entry that is applied.
pub(super) fn hash(node: &Node) -> Next {
    let (machine, applied) = (node.machine(), node.raft().status().applied.0);
    let store = &machine.store;
    let members = (&machine.cluster, &machine.members, &machine.roles);
    let members = crc32fast::hash(&postcard::to_allocvec(&members).expect("plain data"));
    let mut bytes = Vec::new();
    store.encode(&mut bytes);
    let (revision, compacted) = (store.revision(), store.compacted());
    let digest = crc32fast::hash(&bytes);
    let (granted, ended) = store.lease_changes();
    let state = json!([revision, compacted, granted, ended, digest]);
    let members = json!([applied, members]);
    Next::Answer(json!({"type": "hash_ok", "state": state, "members": members}))
}

fn swapped(answer: &pb::TxnResponse) -> Next {
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    if answer.succeeded {
        return Next::Answer(json!({"type": "cas_ok", "revision": revision}));
    }
    let is_there = matches!(
        answer.responses.first().and_then(|answer| answer.response.as_ref()),
        Some(Answered::ResponseRange(range)) if range.count > 0
    );
    let code = match is_there {
        true => ErrorCode::PRECONDITION_FAILED,
        false => ErrorCode::KEY_DOES_NOT_EXIST,
    };
    Next::Refuse(refuse(code, "the value is another"))
}

impl Txn {
    fn begin(text: &Value, now: Time) -> Result<Txn, RpcError> {
        let malformed = || refuse(ErrorCode::MALFORMED_REQUEST, "no transaction of lists");
        let ops = text.as_array().ok_or_else(malformed)?.iter().map(|op| {
            let parts = op.as_array().map(Vec::as_slice);
            match parts {
                Some([f, key, _]) if f == "r" => Ok((key.clone(), None)),
                Some([f, key, value]) if f == "append" => Ok((key.clone(), Some(value.clone()))),
                _ => Err(malformed()),
            }
        });
        let ops = ops.collect::<Result<_, _>>()?;
        Ok(Txn { ops, since: now, seen: BTreeMap::new(), past: None, tries: 0 })
    }

    fn keys(&self) -> BTreeSet<Bytes> {
        self.ops.iter().map(|(key, _)| list(key)).collect()
    }

    fn see(&mut self, key: Bytes, answer: &pb::RangeResponse) {
        let seen = answer.kvs.first().map_or((Vec::new(), 0), |pair| {
            let list = serde_json::from_slice(&pair.value).expect("values are lists");
            (list, pair.mod_revision)
        });
        self.seen.insert(key, seen);
    }

    /// All lists were read from one state.
    fn read(&mut self, store: &Store) -> Next {
        for key in self.keys() {
            let answer = store.range(&range(&key)).expect("the present can always be read");
            self.see(key, &answer);
        }
        match self.ops.iter().any(|(_, appended)| appended.is_some()) {
            true => {
                let reads_past = self.tries == 0 && store.revision() % READ_PAST == 0;
                // The oldest revision that can be read, or one that is gone already.
                let past = (store.compacted() - store.revision() % 2).max(1);
                self.past = reads_past.then_some(past);
                self.write()
            }
            false => self.answer(store.revision()),
        }
    }

    /// The past that it was to read is compacted, so nothing of it has happened.
    fn refused(&mut self) -> Next {
        match self.past.take() {
            Some(_) => Next::Ask(Request::Read),
            None => Next::Refuse(refuse(ErrorCode::ABORT, "it reads no past")),
        }
    }

    /// The lists after the transaction, and its micro-operations with their results.
    fn outcome(&self) -> (BTreeMap<Bytes, Vec<Value>>, Vec<Value>) {
        let mut lists: BTreeMap<Bytes, Vec<Value>> = BTreeMap::new();
        let mut results = Vec::new();
        for (key, appended) in &self.ops {
            let name = list(key);
            let list = lists.entry(name.clone()).or_insert_with(|| self.seen[&name].0.clone());
            match appended {
                Some(value) => {
                    list.push(value.clone());
                    results.push(json!(["append", key, value]));
                }
                None if list.is_empty() => results.push(json!(["r", key, null])),
                None => results.push(json!(["r", key, list])),
            }
        }
        (lists, results)
    }

    fn write(&mut self) -> Next {
        self.tries += 1;
        let (lists, _) = self.outcome();
        let changed = lists.into_iter().filter(|(key, list)| list.len() > self.seen[key].0.len());
        let puts = changed.map(|(key, list)| op(Op::RequestPut(put(key, &Value::Array(list)))));
        let unchanged = self.seen.iter().map(|(key, (_, modified))| {
            compare(key.clone(), CompareTarget::Mod, TargetUnion::ModRevision(*modified))
        });
        let past = self.past.map(|revision| {
            let key = self.keys().into_iter().next().unwrap_or_default();
            op(Op::RequestRange(pb::RangeRequest { revision, ..range(&key) }))
        });
        let txn = pb::TxnRequest {
            compare: unchanged.collect(),
            success: puts.chain(past).collect(),
            failure: self.keys().iter().map(|key| op(Op::RequestRange(range(key)))).collect(),
        };
        Next::Ask(command(&Command::Txn(txn)))
    }

    fn written(&mut self, now: Time, answer: &pb::TxnResponse) -> Next {
        if answer.succeeded {
            return self.answer(answer.header.as_ref().map_or(0, |header| header.revision));
        }
        if self.tries == TRIES || now - self.since > PATIENCE {
            return Next::Refuse(refuse(ErrorCode::TXN_CONFLICT, "its keys keep changing"));
        }
        for (key, answer) in self.keys().into_iter().zip(&answer.responses) {
            if let Some(Answered::ResponseRange(range)) = &answer.response {
                self.see(key, range);
            }
        }
        self.write()
    }

    fn answer(&self, revision: i64) -> Next {
        let (_, txn) = self.outcome();
        Next::Answer(json!({"type": "txn_ok", "txn": txn, "revision": revision}))
    }
}
