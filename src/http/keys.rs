//! `GET /keys`: the keys there are, in byte order, a page at a time.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::refusals::refusals;
use super::openapi::{PageLimit, SessionHeaders};
use super::problem::{self, Kind, Problem};
use super::session::{self, Session};
use super::{App, Shared, blocking, query, view};
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

/// How many keys are fetched at once; the store hands out their values too, so fewer when those are large.
const MAX_STEP: usize = 64;
const STEP_BYTES: usize = 4 * 1024 * 1024;

refusals!(Refusals: query::REFUSALS, session::REFUSALS, problem::OF_STORE, &[Kind::BadParameter]);

/// Which keys there are
///
/// In byte order. Each page is of one instant, and two pages are of two.
#[utoipa::path(
    get, path = "/keys", operation_id = "keys", tag = "data",
    params(
        ("prefix" = Option<String>, Query, description = "Only keys that begin so"),
        ("after" = Option<String>, Query, description = "Only keys behind this one, which need not exist"),
        PageLimit,
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
    let [prefix, after, limit] = query::params(request.uri().query(), ["prefix", "after", "limit"])?;
    let limit = page_limit(limit.as_deref(), app.options.limits.page_keys)?;
    Session::of(request.headers(), &app.options)?.reached(&app).await?;

    let (prefix, after) = (prefix.unwrap_or_default().into_owned(), after.map(|after| after.into_owned()));
    blocking(move || {
        let page = page(&app, &prefix, after, limit)?;
        Ok(view::json_with_context(&page, &page.context))
    })
    .await
}

/// The parameter `limit` of a call that answers in pages.
pub(super) fn page_limit(parameter: Option<&str>, max: usize) -> Result<usize, Problem> {
    let Some(text) = parameter else { return Ok(max.min(100)) };
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| query::bad_value("limit", text, &format!("a number from 1 to {max}")).with("limit", max))
}

fn page(app: &App, prefix: &str, mut after: Option<String>, limit: usize) -> Result<Page, StorageError> {
    let snapshot = app.node.snapshot()?;
    let mut keys: Vec<KeyView> = Vec::new();
    let mut step = MAX_STEP;
    // One more than the page shows, to know whether another follows.
    while keys.len() <= limit {
        let wanted = step.min(limit + 1 - keys.len());
        let found = snapshot.keys(prefix, after.as_deref(), wanted)?;
        let bytes: usize =
            found.iter().flat_map(|(_, siblings)| siblings.iter()).map(|sibling| sibling.value.len()).sum();
        step = if bytes > STEP_BYTES { (step / 2).max(1) } else { (step * 2).min(MAX_STEP) };
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
