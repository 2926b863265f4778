//! All services on one port.

use std::sync::Arc;

use super::caller::Services;
use super::{App, auth, cluster, grpc, json, locks, ops, rest, stream};

/// Everything that is served, as one service for one port.
pub fn services(app: App) -> Services {
    let app = Arc::new(app);
    let json = json::routes().merge(stream::routes());
    let json = json.merge(auth::routes()).merge(locks::routes());
    let router = grpc::routes(&app).merge(json).merge(rest::routes()).merge(ops::routes());
    let router = router.merge(cluster::routes());
    let router = router.fallback(ops::not_found).with_state(app.clone());
    Services::new(app, router)
}
