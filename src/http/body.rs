//! Bodies of requests: bounded in bytes, in time, and all together in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::{CONTENT_LENGTH, HeaderMap};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::App;
use super::headers;
use super::problem::{Kind, Problem};

/// What a body can be refused for before it is parsed.
pub(super) const REFUSALS: &[Kind] = &[
    Kind::UnsupportedContentType,
    Kind::UnsupportedContentEncoding,
    Kind::RequestTooLarge,
    Kind::BodyTooSlow,
    Kind::BadBody,
    Kind::BadUtf8,
    Kind::Overloaded,
];

/// The JSON text of a request, not yet parsed. Its bytes count as held for as long as it lives.
pub(super) struct Text<'a> {
    bytes: Bytes,
    _held: Held<'a>,
}

impl Text<'_> {
    /// The text, if it is UTF-8.
    pub(super) fn as_str(&self) -> Result<&str, Problem> {
        utf8(&self.bytes)
    }
}

/// A body's bytes as text.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("the body is not UTF-8 from its byte {} on", error.valid_up_to());
        Problem::new(Kind::BadUtf8, detail)
    })
}

/// Reads a body that must be JSON.
pub(super) async fn json<'a>(app: &'a App, request: Request) -> Result<Text<'a>, Problem> {
    let (parts, body) = request.into_parts();
    accept(app, &parts.method, &parts.headers)?;
    let limit = app.options.body_timeout;
    timeout(limit, collect(app, body)).await.map_err(|_| {
        let detail = format!("the body did not arrive within {} ms", limit.as_millis());
        Problem::new(Kind::BodyTooSlow, detail).with("limit", limit.as_secs_f64())
    })?
}

/// What can be said before the first byte of the body; a client that asked with `Expect` then need not send it.
fn accept(app: &App, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    headers::json_body(method, headers)?;
    let length: Option<usize> = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > app.options.limits.request_bytes => Err(too_large(app)),
        _ => Ok(()),
    }
}

async fn collect(app: &App, body: Body) -> Result<Text<'_>, Problem> {
    let mut held = Held { all: &app.bodies, bytes: 0 };
    let mut frames = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| Problem::new(Kind::BadBody, "the body could not be read to its end"))?;
        if held.bytes + frame.len() > app.options.limits.request_bytes {
            return Err(too_large(app));
        }
        held.add(frame.len(), app.options.limits.bodies_bytes).inspect_err(|_| app.options.metrics.body_refused())?;
        // Most bodies come in one piece, which then need not be copied.
        if first.is_empty() {
            first = frame;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&frame);
        }
    }
    let bytes = if rest.is_empty() { first } else { rest.into() };
    Ok(Text { bytes, _held: held })
}

fn too_large(app: &App) -> Problem {
    let limit = app.options.limits.request_bytes;
    Problem::new(Kind::RequestTooLarge, format!("a request has at most {limit} bytes")).with("limit", limit)
}

/// Counts the bytes of a body as held for as long as it lives.
struct Held<'a> {
    all: &'a AtomicUsize,
    bytes: usize,
}

impl Held<'_> {
    fn add(&mut self, bytes: usize, limit: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        if self.all.fetch_add(bytes, Ordering::Relaxed) + bytes > limit {
            let detail = format!("the requests under way hold {limit} bytes, the most that they may");
            return Err(Problem::new(Kind::Overloaded, detail).with("limit", limit));
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
