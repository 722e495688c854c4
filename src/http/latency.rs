//! `GET /latency`: how long this node's writes took to reach each peer, over the last minutes.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::cluster::LatencyView;
use super::openapi::refusals::refusals;
use super::problem::Problem;
use super::view::{self, time};
use super::{Shared, query};
use crate::node::STEP_MS;

/// Steps in time, for every peer.
#[derive(Serialize, ToSchema)]
struct Latencies {
    step_ms: u64,
    peers: Vec<Peer>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LatenciesOfPeer)]
struct Peer {
    #[schema(required)]
    node: Option<u32>,
    points: Vec<Point>,
}

/// The writes that were acknowledged in one step.
#[derive(Serialize, ToSchema)]
#[schema(as = LatencyStep)]
struct Point {
    #[schema(format = DateTime)]
    at: String,
    #[serde(flatten)]
    latency: LatencyView,
}

refusals!(Refusals: query::NONE_KNOWN);

/// How long writes took to reach each peer
///
/// This node's own, from acceptance to acknowledgement, in steps over the last minutes.
#[utoipa::path(
    get, path = "/latency", operation_id = "latency", tag = "cluster",
    responses((status = 200, description = "Steps by peer", body = Latencies), Refusals),
)]
pub(super) async fn latency(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    let view = app.node.status().view;
    let peers = view.links.iter().map(|link| {
        let points = app.node.latencies(link).into_iter();
        let points = points.map(|(at, latency)| Point { at: time(at), latency: latency.into() });
        Peer { node: link.node.map(|node| node.0), points: points.collect() }
    });
    Ok(view::json(&Latencies { step_ms: STEP_MS, peers: peers.collect() }))
}
