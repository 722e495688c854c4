//! `GET /cluster`: all nodes and the ways between them, as this node knows them; `GET /cluster/events`: the same again and
//! again. What other nodes say of themselves is asked of them now; where they don't answer, it is what they said last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::openapi::refusals::refusals;
use super::problem::{self, Kind, Problem};
use super::sse::{self, Ended, Events};
use super::status::{DamageView, TransferView, UnknownMemberView, WayView, vector};
use super::view::{self, time};
use super::{App, Shared, blocking, query};
use crate::causality::WallMs;
use crate::format::facts::{Facts, Latency, LinkFacts};
use crate::node::{Told, wall_now};
use crate::replica::View;

/// How long other nodes may take to say what they know.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The same for the first of the events: who looks at a page waits for it.
const FIRST_PATIENCE: Duration = Duration::from_millis(200);

/// Who may be sent events at once.
pub(super) const MAX_WATCHERS: usize = 64;

/// Events come at most this often, and at least so often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The cluster as one node knows it.
#[derive(Serialize, ToSchema)]
struct Cluster<'a> {
    node: u32,
    cluster: &'a str,
    #[schema(format = DateTime)]
    at: String,
    /// Where to see a trace; `{trace_id}` stands for its id.
    #[schema(required)]
    traces_url: Option<&'a str>,
    nodes: &'a [NodeView],
}

#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = NodeOfCluster)]
struct NodeView {
    /// Its id; `null` while it has never said.
    #[schema(required)]
    node: Option<u32>,
    /// Where this node looks for it; `null` for itself.
    #[schema(required)]
    address: Option<String>,
    #[serde(rename = "self")]
    is_self: bool,
    /// How old the facts are.
    #[schema(required)]
    age_ms: Option<u64>,
    #[schema(required)]
    facts: Option<FactsView>,
}

/// What a node says of itself.
#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = Facts)]
struct FactsView {
    version: String,
    #[schema(format = DateTime)]
    started: String,
    keys: u64,
    siblings: u64,
    conflicts: u64,
    disk_bytes: u64,
    read_only: bool,
    /// Node ids, its own or others', that two living processes have, as far as it knows.
    twins: Vec<u32>,
    waiting_requests: u64,
    /// Ops that can't be shown yet.
    delivery_buffer: u64,
    log_ops: u64,
    /// Another node's whole state on its way to it; `null`: none is.
    #[schema(required)]
    catching_up: Option<TransferView>,
    vector: BTreeMap<String, u64>,
    /// Ids that its configuration names as removed; `null`: a node of an older version, which does not say.
    #[schema(required)]
    removed: Option<Vec<u32>>,
    /// Nodes that pushed to it and are not in its list.
    #[schema(required)]
    unknown_members: Option<Vec<UnknownMemberView>>,
    /// Whether it takes no more writes, to be stopped for good.
    #[schema(required)]
    draining: Option<bool>,
    /// What of its data it knows to be damaged; `null`: nothing, or a node of an older version, which does not say.
    #[schema(required)]
    damage: Option<DamageView>,
    /// One for each other node of its list.
    links: Vec<LinkFactsView>,
}

/// The way from that node to one of its peers.
#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = Link)]
struct LinkFactsView {
    #[schema(required)]
    to: Option<u32>,
    #[serde(flatten)]
    way: WayView,
    #[schema(required)]
    latency_ms: Option<LatencyView>,
}

/// From a write's acceptance to its acknowledgement, in milliseconds.
#[derive(Serialize, PartialEq, ToSchema)]
#[schema(as = Latency)]
pub(super) struct LatencyView {
    ops: u64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl From<Latency> for LatencyView {
    fn from(latency: Latency) -> Self {
        let ms = |us: u64| us as f64 / 1e3;
        let Latency { ops, p50_us, p99_us, max_us } = latency;
        Self { ops, p50: ms(p50_us), p99: ms(p99_us), max: ms(max_us) }
    }
}

impl From<&Facts> for FactsView {
    fn from(facts: &Facts) -> Self {
        let members = facts.members.as_ref();
        Self {
            version: facts.version.clone(),
            started: time(WallMs(facts.started_ms)),
            keys: facts.keys,
            siblings: facts.siblings,
            conflicts: facts.conflicts,
            disk_bytes: facts.disk_bytes,
            read_only: facts.read_only,
            twins: facts.twins.clone(),
            waiting_requests: facts.waiting_requests,
            delivery_buffer: facts.waiting_ops,
            log_ops: facts.log_ops.unwrap_or(facts.position),
            catching_up: facts.catching_up.map(TransferView::from),
            vector: vector(facts.vector.iter().copied()),
            removed: members.map(|members| members.removed.clone()),
            unknown_members: members.map(|members| members.unknown.iter().map(UnknownMemberView::from).collect()),
            draining: members.map(|members| members.draining),
            damage: facts.damage.map(DamageView::from),
            links: facts.links.iter().map(LinkFactsView::from).collect(),
        }
    }
}

impl From<&LinkFacts> for LinkFactsView {
    fn from(link: &LinkFacts) -> Self {
        Self { to: link.to, way: link.into(), latency_ms: link.latency.map(LatencyView::from) }
    }
}

refusals!(Refusals: query::NONE_KNOWN, problem::OF_STORE);

/// All nodes, and the ways between them
///
/// As this node knows them. It asks the others, for a second at most; of those that don't answer it shows what they said
/// last.
#[utoipa::path(
    get, path = "/cluster", operation_id = "cluster", tag = "cluster",
    responses((status = 200, description = "The cluster", body = Cluster), Refusals),
)]
pub(super) async fn cluster(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    let told = app.node.ask(None, PATIENCE).await;
    let nodes = nodes(&app, told).await?;
    Ok(view::json(&whole(&app, &nodes)))
}

