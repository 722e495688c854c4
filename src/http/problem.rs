//! Problems: every way in which a request can be refused, as `application/problem+json` (RFC 9457).
//!
//! A [`Kind`] is a stable `type` with its title and status; `docs/http-api.md` lists them all. The only
//! refusal that is not one of these is the plain `404` of `GET /read`.

mod kind;

use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use problem_details::ProblemDetails;
use serde_json::{Map, Value};

pub(super) use kind::Kind;

use super::spans;
use crate::node::{Draining, NoRoom, NotReached, SetError};
use crate::replica::WriteError;
use crate::storage::StorageError;

impl Kind {
    /// A header that goes with every problem of this kind.
    pub(super) fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::ContextNotReached | Self::Overloaded | Self::Draining | Self::Stopping => {
                Some((RETRY_AFTER, HeaderValue::from_static("1")))
            }
            // Room is not made by itself.
            Self::InsufficientStorage => Some((RETRY_AFTER, HeaderValue::from_static("10"))),
            Self::NotAuthenticated => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::BodyTooSlow => Some((CONNECTION, HeaderValue::from_static("close"))),
            Self::UnsupportedContentEncoding => Some((ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            _ => None,
        }
    }
}

/// A refusal: its kind, a sentence, and what a program may want to know besides.
#[derive(Debug)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts { kind, detail: detail.into(), members: Map::new(), header: None }))
    }

    pub(super) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What is wrong, for people.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Adds a member such as `key` or `limit`.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// Ends the connection: the rest of the request is not wanted.
    pub(super) fn closing(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Names the key that it is about.
    pub(super) fn about(self, key: &str) -> Self {
        self.with("key", shown(key))
    }
}

/// A text that came from a client, as an answer may repeat it: cut when it is long.
pub(super) fn shown(text: &str) -> String {
    const MAX_BYTES: usize = 1024;
    if text.len() <= MAX_BYTES {
        text.to_owned()
    } else {
        format!("{}…", &text[..text.floor_char_boundary(MAX_BYTES)])
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { kind, detail, mut members, header } = *self.0;
        let (status, uri, title) = kind.facts();
        if status.is_server_error()
            && let Some(trace) = spans::trace_id()
        {
            members.insert("trace_id".to_owned(), trace.into());
        }
        let details = ProblemDetails::new()
            .with_type(Uri::from_static(uri))
            .with_title(title)
            .with_status(status)
            .with_detail(detail)
            .with_extensions(members);
        let mut response = details.into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(kind.header());
        headers.extend(header);
        response
    }
}

/// What a read of the store can end as.
pub(super) const OF_STORE: &[Kind] = &[Kind::StorageUnreadable];

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        tracing::error!(trace_id = spans::trace_id(), %error, "a read of the store failed");
        let detail = match &error {
            StorageError::Damaged { .. } => {
                format!("{error}; it is being repaired from another node's state, if there is one that answers")
            }
            _ => error.to_string(),
        };
        Self::new(Kind::StorageUnreadable, detail)
    }
}

/// What a write can end as once it was understood.
pub(super) const OF_WRITE: &[Kind] = &[
    Kind::Overloaded,
    Kind::Draining,
    Kind::Stopping,
    Kind::InsufficientStorage,
    Kind::ReadOnly,
    Kind::TooManyIncarnations,
    Kind::OutcomeUnknown,
    Kind::StorageUnreadable,
    Kind::TooManySiblings,
    Kind::IdempotencyKeyReused,
];

impl From<SetError> for Problem {
    fn from(error: SetError) -> Self {
        let detail = error.to_string();
        match error {
            SetError::Draining(draining) => draining.into(),
            SetError::NoRoom(no_room) => no_room.into(),
            SetError::Overloaded(_) => Self::new(Kind::Overloaded, detail),
            SetError::Stopping => {
                Self::new(Kind::Stopping, "this node is stopping; whether the write was still made is unknown")
            }
            SetError::Refused(WriteError::KeyReused { dot }) => {
                Self::new(Kind::IdempotencyKeyReused, detail).with("dot", dot.to_string())
            }
            SetError::Refused(WriteError::TooManyIncarnations { limit }) => {
                Self::new(Kind::TooManyIncarnations, detail).with("limit", limit)
            }
            SetError::Refused(WriteError::ReadOnly) => Self::new(Kind::ReadOnly, detail),
            SetError::Refused(WriteError::OutcomeUnknown) => Self::new(Kind::OutcomeUnknown, detail),
            SetError::Refused(WriteError::Unreadable(_)) => {
                tracing::error!(trace_id = spans::trace_id(), %detail, "a write could not read what it replaces");
                Self::new(Kind::StorageUnreadable, detail)
            }
            SetError::Refused(WriteError::TooManySiblings { key, siblings, limit }) => {
                Self::new(Kind::TooManySiblings, detail).about(&key).with("siblings", siblings).with("limit", limit)
            }
        }
    }
}

impl From<Draining> for Problem {
    fn from(error: Draining) -> Self {
        Self::new(Kind::Draining, error.to_string())
    }
}

impl From<NoRoom> for Problem {
    fn from(error: NoRoom) -> Self {
        let NoRoom { free, min_free } = error;
        Self::new(Kind::InsufficientStorage, error.to_string()).with("free", free).with("limit", min_free)
    }
}

impl From<NotReached> for Problem {
    fn from(error: NotReached) -> Self {
        let lost = error.lacking.iter().filter(|lacking| !lacking.obtainable).count();
        let detail = match lost {
            0 => "this node did not get in time all that the context includes; without the context it answers at once"
                .to_owned(),
            _ => format!(
                "of {lost} of these origins no node can supply the ops any more; read without the context and go on \
                 with the one that comes with the answer"
            ),
        };
        let lacking = error.lacking.iter().map(|lacking| {
            serde_json::json!({
                "origin": lacking.wanted.origin.to_string(),
                "wanted": lacking.wanted.counter,
                "have": lacking.have,
                "obtainable": lacking.obtainable,
            })
        });
        Self::new(Kind::ContextNotReached, detail).with("lacking", lacking.collect::<Vec<_>>())
    }
}
