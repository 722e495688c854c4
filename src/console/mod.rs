//! The console: the page at `/` of every node, and the files that it is made of, built into the binary.
//!
//! It is a client like any other: what it shows and does goes through the client API, from the browser. So this
//! shell only hands out files. Promises: the same bytes and `ETag` for a file as long as the process runs; a
//! policy under which nothing but these files is run or loaded, whatever keys and values hold. Must not know the
//! node, or anything of its data. docs/console.md is for its users.

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use xxhash_rust::xxh3::xxh3_128;

/// A file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal is $file:literal as $content_type:ident,)*) => {
        &[$(Asset {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!(concat!("assets/", $file)),
        },)*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const ASSETS: &[Asset] = assets! {
    "/" is "index.html" as HTML,
    "/console/console.css" is "console.css" as CSS,
    "/console/icon.svg" is "icon.svg" as SVG,
    "/console/api.js" is "api.js" as JAVASCRIPT,
    "/console/ask.js" is "ask.js" as JAVASCRIPT,
    "/console/cluster.js" is "cluster.js" as JAVASCRIPT,
    "/console/conflicts.js" is "conflicts.js" as JAVASCRIPT,
    "/console/dom.js" is "dom.js" as JAVASCRIPT,
    "/console/feed.js" is "feed.js" as JAVASCRIPT,
    "/console/graph.js" is "graph.js" as JAVASCRIPT,
    "/console/keys.js" is "keys.js" as JAVASCRIPT,
    "/console/latency.js" is "latency.js" as JAVASCRIPT,
    "/console/live.js" is "live.js" as JAVASCRIPT,
    "/console/main.js" is "main.js" as JAVASCRIPT,
    "/console/overview.js" is "overview.js" as JAVASCRIPT,
    "/console/receipt.js" is "receipt.js" as JAVASCRIPT,
    "/console/story.js" is "story.js" as JAVASCRIPT,
    "/console/theme.js" is "theme.js" as JAVASCRIPT,
    "/console/token.js" is "token.js" as JAVASCRIPT,
    "/console/words.js" is "words.js" as JAVASCRIPT,
};

/// Scripts and styles from this node's files only, none inline; text never becomes markup; no other page frames this
/// one or is given its address.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

const WRONG_METHOD: &str = r#"{"type":"/problems/method-not-allowed","title":"Wrong method","status":405,"detail":"the files of the console are only read"}"#;

/// The page and its files. Paths below `/console/` that are no file are left to whom this is merged with.
pub fn router() -> Router {
    let files = ASSETS.iter().map(|asset| (asset, tag(asset.bytes)));
    let routes = files.fold(Router::new(), |routes, (asset, tag)| {
        routes.route(asset.path, get(async move |headers: HeaderMap| answer(asset, &tag, &headers)))
    });
    routes.method_not_allowed_fallback(async || {
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store"), (ALLOW, "GET,HEAD")];
        (StatusCode::METHOD_NOT_ALLOWED, headers, WRONG_METHOD)
    })
}

/// A strong `ETag`: a hash of the bytes.
fn tag(bytes: &[u8]) -> HeaderValue {
    HeaderValue::try_from(format!("\"{:032x}\"", xxh3_128(bytes))).expect("hex digits in quotes are a header's value")
}

fn answer(asset: &'static Asset, tag: &HeaderValue, request: &HeaderMap) -> Response {
    let mut response = match has(request, tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(CONTENT_TYPE, HeaderValue::from_static(asset.content_type))], asset.bytes).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, tag.clone());
    // Kept, but asked about each time: after an update the page and its scripts are of one version.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Whether the client has the file with this tag already.
fn has(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let lists = request.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|theirs| theirs == "*" || theirs.strip_prefix("W/").unwrap_or(theirs).as_bytes() == tag.as_bytes())
}
