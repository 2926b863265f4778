//! Who asks: known before any service is, whichever way a request came in.
//!
//! A client names itself by a token (`Authorization`, or `token` in gRPC's metadata) or by the
//! common name of its certificate. Requests for keys are checked where they are answered, against
//! the state that answers them. For everything else a list says what is open; the rest is for root.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tonic::Status;

use super::{Answer, App, json, status};
use crate::kv::Store;
use crate::kv::auth::{Auth, Error, Who};

/// The longest name of a user, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 1024;

/// The names that a client gives to itself.
#[derive(Clone, Debug, Default)]
struct Caller {
    token: Option<String>,
    /// From its certificate, which was verified.
    common_name: Option<Arc<str>>,
}

tokio::task_local! {
    static CALLER: Caller;
}

/// Everything that is served, to clients who are known.
pub struct Services {
    app: Arc<App>,
    router: TowerToHyperService<Router>,
}

impl Services {
    pub(super) fn new(app: Arc<App>, router: Router) -> Services {
        Services { app, router: TowerToHyperService::new(router) }
    }

    /// Serves a request of a client whose certificate has that common name.
    ///
    /// # Errors
    /// None: a refusal is a response.
    pub async fn call(
        &self,
        common_name: Option<Arc<str>>,
        request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let token = request.headers().get(AUTHORIZATION).or_else(|| request.headers().get("token"));
        let token = token.and_then(|token| token.to_str().ok());
        let token = token.map(|token| token.strip_prefix("Bearer ").unwrap_or(token).to_owned());
        let common_name = common_name.filter(|name| name.len() <= MAX_NAME_BYTES);
        let traces = self.app.traces.as_ref();
        let followed = traces.and_then(|traces| {
            traces.begin(request.method(), request.uri().path(), request.headers())
        });
        let served = async {
            if !is_open(request.method(), request.uri().path())
                && let Err(status) = self.app.require_root(request.uri().path()).await
            {
                return Ok(refuse(&request, &status));
            }
            hyper::service::Service::call(&self.router, request).await
        };
        let served = CALLER.scope(Caller { token, common_name }, served);
        match followed {
            Some(followed) => followed.serve(served).await,
            None => served.await,
        }
    }
}

fn refuse(request: &Request<Incoming>, status: &Status) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    match kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        true => status.clone().into_http::<tonic::body::Body>().into_response(),
        false => json::refuse(status),
    }
}

/// Whether a path needs no rights of root: its service looks at rights itself, or tells nothing of
/// keys. A path that is missing here is for root.
fn is_open(method: &Method, path: &str) -> bool {
    const SERVICES: [&str; 14] = [
        "/etcdserverpb.KV/",
        "/etcdserverpb.Watch/",
        "/etcdserverpb.Lease/",
        "/etcdserverpb.Auth/",
        "/grpc.health.v1.Health/",
        "/v3lockpb.Lock/",
        "/v3electionpb.Election/",
        "/v3/lock/",
        "/v3/election/",
        "/v1/",
        "/v3/kv/",
        "/v3/lease/",
        "/v3/auth/",
        "/v3/watch",
    ];
    const PATHS: [&str; 12] = [
        "/",
        "/cluster",
        "/health",
        "/livez",
        "/readyz",
        "/version",
        "/metrics",
        "/openapi.json",
        "/etcdserverpb.Cluster/MemberList",
        "/v3/cluster/member/list",
        "/etcdserverpb.Maintenance/Status",
        "/v3/maintenance/status",
    ];
    // An alarm is told to all; the command that changes one is for root.
    const ALARMS: [&str; 2] = ["/etcdserverpb.Maintenance/Alarm", "/v3/maintenance/alarm"];
    let is_exact = PATHS.contains(&path) && (method == Method::GET || path.len() > 9);
    is_exact || ALARMS.contains(&path) || SERVICES.iter().any(|service| path.starts_with(service))
}

