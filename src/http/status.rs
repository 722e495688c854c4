//! `GET /status`: this node's own view; `/livez` and `/readyz`: whether it runs and whether it takes requests.
//! None of them depends on a peer.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::draining::DrainView;
use super::openapi::refusals::refusals;
use super::problem::{self, Kind, Problem};
use super::view::{self, NO_STORE, time};
use super::{Shared, blocking, query};
use crate::causality::{Dot, MAX_INCARNATIONS, WallMs};
use crate::format::facts::{DamageFacts, LinkFacts, TransferFacts, UnknownMember};
use crate::node::{Draining, NodeHandle};
use crate::replica::{LinkId, Protocol, View};

/// Of how many incarnations a node `ancestry` says what they imply.
const SHOWN_INCARNATIONS: usize = 256;

/// This node's view of itself and its peers.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
struct Report {
    node: u32,
    cluster: String,
    version: String,
    /// What of the source its program was built from; `null`: not known.
    #[schema(required)]
    revision: Option<&'static str>,
    protocol: ProtocolView,
    /// How many nodes the configured list has.
    members: usize,
    /// Origin → the last of its ops that is visible here.
    vector: BTreeMap<String, u64>,
    /// Node → how many incarnations it has had: its starts that were followed by a write.
    incarnations: BTreeMap<String, usize>,
    /// Origin → the last ops of its node's earlier incarnations that having its first op implies. The newest 256 of each
    /// node.
    ancestry: BTreeMap<String, Vec<String>>,
    keys: u64,
    siblings: u64,
    /// Keys that have more than one sibling.
    conflicts: u64,
    disk_bytes: u64,
    read_only: bool,
    /// What of this node's data is known to be damaged, and not repaired yet; `null`: nothing.
    #[schema(required)]
    damage: Option<DamageView>,
    /// Node ids, this node's or others', that two living processes have.
    twins: Vec<Twin>,
    /// How far this node is with being drained; `null` while it is not.
    #[schema(required)]
    draining: Option<DrainView>,
    /// Ids that the configuration names as removed: what they push is refused.
    removed: Vec<u32>,
    /// Nodes that pushed in this run and are not in the configured list; at most 16.
    unknown_members: Vec<UnknownMemberView>,
    /// Writes and pushes that wait for the disk.
    waiting_requests: u64,
    delivery_buffer: DeliveryBuffer,
    received_ops: ReceivedOps,
    /// Another node's whole state on its way to this one; `null`: none is.
    #[schema(required)]
    catching_up: Option<TransferView>,
    peers: Vec<Peer>,
}

/// Where records are that can't be read any more.
#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = Damage)]
pub(super) struct DamageView {
    /// Among those of the keys: reads of some fail until a peer's whole state has taken their place.
    keys: bool,
    /// In the op log: it is given up to there within a few seconds.
    log: bool,
}

impl From<DamageFacts> for DamageView {
    fn from(DamageFacts { keys, log }: DamageFacts) -> Self {
        Self { keys, log }
    }
}

/// How far a node's whole state on its way to another is.
#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = StateTransfer)]
pub(super) struct TransferView {
    /// The other node.
    peer: u32,
    #[schema(format = DateTime)]
    began: String,
    /// Keys and bytes that went over.
    keys: u64,
    bytes: u64,
    /// About how many keys there are altogether.
    all_keys: u64,
    /// About how long the rest takes; `null` while that can't be told.
    #[schema(required)]
    left_seconds: Option<f64>,
}

impl From<TransferFacts> for TransferView {
    fn from(facts: TransferFacts) -> Self {
        let TransferFacts { peer, began_ms, keys, bytes, all_keys, left_ms } = facts;
        let left_seconds = left_ms.map(|ms| ms as f64 / 1e3);
        Self { peer, began: time(WallMs(began_ms)), keys, bytes, all_keys, left_seconds }
    }
}

/// A node of the same cluster that is not in the list.
#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = UnknownMember)]
pub(super) struct UnknownMemberView {
    node: u32,
    /// When it last pushed.
    #[schema(format = DateTime)]
    heard: String,
}

