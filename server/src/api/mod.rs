//! The services for clients, on one port: gRPC, its JSON twin, REST, health and metrics.
//!
//! The files here translate; `kv` and `node` decide on the meaning of a request. Every
//! request for keys goes through [`App`], whichever way it came in.

mod auth;
mod caller;
mod cluster;
mod grpc;
mod guard;
mod health;
mod json;
mod leader;
mod lease;
mod locks;
mod maintenance;
mod openapi;
mod ops;
mod pair;
mod queue;
mod rest;
mod routes;
mod sse;
mod stream;
mod token;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use seaworthy::raft::{RaftId, Term};
use tonic::Status;

pub use self::caller::Services;
pub use self::guard::Guard;
pub use self::routes::services;
use crate::engine::Handle;
use crate::kv::{self, Command, Response, Store};
use crate::node::{Failure, Reply, Request, View};
use crate::proto::etcdserverpb as pb;
use crate::quota::Quota;
use crate::space::Space;
use crate::traces::{self, Traces};

/// The version of etcd whose API is spoken. Clients compare it.
pub const ETCD_VERSION: &str = "3.5.13";
/// The version of this program.
pub const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The bounds of a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes of a request, as it stands in the log.
    pub max_request_bytes: usize,
    /// The most operations of a transaction.
    pub max_txn_ops: usize,
    /// A lease lives at least this long, in seconds.
    pub min_lease_seconds: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_request_bytes: 3 << 19, max_txn_ops: 128, min_lease_seconds: 2 }
    }
}

/// How much larger than `max_request_bytes` a message may be before it is not even read.
const OVERHEAD_BYTES: usize = 512 << 10;

/// How often a command sets out anew because users or roles have changed meanwhile.
const OLD_REVISIONS_MAX: usize = 10;

/// A body that is read as a whole may not pause for longer.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The server, as its services see it. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The way to the node.
    pub node: Handle,
    /// Who answers.
    pub id: RaftId,
    /// The space on its disk; none if the disk is another program's business.
    pub space: Option<Space>,
    /// The most bytes of its store.
    pub quota: Quota,
    /// Tokens and passwords.
    pub guard: Arc<Guard>,
    /// The bounds.
    pub limits: Limits,
    /// How long this server may know no leader before streams that insist on one end.
    pub leader_patience: Duration,
    /// How often a watch that asks for it hears how far it is.
    pub progress_interval: Duration,
    /// The traces of requests, if they are traced.
    pub traces: Option<Arc<Traces>>,
}

type Answer<T> = Result<T, Status>;

impl App {
    async fn range(&self, request: pb::RangeRequest) -> Answer<pb::RangeResponse> {
        kv::check_range(&request).map_err(status)?;
        let (term, store) = self.state(request.serializable).await?;
        self.permit(&store, |auth, who| auth.check_read(who, &request.key, &request.range_end))?;
        let mut answer = store.range(&request).map_err(status)?;
        traces::note("seaworthy.keys", answer.kvs.len());
        self.complete(&mut answer.header, term, &store);
        Ok(answer)
    }

