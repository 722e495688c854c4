//! `GET /pending?peer=N`: what a peer lacks of this node's log, and which keys that is about: of all keys only these can
//! get siblings there when it gets them.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answers::large;
use super::openapi::{self, refusals::refusals};
use super::problem::{self, Kind, Problem};
use super::query::{bad_value, missing};
use super::view::{self, time};
use super::{App, Shared, query};
use crate::causality::{Dot, NodeId};
use crate::format;
use crate::replica::{Key, OpRange};
use crate::storage::BatchLimit;

/// Of more ops, only the first are looked at.
const LOOKED_AT: BatchLimit = BatchLimit { ops: 10_000, bytes: 8 << 20 };

/// Of more keys, only so many are named.
const MAX_KEYS: usize = 1_000;

/// What waits for a peer.
#[derive(Serialize, ToSchema)]
struct Pending {
    peer: u32,
    ops: u64,
    bytes: u64,
    /// When the first of them was accepted.
    #[schema(required, format = DateTime)]
    oldest: Option<String>,
    keys: Vec<KeyView>,
    keys_left_out: usize,
    ops_looked_at: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PendingKey)]
struct KeyView {
    key: String,
    /// The last of the ops that writes it.
    dot: String,
}

impl From<(Key, Dot)> for KeyView {
    fn from((key, dot): (Key, Dot)) -> Self {
        Self { key: key.to_string(), dot: dot.to_string() }
    }
}

refusals!(Refusals: query::REFUSALS, problem::OF_STORE, &[Kind::BadParameter, Kind::UnknownPeer]);

/// What waits for a peer
///
/// Of this node's log, by the newest that the peer said: only the keys that it names can get siblings there.
#[utoipa::path(
    get, path = "/pending", operation_id = "pending", tag = "cluster",
    params(openapi::Peer),
    responses((status = 200, description = "What waits", body = Pending), Refusals),
)]
pub(super) async fn pending(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [peer] = query::params(request.uri().query(), ["peer"])?;
    let text = peer.ok_or_else(|| missing("peer", "the id of a peer"))?;
    let peer = text.parse().map_err(|_| bad_value("peer", &text, "the id of a peer"))?;
    large(&app, 0, move |app| Ok(view::json(&report(app, NodeId(peer))?))).await
}

fn report(app: &App, peer: NodeId) -> Result<Pending, Problem> {
    let view = app.node.status().view;
    let link = view.links.iter().find(|link| link.node == Some(peer)).ok_or_else(|| {
        let detail = format!("this node knows no peer {}; GET /status lists those it has", peer.0);
        Problem::new(Kind::UnknownPeer, detail).with("peer", peer.0)
    })?;
    let lacks = view.lacks(link);
    let stored = app.node.ops(&lacks, LOOKED_AT)?;
    let mut keys: BTreeMap<Key, Dot> = BTreeMap::new();
    for op in &stored {
        let decoded = format::op::decode(&op.bytes);
        let decoded =
            decoded.map_err(|error| Problem::new(Kind::StorageUnreadable, format!("op {}: {error}", op.dot)))?;
        keys.extend(decoded.entries.into_iter().map(|entry| (entry.key, op.dot)));
    }
    let keys_left_out = keys.len().saturating_sub(MAX_KEYS);
    Ok(Pending {
        peer: peer.0,
        ops: lacks.iter().map(OpRange::count).sum(),
        bytes: app.node.op_bytes(&lacks)?,
        oldest: app.node.oldest(&lacks)?.map(time),
        keys: keys.into_iter().take(MAX_KEYS).map(KeyView::from).collect(),
        keys_left_out,
        ops_looked_at: stored.len(),
    })
}
