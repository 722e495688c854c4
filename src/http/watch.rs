//! `GET /watch`: every change of a prefix, exactly once and in causal order, as server-sent events.
//!
//! A watch is a reader of this node's op log: ops are there in an order in which each comes behind all that it knew of,
//! and keep their places across restarts. So the log, a place in it and the op that is there are all that a client needs
//! to go on where it was ([`Cursor`]); nothing is kept for it. Each watch reads on in small batches when the published
//! view says that there is more and its client has taken what was before, so what it costs does not grow with how slow
//! that is.

mod change;
mod cursor;
mod log;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use self::cursor::Cursor;
use self::log::Batch;
pub(super) use self::log::WatchedLog;
use super::openapi::Cursors;
use super::openapi::refusals::refusals;
use super::problem::{self, Kind, Problem};
use super::sse::{self, Ended, Events};
use super::{App, Shared, blocking, query};
use crate::node::NodeHandle;
use crate::storage::BatchLimit;

/// What comes in this time after a batch goes out with the next one: under load each watch sends a hundred pieces a
/// second, not one a commit.
const GATHER: Duration = Duration::from_millis(10);

/// Events are sent together up to about so many bytes.
const PIECE_BYTES: usize = 64 << 10;

refusals!(Refusals: query::REFUSALS, problem::OF_STORE, &[Kind::BadCursor, Kind::CursorGone]);

/// Every change of a prefix, exactly once and in causal order
///
/// Server-sent events: `start`, then `change` for each write, `cursor` when nothing was to tell for long, and `closed` as
/// the last. Each but that has an `id` to go on behind.
#[utoipa::path(
    get, path = "/watch", operation_id = "watch", tag = "data",
    params(
        ("prefix" = Option<String>, Query, description = "Only keys that begin so"),
        Cursors,
    ),
    responses((status = 200, description = "Events", body = ref("#/components/schemas/Event"), content_type = "text/event-stream"), Refusals),
)]
pub(super) async fn watch(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [prefix, after] = query::params(request.uri().query(), ["prefix", "after"])?;
    let given = Cursor::given(request.headers(), after.as_deref())?;
    let admitted = app.watchers.clone().try_acquire_owned().map_err(|_| {
        let detail = "this node has as many watches as it may have";
        Problem::new(Kind::Overloaded, detail).with("limit", app.options.limits.watchers)
    })?;
    let view = app.node.status().view;
    let found = cursor_at(&app.node, given.map_or(view.position, Cursor::position)).await?;
    let cursor = found.filter(|found| given.is_none_or(|given| given == *found)).ok_or_else(gone)?;

    let context = app.tokens.of(&view.vector).text.clone();
    let first = sse::event("start", Some(&cursor), &Start { node: app.node.members().own.0, context });
    let prefix = prefix.unwrap_or_default().into();
    let watch = Watch { app: app.clone(), prefix, cursor, told: Instant::now() };
    Ok(sse::answer(request.method(), &app.options, first, admitted, |events| watch.run(events)))
}

#[derive(Serialize)]
struct Start {
    node: u32,
    context: String,
}

fn gone() -> Problem {
    let detail = "this node's log is not the cursor's, or does not have its op at that place: it is of another node, or of \
                  before this node's volume was restored or wiped, or no longer kept; watch without a cursor, and read \
                  what there is with the context of the event 'start'";
    Problem::new(Kind::CursorGone, detail)
}

/// The cursor of a position, if the log has what it needs to go on from there.
async fn cursor_at(node: &NodeHandle, position: u64) -> Result<Option<Cursor>, Problem> {
    let (node, log) = (node.clone(), node.log_id());
    let one = BatchLimit { ops: 1, bytes: 1 };
    // The op that is there; where none is, the one that must come first.
    let found = blocking(move || Ok(node.ops_after(position.saturating_sub(1), one)?.pop())).await?;
    Ok(match found {
        Some(op) if op.position == position => Some(Cursor::Behind { position, dot: op.dot, log }),
        other => (position == 0 && other.is_none_or(|first| first.position == 1)).then_some(Cursor::Start),
    })
}

/// One watch.
struct Watch {
    app: Arc<App>,
    prefix: Arc<str>,
    /// Behind all that was looked at.
    cursor: Cursor,
    /// When its client was last told something.
    told: Instant,
}

impl Watch {
    async fn run(mut self, events: Events) -> Ended {
        loop {
            if let Err(ended) = self.go_on(&events).await {
                return ended;
            }
        }
    }

    /// Waits until there is more, or nothing was said for long, and tells it.
    async fn go_on(&mut self, events: &Events) -> Result<(), Ended> {
        let App { node, options, watched_log, .. } = &*self.app;
        let silent_until = self.told + options.watch_keep_alive;
        let (position, prefix) = (self.cursor.position(), self.prefix.clone());
        let view = tokio::select! {
            biased;
            advanced = node.advanced(position) => advanced.ok_or(Ended::Stopping)?,
            () = sleep_until(silent_until) => return self.tell(self.cursor_event(), events).await,
        };
        let began = Instant::now();
        let read = watched_log.after(node, position, view.position, &prefix).await;
        // What is no longer there was not taken in time. Errors are in the log of this process.
        let Batch { changes, end } = read.map_err(|_| Ended::Failed)?.ok_or(Ended::TooSlow)?;
        let mut piece = Vec::new();
        for event in changes.iter().filter_map(|change| change.event(&prefix)) {
            piece.extend_from_slice(&event);
            if piece.len() >= PIECE_BYTES {
                self.tell(std::mem::take(&mut piece).into(), events).await?;
            }
        }
        self.cursor = end;
        if !piece.is_empty() {
            self.tell(piece.into(), events).await?;
        } else if silent_until <= Instant::now() {
            self.tell(self.cursor_event(), events).await?;
        }
        if end.position() >= view.position {
            sleep_until(began + GATHER).await;
        }
        Ok(())
    }

    fn cursor_event(&self) -> Bytes {
        sse::event("cursor", Some(&self.cursor), &json!({}))
    }

    async fn tell(&mut self, piece: Bytes, events: &Events) -> Result<(), Ended> {
        events.send(piece).await?;
        self.told = Instant::now();
        Ok(())
    }
}
