//! What the headers of a request say, and those of an answer.

use std::sync::Arc;

use axum::http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use xxhash_rust::xxh3::xxh3_128;

use super::problem::{Kind, Problem};
use crate::replica::MAX_IDEMPOTENCY_KEY_BYTES;

pub(super) const CAUSAL_CONTEXT: HeaderName = HeaderName::from_static("causal-context");
pub(super) const CAUSEWAY_SIBLINGS: HeaderName = HeaderName::from_static("causeway-siblings");
/// That the answer is of a state into which a peer's whole state has not been merged yet that is on its way.
pub(super) const CAUSEWAY_CATCHING_UP: HeaderName = HeaderName::from_static("causeway-catching-up");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Refuses conditions that a write does not know: ignoring one would change what it means.
pub(super) fn no_conditions(headers: &HeaderMap) -> Result<(), Problem> {
    for (name, shown, instead) in [
        (IF_MATCH, "If-Match", "pass the Causal-Context of what you read"),
        (IF_NONE_MATCH, "If-None-Match", "pass the Causal-Context of what you read"),
        (IF_UNMODIFIED_SINCE, "If-Unmodified-Since", "pass the Causal-Context of what you read"),
    ] {
        if headers.contains_key(name) {
            let detail = format!("writes take no {shown}; {instead}");
            return Err(Problem::new(Kind::NotSupported, detail).with("header", shown));
        }
    }
    Ok(())
}

/// The client's name for a write, by which it is known when it is sent again.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let bad = |why: &str| {
        let detail = format!("the header Idempotency-Key {why}");
        Problem::new(Kind::BadHeader, detail).with("header", "Idempotency-Key").with("limit", MAX_IDEMPOTENCY_KEY_BYTES)
    };
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("is given more than once"));
    }
    let is_visible = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let text = value.to_str().ok().filter(is_visible);
    let text = text.ok_or_else(|| bad("has something else than visible ASCII characters"))?;
    match text.len() {
        0 => Err(bad("is empty")),
        1..=MAX_IDEMPOTENCY_KEY_BYTES => Ok(Some(text.into())),
        bytes => Err(bad(&format!("has {bytes} characters, the limit is {MAX_IDEMPOTENCY_KEY_BYTES}"))),
    }
}

/// Whether the client would rather have JSON than the plain value: it names `application/json`, and not
/// `text/plain` at least as much.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let quality_of = |wanted: &str| {
        let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = ranges.flat_map(|value| value.split(','));
        let qualities = ranges.filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next().filter(|name| name.eq_ignore_ascii_case(wanted))?;
            let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Some(q.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
        });
        qualities.fold(0.0_f32, f32::max)
    };
    headers.contains_key(ACCEPT) && quality_of("application/json") > quality_of("text/plain")
}

/// Refuses a body that is not plain JSON.
pub(super) fn json_body(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    // Of those for the way, chunks are taken off before this; there may be others below them.
    let on_the_way = headers.get_all(TRANSFER_ENCODING).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let mut on_the_way = on_the_way.map(<[u8]>::trim_ascii);
    if codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
        || on_the_way.any(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Problem::new(Kind::UnsupportedContentEncoding, "the body must not be compressed"));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    if let (Some(given), None) = (types.next(), types.next())
        && given.to_str().is_ok_and(is_json)
    {
        return Ok(());
    }
    let detail = "the body must be JSON in UTF-8, and Content-Type must say so: application/json";
    let problem = Problem::new(Kind::UnsupportedContentType, detail);
    Err(match *method {
        Method::PATCH => problem.with_header(ACCEPT_PATCH, JSON),
        Method::POST => problem.with_header(ACCEPT_POST, JSON),
        // There is no such header for others.
        _ => problem,
    })
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    let utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    json && parts.all(utf8)
}

/// The strong entity tag of a body: a hash of all of it.
pub(super) fn etag(body: &[u8]) -> HeaderValue {
    let tag = format!("\"{:032x}\"", xxh3_128(body));
    HeaderValue::try_from(tag).expect("hex digits in quotes are a header value")
}

/// Whether `If-None-Match` names this tag.
pub(super) fn unchanged(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let mut given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.any(|value| {
        value.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

/// A token as a header.
pub(super) fn token_value(token: &str) -> HeaderValue {
    HeaderValue::try_from(token).expect("tokens are URL-safe")
}
