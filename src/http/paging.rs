//! What calls that list keys share: the parameters of a page, and how many keys are fetched at a time.

use axum::http::{HeaderMap, Uri};

use super::App;
use super::access::Access;
use super::problem::Problem;
use super::query::{self, bad_value};
use super::session::Session;
use crate::replica::Siblings;

/// Which keys a client asks for.
pub(super) struct Wanted {
    pub(super) prefix: String,
    /// They come behind this one.
    pub(super) after: Option<String>,
    /// How many, at most.
    pub(super) limit: usize,
}

impl Wanted {
    /// Reads the query, and waits for the state that the request asks for.
    pub(super) async fn of(app: &App, uri: &Uri, headers: &HeaderMap, access: Access) -> Result<Self, Problem> {
        let [prefix, after, limit] = query::params(uri.query(), ["prefix", "after", "limit"])?;
        access.to_prefix(prefix.as_deref().unwrap_or_default())?;
        let limit = page_limit(limit.as_deref(), app.options.limits.page_keys)?;
        Session::of(headers, &app.options)?.reached(app).await?;
        let (prefix, after) = (prefix.unwrap_or_default().into_owned(), after.map(|after| after.into_owned()));
        Ok(Self { prefix, after, limit })
    }
}

fn page_limit(parameter: Option<&str>, max: usize) -> Result<usize, Problem> {
    let Some(text) = parameter else { return Ok(max.min(100)) };
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| bad_value("limit", text, &format!("a number from 1 to {max}")).with("limit", max))
}

/// How many keys are fetched at once; the store hands out their values too, so fewer when those are large.
pub(super) struct Step(pub(super) usize);

pub(super) const MAX_STEP: usize = 64;
const STEP_BYTES: usize = 4 * 1024 * 1024;

impl Step {
    /// Adapts to what was found.
    pub(super) fn adapt(&mut self, found: &[(String, Siblings)]) {
        self.0 = if value_bytes(found) > STEP_BYTES { (self.0 / 2).max(1) } else { (self.0 * 2).min(MAX_STEP) };
    }
}

/// The bytes of all values of these keys.
pub(super) fn value_bytes(found: &[(String, Siblings)]) -> usize {
    found.iter().flat_map(|(_, siblings)| siblings.iter()).map(|sibling| sibling.value.len()).sum()
}
