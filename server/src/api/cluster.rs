//! Members, over gRPC, JSON and REST: list, add, remove, update, promote; and who leads.
//!
//! ```text
//! GET    /cluster                  200: the cluster as this server sees it
//! POST   /cluster/members          201: {"peer_urls": [URL], "learner": false} adds a member
//! DELETE /cluster/members/{id}     200: removes the member of that id (hexadecimal)
//! ```
//!
//! Errors are etcd's texts as `{"error": ...}`: 400 for a change that is refused, 404 for a member
//! that does not exist, 503 if it may succeed later.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get, post};
use seaworthy::raft::{RaftId, Term};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Request as Grpc, Response as Answered, Status, async_trait};

use super::json::{json as body, refuse};
use super::{Answer, App, failed};
use crate::node::{Change, Failure, Member, NotChanged, Reply, Request, Roster};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::cluster_server::Cluster;
use crate::url::is_url;

/// The paths of plain REST.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/cluster", get(cluster))
        .route("/cluster/members", post(add))
        .route("/cluster/members/{id}", delete(remove))
}

impl App {
    pub(super) async fn member_list(
        &self,
        request: pb::MemberListRequest,
    ) -> Answer<pb::MemberListResponse> {
        if request.linearizable {
            self.state(false).await?;
        }
        let view = self.view().await?;
        let staying = view.members.iter().filter(|(id, _)| !view.roles.leaving.contains(id));
        let members = staying
            .map(|(id, member)| member_of(*id, member, view.roles.learners.contains(id)))
            .collect();
        let mut answer = pb::MemberListResponse { header: None, members };
        // As in etcd, its header tells of no revision.
        self.sign(&mut answer.header, view.status.hard_state.term);
        Ok(answer)
    }

    pub(super) async fn member_add(
        &self,
        request: pb::MemberAddRequest,
    ) -> Answer<pb::MemberAddResponse> {
        let peer_urls = checked(request.peer_ur_ls)?;
        let id = random_id()?;
        let change = Change::Add { id, peer_urls, is_learner: request.is_learner };
        let (header, members) = self.change(Request::Change(change)).await?;
        let member = members.iter().find(|member| member.id == id.0).cloned();
        Ok(pb::MemberAddResponse { header, member, members })
    }

    pub(super) async fn member_remove(
        &self,
        request: pb::MemberRemoveRequest,
    ) -> Answer<pb::MemberRemoveResponse> {
        let change = Change::Remove(RaftId(request.id));
        let (header, members) = self.change(Request::Change(change)).await?;
        Ok(pb::MemberRemoveResponse { header, members })
    }

    pub(super) async fn member_update(
        &self,
        request: pb::MemberUpdateRequest,
    ) -> Answer<pb::MemberUpdateResponse> {
        let peer_urls = checked(request.peer_ur_ls)?;
        let change = Change::Update { id: RaftId(request.id), peer_urls };
        let (header, members) = self.change(Request::Change(change)).await?;
        Ok(pb::MemberUpdateResponse { header, members })
    }

    pub(super) async fn member_promote(
        &self,
        request: pb::MemberPromoteRequest,
    ) -> Answer<pb::MemberPromoteResponse> {
        let change = Change::Promote(RaftId(request.id));
        let (header, members) = self.change(Request::Change(change)).await?;
        Ok(pb::MemberPromoteResponse { header, members })
    }

    pub(super) async fn move_leader(
        &self,
        request: pb::MoveLeaderRequest,
    ) -> Answer<pb::MoveLeaderResponse> {
        let asked = self.node.ask(Request::MoveLeader(RaftId(request.target_id))).await;
        if let Reply::Failed(Failure::TimedOut) = asked {
            let text = "etcdserver: request timed out, leader transfer took too long";
            return Err(Status::unavailable(text));
        }
        let (term, _) = changed(asked)?;
        let mut answer = pb::MoveLeaderResponse { header: None };
        self.sign(&mut answer.header, term);
        Ok(answer)
    }

    async fn change(
        &self,
        request: Request,
    ) -> Answer<(Option<pb::ResponseHeader>, Vec<pb::Member>)> {
        let (term, roster) = changed(self.node.ask(request).await)?;
        let mut header = None;
        self.sign(&mut header, term);
        let members = roster.members.iter();
        Ok((header, members.map(|(id, m, is_learner)| member_of(*id, m, *is_learner)).collect()))
    }
}

