//! `GET /writes/{dot}`: the receipt of one write: which nodes have it and since when, which lack it and why.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::cluster::PATIENCE;
use super::openapi::DotInPath;
use super::openapi::refusals::refusals;
use super::problem::{self, Kind, Problem};
use super::status::names;
use super::view::{self, time, trace_id};
use super::{App, Shared, blocking, query};
use crate::causality::{Dot, WallMs};
use crate::format::facts::{Facts, Receipt};
use crate::format::{self, MAX_COUNTER};
use crate::node::{Told, wall_now};
use crate::replica::{LinkView, Op, OpRange, View};

/// Of more keys, only so many are named.
const MAX_KEYS: usize = 100;

/// One write, and where it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
struct Report {
    dot: String,
    /// Who accepted it.
    node: u32,
    /// What follows is known where the op is in the log.
    #[schema(required, format = DateTime)]
    written_at: Option<String>,
    #[schema(required)]
    trace_id: Option<String>,
    keys: Vec<String>,
    keys_left_out: usize,
    nodes: Vec<NodeView>,
}

/// What is known of it on one node.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeOfReceipt)]
struct NodeView {
    #[schema(required)]
    node: Option<u32>,
    /// Where this node looks for it; `null` for itself.
    #[schema(required)]
    address: Option<String>,
    /// `null`: nothing is known of that node.
    #[schema(required)]
    has: Option<bool>,
    /// `null` where the node does not have it, or does not remember.
    #[schema(required, format = DateTime)]
    visible_at: Option<String>,
    /// When it was known to be so.
    #[schema(required, format = DateTime)]
    as_of: Option<String>,
    #[schema(required)]
    blocked_by: Option<Blocked>,
}

/// Why a node lacks the write.
#[derive(Serialize, ToSchema)]
struct Blocked {
    /// `away`: it can't be reached from here. `behind`: it gets others first. `waits`: it holds ops back that wait for
    /// others. `unknown`.
    kind: &'static str,
    #[schema(required, format = DateTime)]
    since: Option<String>,
    /// Ops of the same origin that it lacks before this one.
    ops_before: u64,
    waits_for: Vec<String>,
    detail: String,
}

refusals!(Refusals: query::NONE_KNOWN, problem::OF_STORE, &[Kind::BadDot, Kind::UnknownWrite]);

/// The receipt of one write
///
/// Which nodes have it and since when, which lack it and why. All peers are asked, for a second at most.
#[utoipa::path(
    get, path = "/writes/{dot}", operation_id = "receipt", tag = "cluster",
    params(DotInPath),
    responses((status = 200, description = "The receipt", body = Report), Refusals),
)]
pub(super) async fn receipt(
    State(app): Shared,
    dot: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let [] = query::params(uri.query(), [])?;
    let Path(dot) = dot.map_err(|_| Problem::new(Kind::BadDot, "the path is not UTF-8"))?;
    let dot: Dot = dot.parse().map_err(|error| Problem::new(Kind::BadDot, format!("{error}")))?;
    if dot.counter > MAX_COUNTER {
        return Err(Problem::new(Kind::BadDot, format!("{dot} has a counter that can't be")));
    }
    let told = app.node.ask(Some(dot), PATIENCE).await;
    let view = app.node.status().view;
    let includes = |link: &LinkView| link.vector.as_ref().is_some_and(|theirs| view.ancestry.covers(theirs, dot));
    let says = |told: &Option<Told>| of_write(told.as_ref(), dot).is_some_and(|receipt| receipt.has);
    if !view.ancestry.covers(&view.vector, dot) && !view.links.iter().any(includes) && !told.iter().any(says) {
        return Err(unknown(&app, dot, &told));
    }
    blocking(move || Ok(view::json(&report(&app, dot, &told)?))).await
}

/// What a peer said of the write, whenever that was.
fn of_write(told: Option<&Told>, dot: Dot) -> Option<&Receipt> {
    told?.facts.receipt.as_ref().filter(|receipt| receipt.dot == dot)
}

/// Nobody who could be asked has it; those who could not may.
fn unknown(app: &App, dot: Dot, told: &[Option<Told>]) -> Problem {
    let answered = |told: &Option<Told>| {
        told.as_ref().is_some_and(|told| told.at.elapsed() <= 2 * PATIENCE) && of_write(told.as_ref(), dot).is_some()
    };
    let addresses = app.node.members().addresses.iter().zip(told);
    let silent: Vec<String> =
        addresses.filter(|(_, told)| !answered(told)).map(|(address, _)| address.clone()).collect();
    let detail = match silent.is_empty() {
        true => format!("no node has a write {dot}"),
        false => format!("this node does not know a write {dot}, and {} can't be asked now", silent.join(" and ")),
    };
    Problem::new(Kind::UnknownWrite, detail).with("dot", dot.to_string()).with("not_asked", silent)
}