fn whole<'a>(app: &'a App, nodes: &'a [NodeView]) -> Cluster<'a> {
    let members = app.node.members();
    Cluster {
        node: members.own.0,
        cluster: &members.cluster,
        at: time(wall_now()),
        traces_url: app.options.traces_url.as_deref(),
        nodes,
    }
}

/// All nodes of the configured list, by id; those that never said theirs last. `told`: what the others said.
async fn nodes(app: &Arc<App>, told: Vec<Option<Told>>) -> Result<Vec<NodeView>, Problem> {
    let node = app.node.clone();
    let own = blocking(move || Ok(node.recent_facts()?)).await?;
    let ways = own.links.iter().zip(told);
    let mut nodes: Vec<NodeView> = ways.map(|(link, told)| other(link, told)).collect();
    let facts = Some(FactsView::from(&*own));
    nodes.push(NodeView { node: Some(own.node), address: None, is_self: true, age_ms: Some(0), facts });
    nodes.sort_by_key(|node| (node.node.is_none(), node.node));
    Ok(nodes)
}

fn other(link: &LinkFacts, told: Option<Told>) -> NodeView {
    // What the address answered before may have been another node.
    let told = told.filter(|told| link.to.is_none_or(|node| node == told.facts.node));
    NodeView {
        node: link.to,
        address: Some(link.address.clone()),
        is_self: false,
        age_ms: told.as_ref().map(|told| told.at.elapsed().as_millis() as u64),
        facts: told.map(|told| FactsView::from(&*told.facts)),
    }
}

/// The same as events
///
/// Server-sent events `cluster`, each with what `GET /cluster` answers: at once, when something changed, and every two
/// seconds. The last is `closed`.
#[utoipa::path(
    get, path = "/cluster/events", operation_id = "cluster_events", tag = "cluster",
    responses((status = 200, description = "Events", body = ref("#/components/schemas/Event"), content_type = "text/event-stream"), Refusals),
)]
pub(super) async fn events(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    let place = app.cluster_watchers.clone().try_acquire_owned().map_err(|_| {
        let detail = "as many as may are watching the cluster from this node already";
        Problem::new(Kind::Overloaded, detail).with("limit", MAX_WATCHERS)
    })?;
    let nodes = nodes(&app, app.node.ask(None, FIRST_PATIENCE).await).await?;
    let first = event(&app, &nodes);
    let watcher = Watcher { app: app.clone(), shown: nodes, at: Instant::now() };
    Ok(sse::answer(&request, &app, first, place, |events| watcher.run(events)))
}

fn event(app: &App, nodes: &[NodeView]) -> Bytes {
    sse::event("cluster", None, &whole(app, nodes))
}

/// Who watches, and what was last shown to it.
struct Watcher {
    app: Arc<App>,
    shown: Vec<NodeView>,
    at: Instant,
}

impl Watcher {
    async fn run(mut self, events: Events) -> Ended {
        loop {
            if let Err(ended) = self.go_on(&events).await {
                return ended;
            }
        }
    }

    async fn go_on(&mut self, events: &Events) -> Result<(), Ended> {
        let nodes = self.changed().await?;
        events.send(event(&self.app, &nodes)).await?;
        (self.shown, self.at) = (nodes, Instant::now());
        Ok(())
    }

    /// Waits until something changed, and not only the age of facts, or until it is time to show that too.
    async fn changed(&self) -> Result<Vec<NodeView>, Ended> {
        loop {
            let node = &self.app.node;
            let before = away(&node.status().view);
            // A way that is cut or back is shown at once.
            node.until(SHORTEST_PAUSE, |view| away(view) != before).await;
            // Of a node that has ended nothing is waited for.
            if node.has_ended() {
                return Err(Ended::Stopping);
            }
            let asking = node.clone();
            // Those who don't answer must not hold up what is known; what the others say is shown the next time.
            tokio::spawn(async move { asking.ask(None, PATIENCE).await });
            // Errors are in the log of this process.
            let nodes = nodes(&self.app, node.told()).await.map_err(|_| Ended::Failed)?;
            if self.at.elapsed() >= LONGEST_PAUSE || !same(&nodes, &self.shown) {
                return Ok(nodes);
            }
        }
    }
}

/// Which peers don't answer.
fn away(view: &View) -> Vec<bool> {
    view.links.iter().map(|link| link.away_since.is_some()).collect()
}

/// Whether these say the same, apart from how old it is and when somebody was last heard.
fn same(left: &[NodeView], right: &[NodeView]) -> bool {
    let same_link = |(left, right): (&LinkFactsView, &LinkFactsView)| {
        let (ours, theirs) = (&left.way, &right.way);
        (left.to, &ours.away_since, ours.ops_to_ship, ours.up_to_date)
            == (right.to, &theirs.away_since, theirs.ops_to_ship, theirs.up_to_date)
    };
    let same_facts = |left: &FactsView, right: &FactsView| {
        (&left.vector, left.read_only, left.delivery_buffer, left.draining)
            == (&right.vector, right.read_only, right.delivery_buffer, right.draining)
            && left.twins == right.twins
            && left.damage == right.damage
            && left.links.len() == right.links.len()
            && left.links.iter().zip(&right.links).all(same_link)
    };
    let same_node = |(left, right): (&NodeView, &NodeView)| {
        left.node == right.node
            && match (&left.facts, &right.facts) {
                (Some(left), Some(right)) => same_facts(left, right),
                (None, None) => true,
                _ => false,
            }
    };
    left.len() == right.len() && left.iter().zip(right).all(same_node)
}
