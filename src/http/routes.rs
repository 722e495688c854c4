//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::routing::{get, patch};

use super::{
    App, access::Needs, backup, cluster, conflicts, draining, fingerprint, keys, latency, many, metrics, openapi,
    pending, read, set, status, unknown_path, watch, writes, wrong_method,
};

use crate::auth::Scope;

const READ: &str = "/read";
const SET: &str = "/set";
const KEYS: &str = "/keys";
const CONFLICTS: &str = "/conflicts";
const FINGERPRINT: &str = "/fingerprint";
const BACKUP: &str = "/backup";
const WRITES: &str = "/writes/{dot}";
const STATUS: &str = "/status";
const CLUSTER: &str = "/cluster";
const CLUSTER_EVENTS: &str = "/cluster/events";
const PENDING: &str = "/pending";
const LATENCY: &str = "/latency";
const DRAINING: &str = "/draining";
const LIVEZ: &str = "/livez";
const READYZ: &str = "/readyz";
const METRICS: &str = "/metrics";
const WATCH: &str = "/watch";
const OPENAPI: &str = "/openapi.json";

/// What a call needs where tokens are asked for. Whatever is not named here needs one.
pub(super) fn needs(method: &Method, path: &str) -> Needs {
    let is_seen = matches!(*method, Method::GET | Method::HEAD);
    match route(path).map(|route| PATHS[route]) {
        Some(LIVEZ | READYZ | OPENAPI) => Needs::Nothing,
        Some(READ | KEYS | CONFLICTS | WATCH) => Needs::ForSome(Scope::Read),
        Some(SET) => Needs::ForSome(Scope::Write),
        Some(FINGERPRINT | WRITES | PENDING) => Needs::ForAll(Scope::Read),
        Some(BACKUP) => Needs::ForAll(Scope::Admin),
        Some(STATUS | CLUSTER | CLUSTER_EVENTS | LATENCY | METRICS) => Needs::ForSome(Scope::Status),
        Some(DRAINING) if is_seen => Needs::ForSome(Scope::Status),
        Some(DRAINING) => Needs::ForSome(Scope::Admin),
        Some(_) | None => Needs::Token,
    }
}

/// The paths that there are.
pub(super) const PATHS: &[&str] = &[
    READ,
    SET,
    KEYS,
    CONFLICTS,
    FINGERPRINT,
    BACKUP,
    WRITES,
    STATUS,
    CLUSTER,
    CLUSTER_EVENTS,
    PENDING,
    LATENCY,
    DRAINING,
    LIVEZ,
    READYZ,
    METRICS,
    WATCH,
    OPENAPI,
];

/// Which of [`PATHS`] a path is of.
pub(super) fn route(path: &str) -> Option<usize> {
    PATHS.iter().position(|route| match route.split_once('{') {
        None => *route == path,
        // It ends in a part that varies.
        Some((before, _)) => path.strip_prefix(before).is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
    })
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(READ, get(read::read).post(many::read_many))
        .route(SET, patch(set::set))
        .route(KEYS, get(keys::keys))
        .route(CONFLICTS, get(conflicts::conflicts))
        .route(FINGERPRINT, get(fingerprint::fingerprint))
        .route(BACKUP, get(backup::backup))
        .route(WRITES, get(writes::receipt))
        .route(STATUS, get(status::status))
        .route(CLUSTER, get(cluster::cluster))
        .route(CLUSTER_EVENTS, get(cluster::events))
        .route(PENDING, get(pending::pending))
        .route(LATENCY, get(latency::latency))
        .route(DRAINING, get(draining::shown).put(draining::set))
        .route(LIVEZ, get(status::live))
        .route(READYZ, get(status::ready))
        .route(METRICS, get(metrics::metrics))
        .route(WATCH, get(watch::watch))
        .route(OPENAPI, get(openapi::document))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
}
