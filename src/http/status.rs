//! `GET /status`: this node's own view; `/livez` and `/readyz`: whether it runs and whether it takes requests.
//! None of them depends on a peer.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::view::{self, time};
use super::{HttpOptions, Shared, blocking, query};
use crate::causality::Dot;
use crate::format;
use crate::node::NodeHandle;
use crate::replica::{LinkView, OpRange, View};
use crate::storage::BatchLimit;

/// This node's view of itself and its peers.
#[derive(Serialize)]
struct Report {
    node: u32,
    cluster: String,
    version: &'static str,
    /// How many nodes the configured list has.
    members: usize,
    /// Origin → the last of its ops that is visible here.
    vector: BTreeMap<String, u64>,
    /// Origin → the last ops of its node's earlier incarnations that having its first op implies.
    ancestry: BTreeMap<String, Vec<String>>,
    keys: u64,
    siblings: u64,
    /// Keys that have more than one sibling.
    conflicts: u64,
    disk_bytes: u64,
    read_only: bool,
    /// Writes and pushes that wait for the disk.
    waiting_requests: usize,
    delivery_buffer: DeliveryBuffer,
    received_ops: ReceivedOps,
    peers: Vec<Peer>,
}

/// Ops that were received and can't be made visible yet.
#[derive(Serialize)]
struct DeliveryBuffer {
    ops: usize,
    /// What they wait for.
    waits_for: Vec<String>,
}

#[derive(Serialize)]
struct ReceivedOps {
    total: u64,
    /// Those that this node had before.
    redundant: u64,
    /// In how many pushes they came.
    pushes: u64,
}

/// A configured peer.
#[derive(Serialize)]
struct Peer {
    /// Its id; `null` while it has never said.
    node: Option<u32>,
    address: Option<String>,
    /// Since when it does not answer; `null` while it does.
    away_since: Option<String>,
    /// When it last answered or was heard.
    heard: Option<String>,
    /// Whether its state includes all that is visible here; `null` while it has never said.
    up_to_date: Option<bool>,
    /// Ops of this node's log that it lacks.
    ops_to_ship: u64,
    /// Their bytes, as they are sent.
    bytes_to_ship: u64,
    /// When the first of them was accepted.
    oldest_waiting: Option<String>,
}

pub(super) async fn status(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    blocking(move || Ok(view::json(&report(&app.node, &app.options)?))).await
}

fn report(node: &NodeHandle, options: &HttpOptions) -> Result<Report, Problem> {
    let status = node.status();
    let view: &View = &status.view;
    let mut peers = Vec::with_capacity(view.links.len());
    for (index, link) in view.links.iter().enumerate() {
        peers.push(peer(node, view, link, options.peer_addresses.get(index))?);
    }
    Ok(Report {
        node: node.members().own.0,
        cluster: node.members().cluster.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        members: node.members().count,
        vector: view.vector.entries().map(|last| (last.origin.to_string(), last.counter)).collect(),
        ancestry: view.ancestry.iter().map(|(origin, parents)| (origin.to_string(), names(parents))).collect(),
        keys: view.totals.keys,
        siblings: view.totals.siblings,
        conflicts: view.totals.conflicts,
        disk_bytes: node.disk_bytes()?,
        read_only: view.read_only,
        waiting_requests: status.waiting_requests,
        delivery_buffer: DeliveryBuffer { ops: view.waiting_ops, waits_for: names(&view.waiting_for) },
        received_ops: ReceivedOps {
            total: view.received_ops,
            redundant: view.redundant_ops,
            pushes: view.received_pushes,
        },
        peers,
    })
}

fn names<'a>(dots: impl IntoIterator<Item = &'a Dot>) -> Vec<String> {
    dots.into_iter().map(Dot::to_string).collect()
}

fn peer(node: &NodeHandle, view: &View, link: &LinkView, address: Option<&String>) -> Result<Peer, Problem> {
    let lacks = view.lacks(link);
    Ok(Peer {
        node: link.node.map(|node| node.0),
        address: address.cloned(),
        away_since: link.away_since.map(time),
        heard: link.heard.map(time),
        up_to_date: link.vector.as_ref().map(|theirs| view.ancestry.includes(theirs, &view.vector)),
        ops_to_ship: lacks.iter().map(OpRange::count).sum(),
        bytes_to_ship: node.op_bytes(&lacks)?,
        oldest_waiting: oldest(node, &lacks)?,
    })
}

/// When the first op of these was accepted, by its own clock reading.
fn oldest(node: &NodeHandle, ranges: &[OpRange]) -> Result<Option<String>, Problem> {
    if ranges.is_empty() {
        return Ok(None);
    }
    let first = node.ops(ranges, BatchLimit { ops: 1, bytes: 1 })?.into_iter().next();
    let Some(stored) = first else { return Ok(None) };
    match format::op::decode(&stored.bytes) {
        Ok(op) => Ok(Some(time(op.hlc.wall()))),
        Err(error) => Err(Problem::new(Kind::StorageUnreadable, format!("op {}: {error}", stored.dot))),
    }
}

pub(super) async fn live() -> &'static str {
    "ok"
}

pub(super) async fn ready(State(app): Shared) -> Result<&'static str, Problem> {
    if app.node.status().view.read_only {
        let detail = "a commit failed; this node still answers reads, and takes writes again after a restart";
        return Err(Problem::new(Kind::ReadOnly, detail));
    }
    Ok("ok")
}