/// Whether a path of root's only reads what this server has: also without a majority.
fn is_of_one_server(path: &str) -> bool {
    const METHODS: [&str; 4] = ["snapshot", "hash", "hashkv", "defragment"];
    let service = path.strip_prefix("/etcdserverpb.Maintenance/");
    let method = service.or_else(|| path.strip_prefix("/v3/maintenance/")).unwrap_or_default();
    METHODS.iter().any(|known| method.eq_ignore_ascii_case(known))
}

impl App {
    /// The user who asks, as `auth` knows it; `None` if users do not count, or it named none.
    pub(super) fn who(&self, auth: &Auth) -> Answer<Option<Who>> {
        if !auth.is_enabled() {
            return Ok(None);
        }
        let caller = CALLER.try_with(Clone::clone).unwrap_or_default();
        let name = match (caller.token, caller.common_name) {
            (Some(token), _) => {
                let user = self.guard.tokens.user(auth, &token);
                user.ok_or_else(|| status(Error::InvalidToken.into()))?
            }
            (None, Some(name)) => name.to_string(),
            (None, None) => return Ok(None),
        };
        Ok(Some(Who { name, revision: auth.revision() }))
    }

    /// Whether a client names itself, and this server does not know it: users may have been made, or
    /// enabled, and this server may not have heard of it yet.
    pub(super) fn may_be_behind(&self) -> bool {
        let is_named =
            CALLER.try_with(|caller| caller.token.is_some() || caller.common_name.is_some());
        is_named.unwrap_or(false) && !matches!(self.who(&self.node.watches.auth()), Ok(Some(_)))
    }

    /// Whether a client brings a token that means nothing to this server, or not yet.
    pub(super) fn has_unknown_token(&self) -> bool {
        let has_token = CALLER.try_with(|caller| caller.token.is_some());
        has_token.unwrap_or(false) && !matches!(self.who(&self.node.watches.auth()), Ok(Some(_)))
    }

    /// Refuses a read of a state that its user may not do.
    pub(super) fn permit(
        &self,
        store: &Store,
        check: impl FnOnce(&Auth, Option<&Who>) -> Result<(), Error>,
    ) -> Answer<()> {
        let auth = store.auth();
        if !auth.is_enabled() {
            return Ok(());
        }
        let who = self.who(auth)?;
        check(auth, who.as_ref()).map_err(|error| status(error.into()))
    }

    async fn require_root(&self, path: &str) -> Answer<()> {
        // A server that is behind may not know of its users yet. Without a majority there is nothing
        // newer to be known, and a backup is wanted then more than ever.
        let has_leader = self.view().await?.status.leader.is_some();
        let (_, store) = match is_of_one_server(path) {
            true if !has_leader => self.state(true).await?,
            true => match self.state(false).await {
                Err(_) => self.state(true).await?,
                newest => newest?,
            },
            false => self.state(false).await?,
        };
        self.permit(&store, |auth, who| auth.check_root(who))
    }

    /// The same as now, for a task of a stream.
    pub(super) fn in_the_same_name<F: Future>(work: F) -> impl Future<Output = F::Output> {
        CALLER.scope(CALLER.try_with(Clone::clone).unwrap_or_default(), work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_known_is_for_root() {
        let open = |path: &str| is_open(&Method::POST, path);
        assert!(open("/etcdserverpb.KV/Range") && open("/v3/kv/put") && open("/v3/watch"));
        assert!(open("/etcdserverpb.Maintenance/Status") && is_open(&Method::GET, "/cluster"));
        assert!(!open("/etcdserverpb.Maintenance/Snapshot") && !open("/v3/maintenance/snapshot"));
        assert!(!open("/etcdserverpb.Cluster/MemberAdd") && !open("/cluster/members"));
        assert!(!open("/cluster") && !open("/etcdserverpb.New/Thing"));
        assert!(is_of_one_server("/etcdserverpb.Maintenance/Snapshot"));
        assert!(!is_of_one_server("/etcdserverpb.Maintenance/MoveLeader"));
    }
}
