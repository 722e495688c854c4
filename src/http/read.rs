//! `GET /read`: one key.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Access;
use super::headers::{self, CAUSAL_CONTEXT, CAUSEWAY_SIBLINGS};
use super::openapi::refusals::refusals;
use super::openapi::{IfNoneMatch, SessionHeaders};
use super::problem::{self, Kind, Problem};
use super::session::{self, Session};
use super::tokens::StateToken;
use super::view::{CatchingUp, KeySiblings, NO_STORE, Resolve, Room};
use super::{Shared, query};
use crate::replica::Siblings;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

refusals!(Refusals: query::REFUSALS, session::REFUSALS, problem::OF_STORE, &[Kind::MissingKey, Kind::BadParameter]);

/// One key
///
/// The value's bytes and nothing else; or all siblings as JSON.
#[utoipa::path(
    get, path = "/read", operation_id = "read", tag = "data",
    params(
        ("key" = String, Query, description = "The key", min_length = 1, example = "greeting"),
        ("resolve" = inline(Option<Resolve>), Query, description = "Which of several siblings; default `arrival`"),
        SessionHeaders,
        IfNoneMatch,
    ),
    responses(
        (
            status = 200,
            description = "The value; as JSON with `resolve=all`, or when `Accept` rates that higher than `text/plain`",
            headers(
                ("Causal-Context" = String, description = "What the client has seen with this answer"),
                ("Causeway-Siblings" = usize, description = "How many values the key has"),
                ("ETag" = String, description = "A hash of the body"),
            ),
            content((String = "text/plain; charset=utf-8"), (All = "application/json")),
        ),
        (
            status = 304,
            description = "What would be shown is as `If-None-Match` has it",
            headers(
                ("Causal-Context" = String, description = "What the client has seen with this answer"),
                ("Causeway-Siblings" = usize, description = "How many values the key has"),
                ("ETag" = String, description = "A hash of the body that is not sent"),
            ),
        ),
        (
            status = 404,
            description = "The key has no value: `key not found`",
            headers(
                ("Causal-Context" = String, description = "What the client has seen with this answer"),
                ("Causeway-Siblings" = usize, description = "0"),
            ),
            body = String, content_type = "text/plain; charset=utf-8",
        ),
        Refusals,
    ),
)]
pub(super) async fn read(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let headers = request.headers();
    let [key, resolve] = query::params(request.uri().query(), ["key", "resolve"])?;
    let key = key
        .filter(|key| !key.is_empty())
        .ok_or_else(|| Problem::new(Kind::MissingKey, "a read names the key that it wants: /read?key=KEY"))?;
    Access::of(request.extensions()).to_key(&key)?;
    let resolve = Resolve::of(resolve.as_deref())?;
    Session::of(headers, &app.options)?.reached(&app).await?;

    // After the wait, and the only one: value and context are of the same instant.
    let catching_up = CatchingUp::of(&app.node);
    let snapshot = app.node.snapshot()?;
    let siblings = snapshot.siblings(&key)?;
    let token = app.tokens.of(snapshot.vector());
    let Some(shown) = resolve.shown(&siblings) else {
        return Ok(Shown { status: StatusCode::NOT_FOUND, body: "key not found".into(), kind: TEXT, etag: None }
            .with_state(catching_up, &token, 0));
    };
    let (body, kind) = if resolve == Resolve::All || headers::wants_json(headers) {
        (all(&key, resolve, &siblings, &token.text, app.options.limits.answer_bytes), JSON)
    } else {
        (Bytes::copy_from_slice(shown.value.as_bytes()), TEXT)
    };
    let mut shown = Shown::of(body, kind, headers);
    shown.body = app.answers.hold(shown.body)?;
    Ok(shown.with_state(catching_up, &token, siblings.len()))
}

/// All siblings of the key, with the context also in the body: it is part of what is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = OneKey)]
struct All<'a> {
    #[serde(flatten)]
    key: KeySiblings<'a>,
    context: &'a str,
}

fn all(key: &str, resolve: Resolve, siblings: &Siblings, token: &str, max_bytes: usize) -> Bytes {
    let key = KeySiblings::new(key, siblings, resolve, &mut Room::new(max_bytes));
    serde_json::to_vec(&All { key, context: token }).expect("text, numbers and lists become JSON").into()
}

/// What a read answers, apart from the state that it is of.
struct Shown {
    status: StatusCode,
    body: Bytes,
    kind: HeaderValue,
    etag: Option<HeaderValue>,
}

impl Shown {
    fn of(body: Bytes, kind: HeaderValue, headers: &HeaderMap) -> Self {
        let etag = headers::etag(&body);
        if headers::unchanged(headers, &etag) {
            return Self { status: StatusCode::NOT_MODIFIED, body: Bytes::new(), kind, etag: Some(etag) };
        }
        Self { status: StatusCode::OK, body, kind, etag: Some(etag) }
    }

    fn with_state(self, catching_up: CatchingUp, token: &StateToken, siblings: usize) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.kind);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(CAUSAL_CONTEXT, token.header.clone());
        headers.insert(CAUSEWAY_SIBLINGS, HeaderValue::from(siblings));
        if let Some(etag) = self.etag {
            headers.insert(ETAG, etag);
        }
        catching_up.mark(headers);
        response
    }
}
