//! Everything that can go wrong.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Values;

/// Why a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node refused. Nothing was changed.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// No node could be reached in time. Nothing was changed.
    #[error("no node answers: {}", joined(reasons))]
    Unreachable {
        /// The last reason for each node that was tried, by its URL.
        reasons: BTreeMap<String, String>,
    },
    /// A write was sent, and whether it was made could not be learnt in time.
    #[error(transparent)]
    OutcomeUnknown(Box<OutcomeUnknown>),
    /// What answered is no node of Causeway, or one that this crate does not understand.
    #[error("an answer is not as a node's: {0}")]
    BadAnswer(String),
    /// A key has siblings that a node did not show, because all are too large for one answer. Merging the others would
    /// drop these unread.
    #[error("{left_out} siblings of the key {key:?} are too large to be read with the others")]
    SiblingsLeftOut {
        /// The key.
        key: String,
        /// How many were not shown.
        left_out: u64,
    },
    /// A setting or an argument can't be used. Nothing was sent.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    /// The refusal, when it is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// What kind of refusal it is, when it is one.
    pub fn kind(&self) -> Option<ProblemKind> {
        self.problem().map(Problem::kind)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

fn joined(reasons: &BTreeMap<String, String>) -> String {
    let told: Vec<_> = reasons.iter().map(|(node, reason)| format!("{node}: {reason}")).collect();
    told.join("; ")
}

/// A write that may have been made: its answer was lost, and its node did not come back in time.
///
/// It was not sent to another node, which could have made it twice. Whoever accepts two equal siblings sends it again,
/// with its `values` and its `idempotency_key`; it then goes to any node, and is one write wherever the first has arrived.
#[derive(Clone, Debug, thiserror::Error)]
#[error("whether the write was made at {node} is unknown: {reason}")]
#[non_exhaustive]
pub struct OutcomeUnknown {
    /// The URL of the node that it was sent to.
    pub node: String,
    /// The name that it went by.
    pub idempotency_key: String,
    /// What it writes.
    pub values: Values,
    /// Why its node does not say.
    pub reason: String,
    /// With what the node refused to say, if it did.
    pub refusal: Option<Box<Problem>>,
}

/// A node's refusal, from its `application/problem+json`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The URL of the node that refused.
    pub node: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable name, such as `/problems/value-too-long`; `about:blank` for what has none.
    pub problem_type: String,
    /// In a few words, for people.
    pub title: String,
    /// In a sentence, for people; may be empty.
    pub detail: String,
    /// All that came with it, such as `limit`.
    pub members: Map<String, Value>,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The request is wrong, and will be at any time: an empty key, an unknown context, and the like.
    BadRequest,
    /// The node wants a token, or another one.
    NotAllowed,
    /// A key, a value or the whole request has too many bytes or keys; [`Problem::limit`] says how many may be.
    TooLarge,
    /// The write would add a sibling to a key that has the most: read it, and write with what was read.
    TooManySiblings,
    /// The idempotency key is that of another write.
    IdempotencyKeyReused,
    /// The nodes that answer lack what the session has seen. Another session is always answered, and may show an older state.
    ContextNotReached,
    /// The nodes that answer can't do it now: too busy, stopping, about to be removed, read-only, or out of room.
    Unavailable,
    /// Anything else.
    Other,
}

/// What a node lacks of a context.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Lack {
    /// Whose op it is.
    pub origin: String,
    /// Whether waiting can help: not when no node of the cluster has it any more.
    #[serde(default = "yes")]
    pub obtainable: bool,
}

fn yes() -> bool {
    true
}

impl Problem {
    pub(crate) fn new(node: &str, status: u16, members: Map<String, Value>) -> Self {
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            node: node.to_owned(),
            status,
            problem_type: text("type").unwrap_or_else(|| "about:blank".to_owned()),
            title: text("title").unwrap_or_else(|| format!("HTTP status {status}")),
            detail: text("detail").unwrap_or_default(),
            members,
        }
    }

    /// What it is about.
    pub fn kind(&self) -> ProblemKind {
        match (self.problem_type.as_str(), self.status) {
            ("/problems/too-many-siblings", _) => ProblemKind::TooManySiblings,
            ("/problems/idempotency-key-reused", _) => ProblemKind::IdempotencyKeyReused,
            ("/problems/context-not-reached", _) => ProblemKind::ContextNotReached,
            (_, 400 | 415 | 422) => ProblemKind::BadRequest,
            (_, 401 | 403) => ProblemKind::NotAllowed,
            (_, 413) => ProblemKind::TooLarge,
            (_, 429 | 503 | 507) => ProblemKind::Unavailable,
            _ => ProblemKind::Other,
        }
    }

    /// The limit that was passed, where there is one.
    pub fn limit(&self) -> Option<u64> {
        self.members.get("limit").and_then(Value::as_u64)
    }

    /// The trace in which a failure can be looked up, where there is one.
    pub fn trace_id(&self) -> Option<&str> {
        self.members.get("trace_id").and_then(Value::as_str)
    }

    /// What the node lacks of the session's context, of [`ProblemKind::ContextNotReached`].
    pub fn lacking(&self) -> Vec<Lack> {
        let lacking = self.members.get("lacking").and_then(Value::as_array);
        lacking.into_iter().flatten().filter_map(|lack| Lack::deserialize(lack).ok()).collect()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, status, problem_type, title, detail, .. } = self;
        let colon = if detail.is_empty() { "" } else { ": " };
        write!(f, "{title}{colon}{detail} ({problem_type}, {status} of {node})")
    }
}

impl std::error::Error for Problem {}
