//! `/draining`: whether this node takes no more writes because it is to be stopped for good, and how far it is with that.

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::refusals::refusals;
use super::problem::Problem;
use super::view::{self, time};
use super::{Shared, body, json, query};
use crate::node::{Behind, Drain, NodeHandle};

/// Whether this node is being drained, and how far it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Draining)]
struct Answer {
    node: u32,
    draining: bool,
    /// `null`: it is not being drained.
    #[schema(required)]
    drain: Option<DrainView>,
}

/// How far a node that is being drained is.
#[derive(Serialize, ToSchema)]
#[schema(as = Drain)]
pub(super) struct DrainView {
    #[schema(format = DateTime)]
    since: String,
    /// Every other configured node is known to have all that this node had, and there is one.
    done: bool,
    /// Writes from before that are not answered yet.
    writes_under_way: usize,
    /// Who is not known to have all.
    behind: Vec<BehindView>,
}

/// A configured peer that is not known to have all.
#[derive(Serialize, ToSchema)]
#[schema(as = PeerBehind)]
struct BehindView {
    /// Its id; `null` while it has never said.
    #[schema(required)]
    node: Option<u32>,
    address: String,
    /// How many ops it lacks by the newest it said; `null` while it has never said.
    #[schema(required)]
    ops: Option<u64>,
    /// Since when it does not answer; what it said before counts for nothing.
    #[schema(required, format = DateTime)]
    away_since: Option<String>,
    /// Why not.
    #[schema(required)]
    why: Option<String>,
}

impl From<Drain> for DrainView {
    fn from(drain: Drain) -> Self {
        Self {
            since: time(drain.since),
            done: drain.done,
            writes_under_way: drain.writes_under_way,
            behind: drain.behind.into_iter().map(BehindView::from).collect(),
        }
    }
}

impl From<Behind> for BehindView {
    fn from(behind: Behind) -> Self {
        Self {
            node: behind.node.map(|node| node.0),
            address: behind.address,
            ops: behind.ops,
            away_since: behind.away_since.map(time),
            why: behind.why,
        }
    }
}

fn answer(node: &NodeHandle) -> Response {
    let drain = node.drain().map(DrainView::from);
    view::json(&Answer { node: node.members().own.0, draining: drain.is_some(), drain })
}

refusals!(ShownRefusals: query::NONE_KNOWN);

/// Whether this node is being drained
///
/// And who lacks what of what it had when that began.
#[utoipa::path(
    get, path = "/draining", operation_id = "draining", tag = "node",
    responses((status = 200, description = "How far it is", body = Answer), ShownRefusals),
)]
pub(super) async fn shown(State(app): Shared, uri: Uri) -> Result<Response, Problem> {
    let [] = query::params(uri.query(), [])?;
    Ok(answer(&app.node))
}

refusals!(Refusals: query::NONE_KNOWN, body::REFUSALS, json::OF_FLAG);

/// Drain this node, or end that
///
/// While it is being drained it takes no writes of clients (`503`), and `/readyz` says so; reads and replication go on. A
/// restart ends it. Begun again, it is about what the node has now.
#[utoipa::path(
    put, path = "/draining", operation_id = "set_draining", tag = "node",
    request_body(content = ref("#/components/schemas/DrainingRequest"), content_type = "application/json"),
    responses((status = 200, description = "How far it is", body = Answer), Refusals),
)]
pub(super) async fn set(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    let text = body::json(&app, request).await?;
    let draining = json::flag(text.as_str()?, "draining")?;
    app.node.set_draining(draining);
    match draining {
        true => tracing::warn!("this node is being drained: it takes no more writes, to be stopped for good"),
        false => tracing::info!("this node is not being drained any more: it takes writes"),
    }
    Ok(answer(&app.node))
}