fn changed(reply: Reply) -> Answer<(Term, Roster)> {
    match reply {
        Reply::Members(term, Ok(roster)) => Ok((term, roster)),
        Reply::Members(_, Err(why)) => Err(status(why)),
        Reply::Failed(failure) => Err(failed(failure)),
        _ => Err(Status::internal("an answer of another kind")),
    }
}

fn member_of(id: RaftId, member: &Member, is_learner: bool) -> pb::Member {
    pb::Member {
        id: id.0,
        name: member.name.clone(),
        peer_ur_ls: member.peer_urls.clone(),
        client_ur_ls: member.client_urls.clone(),
        is_learner,
    }
}

/// The most bytes of the addresses of a member.
const MAX_URLS_BYTES: usize = 2048;

/// Addresses as etcd takes them, in order.
fn checked(urls: Vec<String>) -> Answer<Vec<String>> {
    let mut urls: Vec<String> = urls.into_iter().map(|url| url.trim().to_owned()).collect();
    urls.sort();
    // Guard: the greetings of servers hold the addresses of all members, and are bounded.
    let bytes: usize = urls.iter().map(String::len).sum();
    if urls.is_empty() || bytes > MAX_URLS_BYTES || !urls.iter().all(|url| is_url(url)) {
        return Err(Status::invalid_argument("etcdserver: given member URLs are invalid"));
    }
    Ok(urls)
}

fn random_id() -> Answer<RaftId> {
    let random = getrandom::u64().map_err(|e| Status::internal(e.to_string()))?;
    Ok(RaftId(random.max(1)))
}

/// A refusal, with etcd's code and text.
fn status(why: NotChanged) -> Status {
    let (code, text) = match why {
        NotChanged::NotFound => (Code::NotFound, "member not found"),
        NotChanged::Exists => (Code::FailedPrecondition, "member ID already exist"),
        NotChanged::AddressTaken => (Code::FailedPrecondition, "Peer URLs already exists"),
        NotChanged::NotEnoughStarted => {
            (Code::FailedPrecondition, "re-configuration failed due to not enough started members")
        }
        NotChanged::Unhealthy => (Code::Unavailable, "unhealthy cluster"),
        NotChanged::TooManyLearners => {
            (Code::FailedPrecondition, "too many learner members in cluster")
        }
        NotChanged::NoLearner => (Code::FailedPrecondition, "can only promote a learner member"),
        NotChanged::NotInSync => (
            Code::FailedPrecondition,
            "can only promote a learner member which is in sync with leader",
        ),
        NotChanged::NotLeader => (Code::FailedPrecondition, "not leader"),
        NotChanged::CannotLead => (Code::FailedPrecondition, "bad leader transferee"),
    };
    Status::new(code, format!("etcdserver: {text}"))
}

type GrpcAnswer<T> = Result<Answered<T>, Status>;

#[async_trait]
impl Cluster for App {
    async fn member_add(
        &self,
        request: Grpc<pb::MemberAddRequest>,
    ) -> GrpcAnswer<pb::MemberAddResponse> {
        self.member_add(request.into_inner()).await.map(Answered::new)
    }

    async fn member_remove(
        &self,
        request: Grpc<pb::MemberRemoveRequest>,
    ) -> GrpcAnswer<pb::MemberRemoveResponse> {
        self.member_remove(request.into_inner()).await.map(Answered::new)
    }

    async fn member_update(
        &self,
        request: Grpc<pb::MemberUpdateRequest>,
    ) -> GrpcAnswer<pb::MemberUpdateResponse> {
        self.member_update(request.into_inner()).await.map(Answered::new)
    }

    async fn member_list(
        &self,
        request: Grpc<pb::MemberListRequest>,
    ) -> GrpcAnswer<pb::MemberListResponse> {
        self.member_list(request.into_inner()).await.map(Answered::new)
    }

    async fn member_promote(
        &self,
        request: Grpc<pb::MemberPromoteRequest>,
    ) -> GrpcAnswer<pb::MemberPromoteResponse> {
        self.member_promote(request.into_inner()).await.map(Answered::new)
    }
}