impl From<&UnknownMember> for UnknownMemberView {
    fn from(unknown: &UnknownMember) -> Self {
        Self { node: unknown.node, heard: time(WallMs(unknown.heard_ms)) }
    }
}

/// Ops that were received and can't be made visible yet.
#[derive(Serialize, ToSchema)]
struct DeliveryBuffer {
    ops: usize,
    /// What they wait for.
    waits_for: Vec<String>,
}

/// A node id that two living processes have: a copied volume was started twice, or a second node was given that id.
#[derive(Serialize, ToSchema)]
struct Twin {
    node: u32,
    /// Since when this node knows.
    #[schema(format = DateTime)]
    since: String,
}

#[derive(Serialize, ToSchema)]
struct ReceivedOps {
    total: u64,
    /// Those that this node had before.
    redundant: u64,
    /// In how many pushes they came.
    pushes: u64,
}

/// A configured peer.
#[derive(Serialize, ToSchema)]
struct Peer {
    /// Its id; `null` while it has never said.
    #[schema(required)]
    node: Option<u32>,
    /// Of its program, as it told last; `null` while it has not.
    #[schema(required)]
    version: Option<String>,
    /// `null` while it was never heard.
    #[schema(required)]
    protocol: Option<ProtocolView>,
    #[serde(flatten)]
    way: WayView,
}

/// The versions of the replication protocol that a node speaks, both ends included.
#[derive(Serialize, ToSchema)]
#[schema(as = Protocol)]
struct ProtocolView {
    oldest: u32,
    newest: u32,
}

impl From<Protocol> for ProtocolView {
    fn from(Protocol { oldest, newest }: Protocol) -> Self {
        Self { oldest, newest }
    }
}

/// What is known of the way to a peer.
#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = Way)]
pub(super) struct WayView {
    address: String,
    /// Since when it does not answer; `null` while it does.
    #[schema(required, format = DateTime)]
    pub(super) away_since: Option<String>,
    /// Why it does not answer, or can't get what it lacks, in a sentence; `null` when all is well.
    #[schema(required)]
    why: Option<String>,
    /// When it last answered or was heard.
    #[schema(required, format = DateTime)]
    heard: Option<String>,
    /// Whether its state includes all that is visible here; `null` while it has never said.
    #[schema(required)]
    pub(super) up_to_date: Option<bool>,
    /// Ops of this node's log that it lacks.
    pub(super) ops_to_ship: u64,
    /// Their bytes, as they are sent.
    bytes_to_ship: u64,
    /// When the first of them was accepted.
    #[schema(required, format = DateTime)]
    oldest_waiting: Option<String>,
    /// This node's whole state on its way there, because it lacks ops that the log does not have any more; `null`: it is not.
    #[schema(required)]
    state_transfer: Option<TransferView>,
}

refusals!(StatusRefusals: query::NONE_KNOWN, problem::OF_STORE);

/// This node's view of itself and its peers
///
/// What it knows, asked of nobody else.
#[utoipa::path(
    get, path = "/status", operation_id = "status", tag = "node",
    responses((status = 200, description = "The view", body = Report), StatusRefusals),
)]
pub(super) async fn status(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    blocking(move || Ok(view::json(&report(&app.node, app.options.revision)?))).await
}

fn report(node: &NodeHandle, revision: Option<&'static str>) -> Result<Report, Problem> {
    let status = node.status();
    let view: &View = &status.view;
    let facts = node.facts(None)?;
    let ancestry = view.ancestry.nearest(&view.vector, SHOWN_INCARNATIONS);
    let members = facts.members.unwrap_or_default();
    Ok(Report {
        node: facts.node,
        cluster: node.members().cluster.to_string(),
        version: facts.version,
        revision,
        protocol: Protocol::OWN.into(),
        members: node.members().count,
        vector: vector(facts.vector),
        incarnations: view.incarnations().into_iter().map(|(node, count)| (node.to_string(), count)).collect(),
        ancestry: ancestry.into_iter().map(|(origin, parents)| (origin.to_string(), names(parents))).collect(),
        keys: facts.keys,
        siblings: facts.siblings,
        conflicts: facts.conflicts,
        disk_bytes: facts.disk_bytes,
        read_only: facts.read_only,
        damage: facts.damage.map(DamageView::from),
        twins: view.twins.iter().map(|(node, since)| Twin { node: node.0, since: time(*since) }).collect(),
        draining: node.drain().map(DrainView::from),
        removed: members.removed,
        unknown_members: members.unknown.iter().map(UnknownMemberView::from).collect(),
        waiting_requests: facts.waiting_requests,
        delivery_buffer: DeliveryBuffer { ops: view.waiting_ops, waits_for: names(&view.waiting_for) },
        received_ops: ReceivedOps {
            total: view.received_ops,
            redundant: view.redundant_ops,
            pushes: view.received_pushes,
        },
        catching_up: facts.catching_up.map(TransferView::from),
        peers: facts.links.iter().enumerate().map(|(index, link)| peer(node, view, index, link)).collect(),
    })
}

