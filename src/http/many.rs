//! `POST /read`: many keys from one snapshot.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Access;
use super::answers::large;
use super::openapi::SessionHeaders;
use super::openapi::refusals::refusals;
use super::problem::{self, Kind, Problem};
use super::session::{self, Session};
use super::view::{self, CatchingUp, KeySiblings, Resolve, Room};
use super::{Shared, body, json, query};
use crate::replica::{Key, Value};
use crate::storage::Snapshot;

/// Either, by `resolve`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Answer<'a> {
    Plain(Plain<'a>),
    All(All<'a>),
}

/// One value a key: the shape of a write, so that it can be written back.
#[derive(Serialize, ToSchema)]
#[schema(as = ManyValues)]
struct Plain<'a> {
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    values: BTreeMap<&'a str, Option<Value>>,
    /// Keys that have more than one sibling, and how many.
    #[schema(value_type = BTreeMap<String, usize>)]
    siblings: BTreeMap<&'a str, usize>,
    context: &'a str,
    /// Keys that were not looked at, for want of room.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<String>)]
    left_out: &'a [Key],
}

/// All siblings of every key.
#[derive(Serialize, ToSchema)]
#[schema(as = ManySiblings)]
struct All<'a> {
    #[schema(value_type = Vec<KeySiblings>)]
    keys: &'a [KeySiblings<'a>],
    context: &'a str,
    /// Keys that were not looked at, for want of room.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<String>)]
    left_out: &'a [Key],
}

refusals!(
    Refusals: query::REFUSALS, session::REFUSALS, body::REFUSALS, json::REFUSALS, problem::OF_STORE,
    &[Kind::BadParameter];
    "Accept-Post" on Kind::UnsupportedContentType
);

/// Many keys
///
/// All as of one instant.
#[utoipa::path(
    post, path = "/read", operation_id = "read_many", tag = "data",
    params(
        ("resolve" = inline(Option<Resolve>), Query, description = "Which of several siblings; default `arrival`"),
        SessionHeaders,
    ),
    request_body(content = ref("#/components/schemas/ReadRequest"), content_type = "application/json"),
    responses(
        (
            status = 200,
            description = "One value a key, or with `resolve=all` all siblings of each",
            headers(("Causal-Context" = String, description = "What the client has seen with this answer")),
            body = inline(Answer), content_type = "application/json",
        ),
        Refusals,
    ),
)]
pub(super) async fn read_many(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [resolve] = query::params(request.uri().query(), ["resolve"])?;
    let resolve = Resolve::of(resolve.as_deref())?;
    let session = Session::of(request.headers(), &app.options)?;
    let access = Access::of(request.extensions());
    let text = body::json(&app, request).await?;
    let keys = json::keys(text.as_str()?, &app.options.limits)?;
    keys.iter().try_for_each(|key| access.to_key(key))?;
    let _held = text.made_into(keys.len())?;
    session.reached(&app).await?;

    let most = app.options.limits.answer_bytes;
    let room = Room::new(most);
    large(&app, most, move |app| {
        let catching_up = CatchingUp::of(&app.node);
        let snapshot = app.node.snapshot()?;
        let token = app.tokens.of(snapshot.vector());
        match resolve {
            Resolve::All => all(catching_up, &*snapshot, &keys, room, &token.text),
            one => plain(catching_up, &*snapshot, &keys, one, room, &token.text),
        }
    })
    .await
}

fn plain(
    catching_up: CatchingUp,
    snapshot: &dyn Snapshot,
    keys: &[Key],
    resolve: Resolve,
    mut room: Room,
    context: &str,
) -> Result<Response, Problem> {
    let mut answer = Plain { values: BTreeMap::new(), siblings: BTreeMap::new(), context, left_out: &[] };
    for (index, key) in keys.iter().enumerate() {
        let siblings = snapshot.siblings(key)?;
        let value = resolve.shown(&siblings).map(|sibling| sibling.value.clone());
        if !room.takes(value.as_deref().map_or(0, str::len)) {
            answer.left_out = &keys[index..];
            break;
        }
        if siblings.len() > 1 {
            answer.siblings.insert(key, siblings.len());
        }
        answer.values.insert(key, value);
    }
    Ok(view::json_of_state(catching_up, &Answer::Plain(answer), context))
}

fn all(
    catching_up: CatchingUp,
    snapshot: &dyn Snapshot,
    keys: &[Key],
    mut room: Room,
    context: &str,
) -> Result<Response, Problem> {
    let mut shown = Vec::new();
    for key in keys {
        let view = KeySiblings::new(key, &snapshot.siblings(key)?, Resolve::All, &mut room);
        if view.shows_nothing_of_some() {
            break;
        }
        shown.push(view);
    }
    let left_out = &keys[shown.len()..];
    Ok(view::json_of_state(catching_up, &Answer::All(All { keys: &shown, context, left_out }), context))
}
