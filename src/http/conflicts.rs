//! `GET /conflicts`: the keys that have more than one sibling, with them, in byte order, a page at a time.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Access;
use super::answers::large;
use super::openapi::refusals::refusals;
use super::openapi::{PageOfKeys, SessionHeaders};
use super::paging::{Wanted, value_bytes};
use super::problem::{self, Kind, Problem};
use super::session;
use super::view::{self, CatchingUp, KeySiblings, Resolve, Room};
use super::{App, Shared, query};

/// A page of keys.
#[derive(Serialize, ToSchema)]
#[schema(as = ConflictsPage)]
struct Page<'a> {
    keys: &'a [KeySiblings<'a>],
    context: &'a str,
    /// What `after` must be to get the next page; `null` on the last.
    #[schema(required)]
    next: Option<&'a str>,
}

/// How many keys are fetched at once, and no more than were found before: with the most siblings of a megabyte each, one
/// fills an answer.
const MAX_STEP: usize = 16;

refusals!(Refusals: query::REFUSALS, session::REFUSALS, problem::OF_STORE, &[Kind::BadParameter]);

/// The keys that have more than one sibling
///
/// With them, in byte order. A write with the context of a page settles what it shows.
#[utoipa::path(
    get, path = "/conflicts", operation_id = "conflicts", tag = "data",
    params(
        PageOfKeys,
        SessionHeaders,
    ),
    responses(
        (
            status = 200,
            description = "A page",
            headers(("Causal-Context" = String, description = "What the client has seen with this answer")),
            body = Page,
        ),
        Refusals,
    ),
)]
pub(super) async fn conflicts(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let access = Access::of(request.extensions());
    let wanted = Wanted::of(&app, request.uri(), request.headers(), access).await?;
    large(&app, app.options.limits.answer_bytes, move |app| page(app, wanted)).await
}

fn page(app: &App, Wanted { prefix, mut after, limit }: Wanted) -> Result<Response, Problem> {
    let catching_up = CatchingUp::of(&app.node);
    let snapshot = app.node.snapshot()?;
    let mut found = Vec::new();
    let mut bytes = 0;
    // One more than the page shows, to know whether another follows; and no more than there is room for.
    while found.len() <= limit && bytes <= app.options.limits.answer_bytes {
        let count = found.len().clamp(1, MAX_STEP).min(limit + 1 - found.len());
        let step = snapshot.conflicts(&prefix, after.as_deref(), count)?;
        let Some((last, _)) = step.last() else { break };
        after = Some(last.clone());
        bytes += value_bytes(&step);
        found.extend(step);
    }
    let mut room = Room::new(app.options.limits.answer_bytes);
    let views =
        found.iter().take(limit).map(|(key, siblings)| KeySiblings::new(key, siblings, Resolve::All, &mut room));
    let shown: Vec<KeySiblings> = views.take_while(|view| !view.shows_nothing_of_some()).collect();
    let more = shown.len() < found.len() || !snapshot.conflicts(&prefix, after.as_deref(), 1)?.is_empty();
    let next = shown.last().filter(|_| more).map(KeySiblings::key);
    let token = app.tokens.of(snapshot.vector());
    Ok(view::json_of_state(catching_up, &Page { keys: &shown, context: &token.text, next }, &token.text))
}
