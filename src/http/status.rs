//! `GET /status`: this node's own view; `/livez` and `/readyz`: whether it runs and whether it takes requests.
//! None of them depends on a peer.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::view::{self, time};
use super::{Shared, blocking, query};
use crate::causality::{Dot, WallMs};
use crate::format::facts::LinkFacts;
use crate::node::NodeHandle;
use crate::replica::View;

/// This node's view of itself and its peers.
#[derive(Serialize)]
struct Report {
    node: u32,
    cluster: String,
    version: String,
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
    waiting_requests: u64,
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
    address: String,
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
    blocking(move || Ok(view::json(&report(&app.node)?))).await
}

fn report(node: &NodeHandle) -> Result<Report, Problem> {
    let status = node.status();
    let view: &View = &status.view;
    let facts = node.facts(None)?;
    Ok(Report {
        node: facts.node,
        cluster: node.members().cluster.to_string(),
        version: facts.version,
        members: node.members().count,
        vector: vector(&facts.vector),
        ancestry: view.ancestry.iter().map(|(origin, parents)| (origin.to_string(), names(parents))).collect(),
        keys: facts.keys,
        siblings: facts.siblings,
        conflicts: facts.conflicts,
        disk_bytes: facts.disk_bytes,
        read_only: facts.read_only,
        waiting_requests: facts.waiting_requests,
        delivery_buffer: DeliveryBuffer { ops: view.waiting_ops, waits_for: names(&view.waiting_for) },
        received_ops: ReceivedOps {
            total: view.received_ops,
            redundant: view.redundant_ops,
            pushes: view.received_pushes,
        },
        peers: facts.links.into_iter().map(Peer::from).collect(),
    })
}

/// A version vector: origin → the last of its ops.
pub(super) fn vector(entries: &[Dot]) -> BTreeMap<String, u64> {
    entries.iter().map(|last| (last.origin.to_string(), last.counter)).collect()
}

pub(super) fn names<'a>(dots: impl IntoIterator<Item = &'a Dot>) -> Vec<String> {
    dots.into_iter().map(Dot::to_string).collect()
}

impl From<LinkFacts> for Peer {
    fn from(link: LinkFacts) -> Self {
        let time = |at: Option<u64>| at.map(|at| time(WallMs(at)));
        Self {
            node: link.to,
            address: link.address,
            away_since: time(link.away_since_ms),
            heard: time(link.heard_ms),
            up_to_date: link.up_to_date,
            ops_to_ship: link.ops_to_ship,
            bytes_to_ship: link.bytes_to_ship,
            oldest_waiting: time(link.oldest_waiting_ms),
        }
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
