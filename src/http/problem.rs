//! Problems: every way in which a request can be refused, as `application/problem+json` (RFC 9457).
//!
//! A [`Kind`] is a stable `type` with its title and status; `docs/http-api.md` lists them all. The only
//! refusal that is not one of these is the plain `404` of `GET /read`.

use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use problem_details::ProblemDetails;
use serde_json::{Map, Value};

use super::spans;
use crate::node::{NotReached, SetError};
use crate::replica::WriteError;
use crate::storage::StorageError;

/// A documented kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MissingKey,
    BadQuery,
    BadParameter,
    UnknownParameter,
    DuplicateParameter,
    BadDot,
    BadContext,
    BadCursor,
    ContextNeeded,
    BadHeader,
    NotSupported,
    NotJson,
    BadBody,
    NotFound,
    UnknownWrite,
    UnknownPeer,
    MethodNotAllowed,
    BodyTooSlow,
    TooManySiblings,
    CursorGone,
    RequestTooLarge,
    KeyTooLong,
    ValueTooLong,
    TooManyEntries,
    UnsupportedContentType,
    UnsupportedContentEncoding,
    BadUtf8,
    WrongType,
    UnknownField,
    MissingField,
    DuplicateField,
    DuplicateKey,
    EmptyKey,
    NoEntries,
    TooManyAcks,
    IdempotencyKeyReused,
    Internal,
    OutcomeUnknown,
    StorageUnreadable,
    ContextNotReached,
    Overloaded,
    ReadOnly,
    Stopping,
}

impl Kind {
    /// Status, `type`, `title`.
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MissingKey => (S::BAD_REQUEST, "/problems/missing-key", "No key"),
            Self::BadQuery => (S::BAD_REQUEST, "/problems/bad-query", "The query can't be decoded"),
            Self::BadParameter => (S::BAD_REQUEST, "/problems/bad-parameter", "A parameter has a value it can't have"),
            Self::UnknownParameter => (S::BAD_REQUEST, "/problems/unknown-parameter", "Unknown parameter"),
            Self::DuplicateParameter => {
                (S::BAD_REQUEST, "/problems/duplicate-parameter", "A parameter is given more than once")
            }
            Self::BadDot => (S::BAD_REQUEST, "/problems/bad-dot", "Not a dot"),
            Self::BadContext => (S::BAD_REQUEST, "/problems/bad-context", "Not a causal context"),
            Self::BadCursor => (S::BAD_REQUEST, "/problems/bad-cursor", "Not a cursor"),
            Self::ContextNeeded => (S::BAD_REQUEST, "/problems/context-needed", "A causal context is needed"),
            Self::BadHeader => (S::BAD_REQUEST, "/problems/bad-header", "A header has a value it can't have"),
            Self::NotSupported => (S::BAD_REQUEST, "/problems/not-supported", "A header asks for what isn't supported"),
            Self::NotJson => (S::BAD_REQUEST, "/problems/not-json", "Not JSON"),
            Self::BadBody => (S::BAD_REQUEST, "/problems/bad-body", "The body ended early or is framed wrongly"),
            Self::NotFound => (S::NOT_FOUND, "/problems/not-found", "No such path"),
            Self::UnknownWrite => (S::NOT_FOUND, "/problems/unknown-write", "No such write"),
            Self::UnknownPeer => (S::NOT_FOUND, "/problems/unknown-peer", "No such peer"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "/problems/method-not-allowed", "Wrong method"),
            Self::BodyTooSlow => (S::REQUEST_TIMEOUT, "/problems/body-too-slow", "The body took too long"),
            Self::TooManySiblings => (S::CONFLICT, "/problems/too-many-siblings", "Too many siblings"),
            Self::CursorGone => (S::GONE, "/problems/cursor-gone", "This node can't go on from the cursor"),
            Self::RequestTooLarge => (S::PAYLOAD_TOO_LARGE, "/problems/request-too-large", "The request is too large"),
            Self::KeyTooLong => (S::PAYLOAD_TOO_LARGE, "/problems/key-too-long", "A key is too long"),
            Self::ValueTooLong => (S::PAYLOAD_TOO_LARGE, "/problems/value-too-long", "A value is too long"),
            Self::TooManyEntries => {
                (S::PAYLOAD_TOO_LARGE, "/problems/too-many-entries", "Too many keys in one request")
            }
            Self::UnsupportedContentType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "/problems/unsupported-content-type", "Unsupported content type")
            }
            Self::UnsupportedContentEncoding => {
                (S::UNSUPPORTED_MEDIA_TYPE, "/problems/unsupported-content-encoding", "Unsupported content encoding")
            }
            Self::BadUtf8 => (S::UNPROCESSABLE_ENTITY, "/problems/bad-utf8", "Not UTF-8"),
            Self::WrongType => (S::UNPROCESSABLE_ENTITY, "/problems/wrong-type", "Wrong JSON type"),
            Self::UnknownField => (S::UNPROCESSABLE_ENTITY, "/problems/unknown-field", "Unknown field"),
            Self::MissingField => (S::UNPROCESSABLE_ENTITY, "/problems/missing-field", "Missing field"),
            Self::DuplicateField => {
                (S::UNPROCESSABLE_ENTITY, "/problems/duplicate-field", "A field is given more than once")
            }
            Self::DuplicateKey => (S::UNPROCESSABLE_ENTITY, "/problems/duplicate-key", "A key is given more than once"),
            Self::EmptyKey => (S::UNPROCESSABLE_ENTITY, "/problems/empty-key", "A key is empty"),
            Self::NoEntries => (S::UNPROCESSABLE_ENTITY, "/problems/no-entries", "No keys in the request"),
            Self::TooManyAcks => (
                S::UNPROCESSABLE_ENTITY,
                "/problems/too-many-acks",
                "More acknowledgements wanted than there are nodes",
            ),
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "/problems/idempotency-key-reused",
                "The idempotency key is that of another write",
            ),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "/problems/internal", "A bug in this server"),
            Self::OutcomeUnknown => {
                (S::INTERNAL_SERVER_ERROR, "/problems/outcome-unknown", "The outcome of this write is unknown")
            }
            Self::StorageUnreadable => {
                (S::INTERNAL_SERVER_ERROR, "/problems/storage-unreadable", "A stored record can't be read")
            }
            Self::ContextNotReached => {
                (S::SERVICE_UNAVAILABLE, "/problems/context-not-reached", "This node lacks what the context includes")
            }
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "/problems/overloaded", "Too much at once"),
            Self::ReadOnly => (S::SERVICE_UNAVAILABLE, "/problems/read-only", "This node is read-only"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "/problems/stopping", "This node is stopping"),
        }
    }

    /// A header that goes with every problem of this kind.
    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::ContextNotReached | Self::Overloaded | Self::Stopping => {
                Some((RETRY_AFTER, HeaderValue::from_static("1")))
            }
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

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        tracing::error!(trace_id = spans::trace_id(), %error, "a read of the store failed");
        Self::new(Kind::StorageUnreadable, error.to_string())
    }
}

impl From<SetError> for Problem {
    fn from(error: SetError) -> Self {
        let detail = error.to_string();
        match error {
            SetError::Overloaded(_) => Self::new(Kind::Overloaded, detail),
            SetError::Stopping => {
                Self::new(Kind::Stopping, "this node is stopping; whether the write was still made is unknown")
            }
            SetError::Refused(WriteError::KeyReused { dot }) => {
                Self::new(Kind::IdempotencyKeyReused, detail).with("dot", dot.to_string())
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
