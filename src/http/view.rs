//! How siblings look in JSON, and what of a key a read shows.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::headers::{CAUSAL_CONTEXT, CAUSEWAY_CATCHING_UP, token_value};
use super::problem::Problem;
use super::query::bad_value;
use crate::causality::WallMs;
use crate::node::NodeHandle;
use crate::replica::{Op, Sibling, Siblings, TraceContext, Value};

/// Which sibling a read shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Resolve {
    /// The one that reached this node last.
    Arrival,
    /// The one written last, by the clocks: the same on every node.
    Newest,
    /// All of them.
    All,
}

impl Resolve {
    /// Reads the parameter `resolve`.
    pub(super) fn of(parameter: Option<&str>) -> Result<Self, Problem> {
        match parameter {
            None | Some("arrival") => Ok(Self::Arrival),
            Some("newest") => Ok(Self::Newest),
            Some("all") => Ok(Self::All),
            Some(other) => Err(bad_value("resolve", other, "arrival, newest or all")),
        }
    }

    /// The sibling that a plain answer shows.
    pub(super) fn shown(self, siblings: &Siblings) -> Option<&Sibling> {
        match self {
            Self::Arrival | Self::All => siblings.latest(),
            Self::Newest => siblings.newest(),
        }
    }

    /// All siblings, that which a plain answer shows first.
    pub(super) fn ordered(self, siblings: &Siblings) -> Vec<&Sibling> {
        let mut ordered: Vec<&Sibling> = siblings.iter().rev().collect();
        if self == Self::Newest {
            ordered.sort_by_key(|sibling| std::cmp::Reverse((sibling.hlc, sibling.dot)));
        }
        ordered
    }
}

/// The siblings of a key in JSON: that which a plain answer shows first, as many as there is room for.
#[derive(Serialize, ToSchema)]
pub(super) struct KeySiblings<'a> {
    key: &'a str,
    siblings: Vec<SiblingView>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<'a> KeySiblings<'a> {
    pub(super) fn new(key: &'a str, siblings: &Siblings, resolve: Resolve, room: &mut Room) -> Self {
        let fitting = resolve.ordered(siblings).into_iter().take_while(|sibling| room.takes(sibling.value.len()));
        let shown: Vec<SiblingView> = fitting.map(SiblingView::from).collect();
        let left_out = siblings.len() - shown.len();
        Self { key, siblings: shown, left_out }
    }

    /// The key.
    pub(super) fn key(&self) -> &str {
        self.key
    }

    /// Whether the key has siblings, but there was no room for any.
    pub(super) fn shows_nothing_of_some(&self) -> bool {
        self.siblings.is_empty() && self.left_out > 0
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Sibling)]
struct SiblingView {
    #[schema(value_type = String)]
    value: Value,
    /// The op that wrote it.
    dot: String,
    /// The node that took the write.
    node: u32,
    #[schema(format = DateTime)]
    written_at: String,
    /// The place in this node's log: everything else is the same on every node.
    arrival: u64,
}

impl From<&Sibling> for SiblingView {
    fn from(sibling: &Sibling) -> Self {
        Self {
            value: sibling.value.clone(),
            dot: sibling.dot.to_string(),
            node: sibling.dot.origin.node.0,
            written_at: time(sibling.hlc.wall()),
            arrival: sibling.arrival,
        }
    }
}

/// How many bytes of values an answer may still show.
pub(super) struct Room {
    left: usize,
    empty: bool,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self { left: bytes, empty: true }
    }

    /// Whether a value of this size still fits; the first always does. After one that did not, none does.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.empty || bytes <= self.left;
        self.left = if fits { self.left.saturating_sub(bytes) } else { 0 };
        self.empty = false;
        fits
    }
}

/// The last millisecond that RFC 3339 can write. A clock reading from elsewhere may lie behind it.
const LAST_MS: u64 = 253_402_300_799_999;

/// A time as RFC 3339 in UTC, with milliseconds.
pub(super) fn time(at: WallMs) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at.0.min(LAST_MS))).to_string()
}

/// The id of an op's trace, in hex, if that is recorded: else there is nothing to see.
pub(super) fn trace_id(op: &Op) -> Option<String> {
    let trace = op.trace.filter(TraceContext::is_sampled)?;
    Some(format!("{:032x}", u128::from_be_bytes(trace.trace_id)))
}

/// JSON as an answer that is not to be kept.
pub(super) fn json(body: &impl Serialize) -> Response {
    (
        [(CONTENT_TYPE, HeaderValue::from_static("application/json")), (CACHE_CONTROL, NO_STORE)],
        serde_json::to_vec(body).expect("text, numbers, lists and maps by text become JSON"),
    )
        .into_response()
}

/// The same, with a context.
pub(super) fn json_with_context(body: &impl Serialize, token: &str) -> Response {
    let mut response = json(body);
    response.headers_mut().insert(CAUSAL_CONTEXT, token_value(token));
    response
}

/// The same as an answer to a read of a node's state.
pub(super) fn json_of_state(catching_up: CatchingUp, body: &impl Serialize, token: &str) -> Response {
    let mut response = json_with_context(body, token);
    catching_up.mark(response.headers_mut());
    response
}

/// Whether a peer's whole state is on its way to the node: a read may lack what is older than what it has.
#[derive(Clone, Copy)]
pub(super) struct CatchingUp(bool);

impl CatchingUp {
    /// To be asked before the state is read: afterwards, another may have taken its place.
    pub(super) fn of(node: &NodeHandle) -> Self {
        Self(node.is_filling())
    }

    /// Says so in an answer.
    pub(super) fn mark(self, headers: &mut HeaderMap) {
        if self.0 {
            headers.insert(CAUSEWAY_CATCHING_UP, HeaderValue::from_static("1"));
        }
    }
}

pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
