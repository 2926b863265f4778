//! Health, version, metrics, the status page, and the answer for services not served.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::json::{json, refuse};
use super::{App, ETCD_VERSION, OWN_VERSION, openapi};
use crate::kv::Store;
use crate::metrics;
use crate::space::Space;

/// etcd's paths.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .route("/metrics", get(print_metrics))
        .route("/openapi.json", get(openapi::description))
}

type Here = State<Arc<App>>;

/// A page for people, which asks for the rest itself.
async fn page() -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    ([(CONTENT_TYPE, kind)], include_str!("page.html")).into_response()
}

/// Whether this server can serve: it knows a leader, and a linearizable read works.
async fn health(State(app): Here, uri: Uri) -> Response {
    let is_local = uri.query().is_some_and(|query| query.contains("serializable=true"));
    let outcome = match app.view().await {
        // At once, and not when the read times out: probes are impatient.
        Ok(view) if view.status.leader.is_none() && !is_local => {
            Err(tonic::Status::unavailable("RAFT NO LEADER"))
        }
        _ => app.state(is_local).await.and_then(|(_, store)| no_alarm(&store, uri.query())),
    };
    let (status, body) = match outcome {
        Ok(()) => (StatusCode::OK, serde_json::json!({ "health": "true", "reason": "" })),
        Err(error) => {
            let reason = error.message();
            let body = serde_json::json!({ "health": "false", "reason": reason });
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
    };
    json(status, body.to_string().into_bytes())
}

/// Refuses if an alarm is active that the query does not leave out of account (`exclude=NOSPACE`).
fn no_alarm(store: &Store, query: Option<&str>) -> Result<(), tonic::Status> {
    let is_counted = |name: &&str| !query.is_some_and(|q| q.contains(&format!("exclude={name}")));
    match store.alarms().map(|(_, kind)| kind.as_str_name()).find(is_counted) {
        None => Ok(()),
        Some(name) => Err(tonic::Status::unavailable(format!("ALARM {name}"))),
    }
}

/// Whether the node's thread answers.
async fn livez(State(app): Here) -> Response {
    tell(app.view().await.map(|_| ()))
}

/// Whether requests should be sent here.
async fn readyz(State(app): Here) -> Response {
    tell(app.state(false).await.map(|_| ()))
}

fn tell(outcome: Result<(), tonic::Status>) -> Response {
    match outcome {
        Ok(()) => "ok\n".into_response(),
        Err(error) => {
            let text = format!("not ok: {}\n", error.message());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn version() -> Response {
    let body = serde_json::json!({
        "etcdserver": ETCD_VERSION, "etcdcluster": "3.5.0", "seaworthy": OWN_VERSION,
    });
    json(StatusCode::OK, body.to_string().into_bytes())
}

async fn print_metrics(State(app): Here) -> Response {
    let view = match app.view().await {
        Ok(view) => view,
        Err(error) => return refuse(&error),
    };
    let status = view.status;
    let mut out = String::new();
    app.node.metrics.print(&mut out);
    let compacted = u64::try_from(view.store.compacted()).unwrap_or(0);
    let gauges = [
        ("etcd_server_has_leader", u64::from(status.leader.is_some())),
        ("etcd_server_is_leader", u64::from(status.leader == Some(app.id))),
        ("etcd_server_proposals_committed_total", status.commit.0),
        ("etcd_server_proposals_applied_total", status.applied.0),
        ("etcd_server_proposals_pending", view.waiting_writes as u64),
        ("etcd_debugging_mvcc_keys_total", view.store.len() as u64),
        ("etcd_debugging_mvcc_current_revision", view.store.revision() as u64),
        ("etcd_mvcc_db_total_size_in_bytes", view.store.size_bytes()),
        ("etcd_mvcc_db_total_size_in_use_in_bytes", view.store.size_bytes()),
        ("seaworthy_raft_term", status.hard_state.term.0),
        ("etcd_debugging_mvcc_compact_revision", compacted),
        ("etcd_debugging_mvcc_db_total_size_in_bytes", view.store.size_bytes()),
        ("etcd_server_quota_backend_bytes", app.quota.0.unwrap_or(0)),
        ("seaworthy_disk_full", u64::from(app.space.as_ref().is_some_and(Space::is_full))),
        ("seaworthy_alarms", view.store.alarms().count() as u64),
    ];
    for (name, value) in gauges {
        metrics::print(&mut out, name, "gauge", value);
    }
    let version = format!("etcd_server_version{{server_version=\"{ETCD_VERSION}\"}}");
    out.push_str(&format!("# TYPE etcd_server_version gauge\n{version} 1\n"));
    if let Some(traces) = &app.traces {
        traces.print(&mut out);
    }
    metrics::print_process(&mut out);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], out).into_response()
}

/// Names the service that is not served: to gRPC in gRPC's way.
pub(super) async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let name = uri.path().trim_start_matches('/');
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        let status =
            tonic::Status::unimplemented(format!("seaworthy-server does not serve {name}"));
        return status.into_http::<tonic::body::Body>().into_response();
    }
    if name.starts_with("v3/") {
        let text = format!("seaworthy-server does not serve /{name}");
        return refuse(&tonic::Status::unimplemented(text));
    }
    (StatusCode::NOT_FOUND, format!("nothing is served at /{name}\n")).into_response()
}