/// A version vector: origin → the last of its ops.
pub(super) fn vector(entries: impl IntoIterator<Item = Dot>) -> BTreeMap<String, u64> {
    entries.into_iter().map(|last| (last.origin.to_string(), last.counter)).collect()
}

pub(super) fn names<'a>(dots: impl IntoIterator<Item = &'a Dot>) -> Vec<String> {
    dots.into_iter().map(Dot::to_string).collect()
}

fn peer(node: &NodeHandle, view: &View, index: usize, link: &LinkFacts) -> Peer {
    let protocol = view.links.get(index).and_then(|link| link.protocol);
    Peer {
        node: link.to,
        version: node.version_of(LinkId(index)),
        protocol: protocol.map(ProtocolView::from),
        way: link.into(),
    }
}

impl From<&LinkFacts> for WayView {
    fn from(link: &LinkFacts) -> Self {
        let time = |at: Option<u64>| at.map(|at| time(WallMs(at)));
        Self {
            address: link.address.clone(),
            away_since: time(link.away_since_ms),
            why: link.why.clone(),
            heard: time(link.heard_ms),
            up_to_date: link.up_to_date,
            ops_to_ship: link.ops_to_ship,
            bytes_to_ship: link.bytes_to_ship,
            oldest_waiting: time(link.oldest_waiting_ms),
            state_transfer: link.state_transfer.map(TransferView::from),
        }
    }
}

/// What a health check is told when all is well.
type Healthy = ([(HeaderName, HeaderValue); 1], &'static str);

const HEALTHY: Healthy = ([(CACHE_CONTROL, NO_STORE)], "ok");

refusals!(LiveRefusals: &[]);

/// Is it running
///
/// The process answers. A query is ignored.
#[utoipa::path(
    get, path = "/livez", operation_id = "livez", tag = "node",
    responses(
        (status = 200, description = "`ok`", body = String, content_type = "text/plain; charset=utf-8"),
        LiveRefusals,
    ),
)]
pub(super) async fn live() -> Healthy {
    HEALTHY
}

refusals!(
    ReadyRefusals: &[Kind::ReadOnly, Kind::TooManyIncarnations, Kind::Draining, Kind::InsufficientStorage]
);

/// Does it take requests
///
/// Not after a failed commit, nor when its id was started too often, nor while it is being drained, nor while the disk has too little room for writes. Does not depend on a peer. A query is ignored.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "node",
    responses(
        (status = 200, description = "`ok`", body = String, content_type = "text/plain; charset=utf-8"),
        ReadyRefusals,
    ),
)]
pub(super) async fn ready(State(app): Shared) -> Result<Healthy, Problem> {
    let view = app.node.status().view;
    if view.read_only {
        let detail = "a commit failed; this node still answers reads, and takes writes again after a restart";
        return Err(Problem::new(Kind::ReadOnly, detail));
    }
    if view.out_of_incarnations {
        let detail = "this node's id has had all the incarnations it may have; this node still answers reads, and a node \
                      with another id must take its place";
        return Err(Problem::new(Kind::TooManyIncarnations, detail).with("limit", MAX_INCARNATIONS));
    }
    if app.node.is_draining() {
        return Err(Draining.into());
    }
    app.node.has_room()?;
    Ok(HEALTHY)
}
