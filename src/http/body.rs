//! Bodies of requests: bounded in bytes, in time, and all together in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::{CONTENT_LENGTH, HeaderMap};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::App;
use super::headers;
use super::problem::{Kind, Problem};

/// What a key, or a key and a value, of a request takes besides their bytes.
const PART_BYTES: usize = 96;

/// A shorter body is read whatever comes of it: most of it has come with the head.
const SHORT_BYTES: usize = 32 << 10;

/// So many times as many large bodies may be on their way as writes may wait: a body takes its time, most of all when its
/// client is far away, and the disk must not wait for it.
const MANY_ARRIVING: usize = 3;

/// What must come of a body in some time when there are many.
const SLOW: Duration = Duration::from_secs(2);
const SLOW_BYTES: usize = 64 << 10;

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
    held: Held<'a>,
}

impl<'a> Text<'a> {
    /// The text, if it is UTF-8.
    pub(super) fn as_str(&self) -> Result<&str, Problem> {
        utf8(&self.bytes)
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Lets go of the text: what was made of it, of so many parts, counts as held in its place.
    pub(super) fn made_into(self, parts: usize) -> Result<Held<'a>, Problem> {
        let Self { bytes, mut held } = self;
        drop(bytes);
        held.add(parts * PART_BYTES)?;
        Ok(held)
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

/// Says whether a write may send its body, if that is large: only when it could be taken now, and not too many are on their
/// way. To be kept until it has come. One that is larger than any may be is left to [`json`].
pub(super) fn large_write<'a>(app: &'a App, headers: &HeaderMap) -> Result<Option<Arriving<'a>>, Problem> {
    let large = SHORT_BYTES + 1..=app.options.limits.request_bytes;
    let Some(bytes) = length(headers).filter(|length| large.contains(length)) else { return Ok(None) };
    let mut arriving = Arriving::new(app, bytes);
    arriving.has_place = app.node.would_write_behind(arriving.before, arriving.bytes_before, bytes)?;
    let limit = may_arrive(app);
    if arriving.before >= limit {
        app.options.metrics.body_refused();
        let detail = "as many large bodies as may be are on their way";
        return Err(Problem::new(Kind::Overloaded, detail).with("limit", limit));
    }
    Ok(Some(arriving))
}

/// How many large bodies may be on their way.
fn may_arrive(app: &App) -> usize {
    MANY_ARRIVING * app.node.may_wait()
}

/// Counts a large body as on its way.
pub(super) struct Arriving<'a> {
    app: &'a App,
    bytes: usize,
    /// How many there were before it.
    before: usize,
    bytes_before: usize,
    has_place: bool,
}

impl<'a> Arriving<'a> {
    fn new(app: &'a App, bytes: usize) -> Self {
        let before = app.arriving.fetch_add(1, Ordering::Relaxed);
        let bytes_before = app.arriving_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { app, bytes, before, bytes_before, has_place: false }
    }

    /// Whether it is to be taken once it has come, however many wait then.
    pub(super) fn has_place(&self) -> bool {
        self.has_place
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.app.arriving.fetch_sub(1, Ordering::Relaxed);
        self.app.arriving_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What can be said before the first byte of the body; a client that asked with `Expect` then need not send it.
fn accept(app: &App, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    headers::json_body(method, headers)?;
    match length(headers) {
        Some(length) if length > app.options.limits.request_bytes => Err(too_large(app)),
        _ => Ok(()),
    }
}

async fn collect(app: &App, body: Body) -> Result<Text<'_>, Problem> {
    let mut held = Held { app, bytes: 0 };
    let mut frames = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    let mut slow = Slowness::new();
    loop {
        let frame = match timeout(SLOW, frames.next()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => {
                slow.check(app, 0)?;
                continue;
            }
        };
        let frame = frame.map_err(|_| Problem::new(Kind::BadBody, "the body could not be read to its end"))?;
        if held.bytes + frame.len() > app.options.limits.request_bytes {
            return Err(too_large(app));
        }
        held.add(frame.len())?;
        slow.check(app, frame.len())?;
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
    Ok(Text { bytes, held })
}

/// How slowly a body comes.
struct Slowness {
    since: Instant,
    bytes: usize,
}

impl Slowness {
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// More has come. When bodies take more than half of what there is for them, one that hardly comes is given up: who sends
    /// slowly must not keep out those who don't.
    fn check(&mut self, app: &App, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        if self.since.elapsed() < SLOW {
            return Ok(());
        }
        let came = std::mem::replace(self, Self::new()).bytes;
        if came >= SLOW_BYTES || !is_crowded(app) {
            return Ok(());
        }
        app.options.metrics.body_refused();
        let detail =
            format!("{came} bytes of the body came in {} s, too few while there are many others", SLOW.as_secs());
        Err(Problem::new(Kind::BodyTooSlow, detail).with("limit", SLOW_BYTES))
    }
}

/// Whether bodies take more than half of the memory, of the places, or of the bytes that may wait for the disk.
fn is_crowded(app: &App) -> bool {
    let load = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (arriving, arriving_bytes) = (load(&app.arriving), load(&app.arriving_bytes));
    load(&app.bodies) > app.options.limits.bodies_bytes / 2
        || arriving > may_arrive(app) / 2
        || app.node.is_crowded(arriving_bytes)
}

fn too_large(app: &App) -> Problem {
    let limit = app.options.limits.request_bytes;
    Problem::new(Kind::RequestTooLarge, format!("a request has at most {limit} bytes")).with("limit", limit)
}

/// Counts the bytes of a body, or of what was made of it, as held for as long as it lives.
pub(super) struct Held<'a> {
    app: &'a App,
    bytes: usize,
}

impl Held<'_> {
    fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let App { bodies, options, .. } = self.app;
        let limit = options.limits.bodies_bytes;
        self.bytes += bytes;
        if bodies.fetch_add(bytes, Ordering::Relaxed) + bytes > limit {
            options.metrics.body_refused();
            let detail = format!("the requests under way hold {limit} bytes, the most that they may");
            return Err(Problem::new(Kind::Overloaded, detail).with("limit", limit));
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.app.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
