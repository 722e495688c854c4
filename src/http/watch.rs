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
pub(super) use self::cursor::RunId;
use self::log::Batch;
pub(super) use self::log::WatchedLog;
use super::access::Access;
use super::openapi::Cursors;
use super::openapi::refusals::refusals;
use super::problem::{self, Kind, Problem};
use super::sse::{self, Ended, Events};
use super::{App, Shared, blocking, query};
use crate::causality::Dot;
use crate::node::NodeHandle;
use crate::replica::{LEAP, View};
use crate::storage::BatchLimit;

/// What comes in this time after a batch goes out with the next one: under load each watch sends a hundred pieces a
/// second, not one a commit.
const GATHER: Duration = Duration::from_millis(10);

/// Events are sent together up to about so many bytes.
const PIECE_BYTES: usize = 64 << 10;

refusals!(Refusals: query::REFUSALS, problem::OF_STORE, &[Kind::BadCursor, Kind::CursorGone, Kind::Stopping]);

/// Every change of a prefix, exactly once and in causal order
///
/// Server-sent events: `start`, then `change` for each write, `cursor` when nothing was to tell for long, and `closed` or
/// `reset` as the last. Each but these has an `id` to go on behind.
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
    Access::of(request.extensions()).to_prefix(prefix.as_deref().unwrap_or_default())?;
    let given = Cursor::given(request.headers(), after.as_deref())?;
    let admitted = app.watchers.clone().try_acquire_owned().map_err(|_| {
        let detail = "this node has as many watches as it may have";
        Problem::new(Kind::Overloaded, detail).with("limit", app.options.limits.watchers)
    })?;
    let view = current(&app.node).await?;
    let cursor = match given {
        Some(given) => resumed(&app, given).await?.ok_or_else(gone)?,
        None => cursor_at(&app, view.position).await?,
    };

    let context = app.tokens.of(&view.vector).text.clone();
    let first = sse::event("start", Some(&cursor), &Start { node: app.node.members().own.0, context });
    let prefix = prefix.unwrap_or_default().into();
    let watch = Watch { app: app.clone(), prefix, cursor, adoptions: view.adoptions, told: Instant::now() };
    Ok(sse::answer(&request, &app, first, admitted, |events| watch.run(events)))
}

#[derive(Serialize)]
struct Start {
    node: u32,
    context: String,
}

fn gone() -> Problem {
    let detail = "this node's log is not the cursor's, or does not have its op at that place: it is of another node, or of \
                  before this node's volume was restored or wiped or it was caught up by another node's whole state, or no longer kept; \
                  watch without a cursor, and read \
                  what there is with the context of the event 'start'";
    Problem::new(Kind::CursorGone, detail)
}

/// What is visible. Between the moment when a peer's state was put in the place of this node's and when that is published,
/// waits for it.
async fn current(node: &NodeHandle) -> Result<Arc<View>, Problem> {
    let view = node.status().view;
    match node.log_start() {
        start if view.position < start => {
            let stopping = || Problem::new(Kind::Stopping, "this node is stopping");
            node.advanced(start - 1).await.ok_or_else(stopping)
        }
        _ => Ok(view),
    }
}

/// The cursor of a visible position.
async fn cursor_at(app: &App, position: u64) -> Result<Cursor, Problem> {
    let log = app.node.log_id();
    Ok(match op_at(&app.node, position).await? {
        Some(dot) => Cursor::Behind { position, dot, log },
        None if position == 0 => Cursor::Start,
        None => Cursor::Here { position, run: app.run, log },
    })
}

/// The same cursor, if the log goes on behind it without a gap.
async fn resumed(app: &App, given: Cursor) -> Result<Option<Cursor>, Problem> {
    let Some(has_start) = given.position().checked_sub(app.node.log_start()) else { return Ok(None) };
    let log_id = app.node.log_id();
    let is_good = match given {
        Cursor::Start => has_start == 0,
        Cursor::Behind { position, dot, log } => log == log_id && op_at(&app.node, position).await? == Some(dot),
        Cursor::Here { position, run, log } => {
            log == log_id && run == app.run && position <= app.node.status().view.position
        }
    };
    Ok(is_good.then_some(given))
}

/// The op that is at a position of the log.
async fn op_at(node: &NodeHandle, position: u64) -> Result<Option<Dot>, Problem> {
    let Some(before) = position.checked_sub(1) else { return Ok(None) };
    let (node, one) = (node.clone(), BatchLimit { ops: 1, bytes: 1 });
    let found = blocking(move || Ok(node.ops_after(before, one)?.pop())).await?;
    Ok(found.filter(|op| op.position == position).map(|op| op.dot))
}

/// One watch.
struct Watch {
    app: Arc<App>,
    prefix: Arc<str>,
    /// Behind all that was looked at.
    cursor: Cursor,
    /// How many states of peers had been merged into this node's when it began.
    adoptions: u64,
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
        if view.adoptions != self.adoptions {
            return Err(Ended::Reset);
        }
        let began = Instant::now();
        let read = watched_log.after(node, position, view.position, &prefix).await;
        // Errors are in the log of this process.
        let Batch { changes, end } = read.map_err(|_| Ended::Failed)?.ok_or_else(|| self.lost())?;
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

    /// Why the log does not have any more what comes next.
    fn lost(&self) -> Ended {
        // Only a state that is adopted makes positions leap; it may not be published yet.
        match self.app.node.log_start().saturating_sub(self.cursor.position()) {
            LEAP.. => Ended::Reset,
            _ => Ended::TooSlow,
        }
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
