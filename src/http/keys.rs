//! `GET /keys`: the keys there are, in byte order, a page at a time.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Access;
use super::answers::large;
use super::openapi::refusals::refusals;
use super::openapi::{PageOfKeys, SessionHeaders};
use super::paging::{MAX_STEP, Step, Wanted};
use super::problem::{self, Kind, Problem};
use super::session;
use super::{App, Shared, query, view};
use crate::storage::StorageError;

/// A page of keys.
#[derive(Serialize, ToSchema)]
#[schema(as = KeysPage)]
struct Page {
    keys: Vec<KeyView>,
    context: String,
    /// What `after` must be to get the next page; `null` on the last.
    #[schema(required)]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeyOfPage)]
struct KeyView {
    key: String,
    siblings: usize,
}

refusals!(Refusals: query::REFUSALS, session::REFUSALS, problem::OF_STORE, &[Kind::BadParameter]);

/// Which keys there are
///
/// In byte order. Each page is of one instant, and two pages are of two.
#[utoipa::path(
    get, path = "/keys", operation_id = "keys", tag = "data",
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
            links(("next" = (
                operation_id = "keys", parameters(("after" = "$response.body#/next")),
                description = "The next page, when there is one",
            ))),
        ),
        Refusals,
    ),
)]
pub(super) async fn keys(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let access = Access::of(request.extensions());
    let wanted = Wanted::of(&app, request.uri(), request.headers(), access).await?;
    large(&app, 0, move |app| {
        let catching_up = view::CatchingUp::of(&app.node);
        let page = page(app, wanted)?;
        Ok(view::json_of_state(catching_up, &page, &page.context))
    })
    .await
}

fn page(app: &App, Wanted { prefix, mut after, limit }: Wanted) -> Result<Page, StorageError> {
    let snapshot = app.node.snapshot()?;
    let mut keys: Vec<KeyView> = Vec::new();
    let mut step = Step(MAX_STEP);
    // One more than the page shows, to know whether another follows.
    while keys.len() <= limit {
        let wanted = step.0.min(limit + 1 - keys.len());
        let found = snapshot.keys(&prefix, after.as_deref(), wanted)?;
        step.adapt(&found);
        let last = found.len() < wanted;
        keys.extend(found.into_iter().map(|(key, siblings)| KeyView { key, siblings: siblings.len() }));
        after = keys.last().map(|last| last.key.clone());
        if last {
            break;
        }
    }
    let next = (keys.len() > limit).then(|| {
        keys.truncate(limit);
        keys.last().map(|last| last.key.clone()).unwrap_or_default()
    });
    Ok(Page { keys, context: app.tokens.of(snapshot.vector()).text.clone(), next })
}