fn report(app: &App, dot: Dot, told: &[Option<Told>]) -> Result<Report, Problem> {
    let view = app.node.status().view;
    let stored = app.node.logged(dot)?;
    let op = stored.map(|stored| format::op::decode(&stored.bytes)).transpose();
    let op: Option<Op> = op.map_err(|error| Problem::new(Kind::StorageUnreadable, format!("op {dot}: {error}")))?;
    let own = app.node.facts(Some(dot))?;
    let mut nodes: Vec<NodeView> = (0..view.links.len())
        .map(|index| {
            let told = told.get(index).and_then(Option::as_ref);
            let why = own.links.get(index).and_then(|link| link.why.clone());
            NodeView {
                address: app.node.members().addresses.get(index).cloned(),
                ..on_peer(&view, index, told, why, dot)
            }
        })
        .collect();
    nodes.push(on_this(&own, wall_now()));
    nodes.sort_by_key(|node| (node.node.is_none(), node.node));
    let entries = op.iter().flat_map(|op| &op.entries);
    Ok(Report {
        dot: dot.to_string(),
        node: dot.origin.node.0,
        written_at: op.as_ref().map(|op| time(op.hlc.wall())),
        trace_id: op.as_ref().and_then(trace_id),
        keys: entries.clone().take(MAX_KEYS).map(|entry| entry.key.to_string()).collect(),
        keys_left_out: entries.count().saturating_sub(MAX_KEYS),
        nodes,
    })
}

fn on_this(own: &Facts, now: WallMs) -> NodeView {
    let receipt = own.receipt.as_ref();
    let has = receipt.is_some_and(|receipt| receipt.has);
    NodeView {
        node: Some(own.node),
        address: None,
        has: Some(has),
        visible_at: receipt.and_then(|receipt| receipt.visible_ms).map(|at| time(WallMs(at))),
        as_of: Some(time(now)),
        blocked_by: (!has).then(|| waiting(receipt, "it has not arrived on this node")),
    }
}

/// By what the peer says itself if it was asked just now, else by the newest of its statements.
fn on_peer(view: &View, index: usize, told: Option<&Told>, why: Option<String>, dot: Dot) -> NodeView {
    let link = &view.links[index];
    let told = told.filter(|told| link.node.is_none_or(|node| node.0 == told.facts.node));
    let receipt = of_write(told, dot);
    let said = link.vector.as_ref().map(|theirs| view.ancestry.covers(theirs, dot));
    let (has, as_of) = match (receipt, told) {
        (Some(receipt), Some(told)) if receipt.has || said != Some(true) => {
            let age_ms = told.at.elapsed().as_millis() as u64;
            (Some(receipt.has), Some(WallMs(wall_now().0.saturating_sub(age_ms))))
        }
        _ => (said, link.heard.filter(|_| said.is_some())),
    };
    NodeView {
        node: link.node.map(|node| node.0),
        address: None,
        has,
        visible_at: receipt.and_then(|receipt| receipt.visible_ms).map(|at| time(WallMs(at))),
        as_of: as_of.map(time),
        blocked_by: (has != Some(true)).then(|| blocked(view, link, receipt, why, dot)),
    }
}

fn blocked(view: &View, link: &LinkView, receipt: Option<&Receipt>, why: Option<String>, dot: Dot) -> Blocked {
    let before = |range: &OpRange| range.origin == dot.origin && range.first < dot.counter;
    let lacks = view.lacks(link);
    let ops_before = lacks.iter().find(|range| before(range)).map_or(0, |range| dot.counter - range.first);
    let answer = match (link.away_since, receipt) {
        (Some(since), _) => Blocked {
            kind: "away",
            since: Some(time(since)),
            detail: format!(
                "it can't be reached from this node: {}",
                why.unwrap_or_else(|| "it does not answer".into())
            ),
            ..waiting(None, "")
        },
        (None, Some(receipt)) => waiting(Some(receipt), why.as_deref().unwrap_or("it is on its way")),
        (None, None) => Blocked { kind: "unknown", ..waiting(None, "that node has not said what it has") },
    };
    Blocked { ops_before, ..answer }
}

fn waiting(receipt: Option<&Receipt>, otherwise: &str) -> Blocked {
    let waits_for = receipt.map_or_else(Vec::new, |receipt| names(&receipt.waits_for));
    let (kind, detail) = match waits_for.is_empty() {
        true => ("behind", otherwise.to_owned()),
        false => ("waits", "that node holds ops back until others have come that they depend on".to_owned()),
    };
    Blocked { kind, since: None, ops_before: 0, waits_for, detail }
}