    async fn put(&self, request: pb::PutRequest) -> Answer<pb::PutResponse> {
        kv::check_put(&request).map_err(status)?;
        match self.write(Command::Put(request)).await? {
            Response::Put(answer) => {
                traces::note("seaworthy.keys", 1);
                Ok(answer)
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Answer<pb::DeleteRangeResponse> {
        kv::check_delete(&request).map_err(status)?;
        match self.write(Command::DeleteRange(request)).await? {
            Response::DeleteRange(answer) => {
                traces::note("seaworthy.keys", answer.deleted);
                Ok(answer)
            }
            other => Err(mismatch(&other)),
        }
    }

    async fn txn(&self, request: pb::TxnRequest) -> Answer<pb::TxnResponse> {
        kv::check_txn(&request, self.limits.max_txn_ops).map_err(status)?;
        traces::note("seaworthy.operations", request.success.len().max(request.failure.len()));
        if kv::is_readonly(&request) {
            let (term, store) = self.state(kv::is_serializable(&request)).await?;
            self.permit(&store, |_, who| store.permit_txn(who, &request))?;
            let mut answer = store.read_txn(&request).map_err(status)?;
            self.complete(&mut answer.header, term, &store);
            return Ok(answer);
        }
        match self.write(Command::Txn(request)).await? {
            Response::Txn(answer) => Ok(answer),
            other => Err(mismatch(&other)),
        }
    }

    async fn compact(&self, request: pb::CompactionRequest) -> Answer<pb::CompactionResponse> {
        match self.write(Command::Compact(request)).await? {
            Response::Compact(answer) => Ok(answer),
            other => Err(mismatch(&other)),
        }
    }

    async fn status(&self) -> Answer<pb::StatusResponse> {
        let View { status, store, roles, .. } = *self.view().await?;
        let term = status.hard_state.term;
        let size = store.size_bytes() as i64;
        let mut answer = pb::StatusResponse {
            header: None,
            version: ETCD_VERSION.to_owned(),
            db_size: size,
            leader: status.leader.map_or(0, |id| id.0),
            raft_index: status.last.index.0,
            raft_term: term.0,
            raft_applied_index: status.applied.0,
            errors: Vec::new(),
            db_size_in_use: size,
            is_learner: roles.learners.contains(&self.id),
        };
        if status.leader.is_none() {
            answer.errors.push("etcdserver: no leader".to_owned());
        }
        let alarms = store
            .alarms()
            .map(|(member, kind)| format!("memberID:{member} alarm:{} ", kind.as_str_name()));
        answer.errors.extend(alarms);
        self.complete(&mut answer.header, term, &store);
        Ok(answer)
    }

    /// The state: of this server as it is, or at least as new as this moment. A client with a token
    /// that this server does not know gets the latter: the token may be newer than the state here.
    async fn state(&self, is_local: bool) -> Answer<(Term, Store)> {
        let is_local = is_local && !self.has_unknown_token();
        let request = if is_local { Request::ReadLocal } else { Request::Read };
        match self.node.ask(request).await {
            Reply::State(term, store) => Ok((term, store)),
            Reply::Failed(failure) => Err(failed(failure)),
            _ => Err(Status::internal("an answer of another kind")),
        }
    }

    /// A look at the server itself.
    async fn view(&self) -> Answer<Box<View>> {
        match self.node.ask(Request::Inspect).await {
            Reply::View(view) => Ok(view),
            Reply::Failed(failure) => Err(failed(failure)),
            _ => Err(Status::internal("an answer of another kind")),
        }
    }

    /// Has the log carry out a command, in the name of the user who asks.
    async fn write(&self, mut command: Command) -> Answer<Response> {
        // Guard: only users of this moment are a reason to refuse.
        if self.may_be_behind() || self.who_writes().is_err() {
            self.state(false).await?;
        }
        let old = kv::auth::Error::OldRevision.message();
        for _ in 0..OLD_REVISIONS_MAX {
            command = self.in_the_name_of_its_user(command)?;
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            if bytes.len() + LOGGED_OVERHEAD_BYTES > self.limits.max_request_bytes {
                return Err(Status::invalid_argument("etcdserver: request is too large"));
            }
            self.check_space(&command, bytes.len()).await?;
            match self.propose(bytes).await {
                // It was not carried out, and this server knows the new users by now.
                Err(status) if status.message() == old => {}
                other => return other,
            }
        }
        Err(status(kv::auth::Error::OldRevision.into()))
    }

    /// Adds the user who asks to a command, or puts it in the place of the one before.
    fn in_the_name_of_its_user(&self, command: Command) -> Answer<Command> {
        let command = match command {
            Command::By(by) => by.command,
            bare => bare,
        };
        Ok(match self.who_writes()? {
            Some(who) => Command::By(Box::new(kv::By { who, command })),
            None => command,
        })
    }

    /// The user who asks for a change, as far as this server knows the users.
    fn who_writes(&self) -> Answer<Option<kv::auth::Who>> {
        let auth = self.node.watches.auth();
        let who = self.who(&auth)?;
        auth.check_user(who.as_ref()).map_err(|error| status(error.into()))?;
        Ok(who)
    }

    /// Has the log carry out a command that was checked.
    async fn propose(&self, bytes: Vec<u8>) -> Answer<Response> {
        match self.node.ask(Request::Write(bytes)).await {
            Reply::Done(term, answer) => {
                let mut answer = answer.map_err(status)?;
                self.sign(answer.header_mut(), term);
                note_revision(answer.header_mut());
                Ok(answer)
            }
            Reply::Failed(failure) => Err(failed(failure)),
            _ => Err(Status::internal("an answer of another kind")),
        }
    }

    /// Adds to a header who answers.
    fn sign(&self, header: &mut Option<pb::ResponseHeader>, term: Term) {
        let header = header.get_or_insert_default();
        header.cluster_id = self.node.cluster_id();
        header.member_id = self.id.0;
        header.raft_term = term.0;
    }

    /// The same, with the revision of a state if the header has none.
    fn complete(&self, header: &mut Option<pb::ResponseHeader>, term: Term, store: &Store) {
        self.sign(header, term);
        if let Some(header) = header.as_mut().filter(|header| header.revision == 0) {
            header.revision = store.revision();
        }
        note_revision(header);
    }
}

/// Tells a trace the revision of an answer.
fn note_revision(header: &Option<pb::ResponseHeader>) {
    if let Some(header) = header {
        traces::note("seaworthy.revision", header.revision);
    }
}

/// The bytes that etcd counts beside the request itself: a header with an id, and two tags.
const LOGGED_OVERHEAD_BYTES: usize = 17;

/// A refusal of the store, as gRPC has it.
fn status(error: kv::Error) -> Status {
    let code = match error.code() {
        kv::Code::InvalidArgument => tonic::Code::InvalidArgument,
        kv::Code::NotFound => tonic::Code::NotFound,
        kv::Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        kv::Code::OutOfRange => tonic::Code::OutOfRange,
        kv::Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        kv::Code::DataLoss => tonic::Code::DataLoss,
        kv::Code::PermissionDenied => tonic::Code::PermissionDenied,
        kv::Code::Unauthenticated => tonic::Code::Unauthenticated,
    };
    Status::new(code, error.message())
}

/// A failure, as gRPC has it. Those that leave the outcome open have the code that clients
/// do not take for a refusal.
fn failed(failure: Failure) -> Status {
    match failure {
        Failure::TimedOut => Status::unavailable("etcdserver: request timed out"),
        Failure::AnswerLost | Failure::SessionLost => Status::unavailable(
            "etcdserver: the outcome is not known: this server was too far behind",
        ),
        Failure::Overloaded => Status::resource_exhausted("etcdserver: too many requests"),
        Failure::Stopping => Status::unavailable("etcdserver: server stopped"),
    }
}

fn mismatch(answer: &Response) -> Status {
    Status::internal(format!("an answer of another kind: {answer:?}"))
}