type Here = State<Arc<App>>;

/// The cluster as this server sees it. Only a leader knows how far the others are.
async fn cluster(State(app): Here) -> Response {
    let view = match app.view().await {
        Ok(view) => view,
        Err(error) => return refuse(&error),
    };
    let (status, store) = (view.status, view.store);
    let leads = status.leader == Some(app.id);
    let members = view.members.iter().map(|(id, member)| {
        let index = match *id == app.id {
            true => Some(status.durable.0),
            false => view.matched.get(id).copied(),
        };
        let role = match status.leader {
            _ if view.roles.leaving.contains(id) => "leaving",
            Some(leader) if leader == *id => "leader",
            _ if view.roles.learners.contains(id) => "learner",
            _ if !member.has_started() => "not started",
            Some(_) => "follower",
            None => "no leader known",
        };
        let mut text = described(*id, member);
        text["role"] = role.into();
        text["index"] = index.into();
        text
    });
    let text = json!({
        "cluster": format!("{:016x}", app.node.cluster_id()),
        "answered_by": view.members.get(&app.id).map(|member| &member.name),
        "leads": leads,
        "leader": status.leader.map(|id| format!("{:016x}", id.0)),
        "term": status.hard_state.term.0,
        "index": status.last.index.0,
        "commit": status.commit.0,
        "applied": status.applied.0,
        "revision": store.revision(),
        "keys": store.len(),
        "versions": store.versions(),
        "size_bytes": store.size_bytes(),
        "members": members.collect::<Vec<_>>(),
    });
    body(StatusCode::OK, format!("{text}\n").into_bytes())
}

fn described(id: RaftId, member: &Member) -> Value {
    json!({
        "id": format!("{:016x}", id.0), "name": member.name,
        "peer_urls": member.peer_urls, "client_urls": member.client_urls,
    })
}

/// A member to be added.
#[derive(Deserialize)]
struct Addition {
    peer_urls: Vec<String>,
    #[serde(default)]
    learner: bool,
}

async fn add(State(app): Here, text: Bytes) -> Response {
    let added = async {
        let wanted: Addition =
            serde_json::from_slice(&text).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let (peer_ur_ls, is_learner) = (wanted.peer_urls, wanted.learner);
        app.member_add(pb::MemberAddRequest { peer_ur_ls, is_learner }).await
    };
    match added.await {
        Ok(added) => {
            let id = added.member.map(|member| format!("{:016x}", member.id));
            let text = json!({ "id": id, "members": listed(&added.members) });
            body(StatusCode::CREATED, format!("{text}\n").into_bytes())
        }
        Err(status) => refuse_listing(&app, &status).await,
    }
}

async fn remove(State(app): Here, Path(id): Path<String>) -> Response {
    let removed = async {
        let wrong = |_| Status::not_found("etcdserver: member not found");
        let id = u64::from_str_radix(&id, 16).map_err(wrong)?;
        app.member_remove(pb::MemberRemoveRequest { id }).await
    };
    match removed.await {
        Ok(removed) => {
            let text = json!({ "members": listed(&removed.members) });
            body(StatusCode::OK, format!("{text}\n").into_bytes())
        }
        Err(status) => refuse_listing(&app, &status).await,
    }
}

fn listed(members: &[pb::Member]) -> Vec<Value> {
    let described = |member: &pb::Member| {
        let known = Member {
            name: member.name.clone(),
            peer_urls: member.peer_ur_ls.clone(),
            client_urls: member.client_ur_ls.clone(),
            ..Member::default()
        };
        let mut text = described(RaftId(member.id), &known);
        text["learner"] = member.is_learner.into();
        text
    };
    members.iter().map(described).collect()
}

/// A refusal, with the members beside it: the one who asked may find itself among them.
async fn refuse_listing(app: &App, status: &Status) -> Response {
    let members = match app.member_list(pb::MemberListRequest::default()).await {
        Ok(found) => listed(&found.members),
        Err(_) => Vec::new(),
    };
    let text = json!({ "error": status.message(), "members": members });
    body(super::json::http_status(status.code()), format!("{text}\n").into_bytes())
}
