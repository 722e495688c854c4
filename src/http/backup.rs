//! `GET /backup`: this node's whole state as of one instant, to be kept somewhere else.
//!
//! Promises: all of it is of one instant, and nothing waits for it; it is read off the threads that serve, a part at a time,
//! and no faster than its client takes it, so memory is bounded however much there is. What is cut off, for whatever
//! reason, lacks its end, and is an error for the client. Must not decide how a backup looks: `format::backup` does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::access::Access;
use super::openapi::refusals::refusals;
use super::problem::{self, Kind, Problem};
use super::view::NO_STORE;
use super::{App, Shared, blocking, query, sse};
use crate::format::backup::{self, BackupHead, BackupWriter};
use crate::format::state::StateHead;
use crate::node::{NodeHandle, wall_now};
use crate::replica::View;
use crate::storage::{BatchLimit, Snapshot};

/// How many may be under way at once: each keeps what is overwritten meanwhile on the disk.
pub(super) const MAX_BACKUPS: usize = 2;

/// How long the newest commit may take to be published.
const PUBLISHED: Duration = Duration::from_secs(2);

/// How much of the keys is read at once.
const PART: BatchLimit = BatchLimit { ops: 1 << 16, bytes: 256 << 10 };

refusals!(Refusals: query::NONE_KNOWN, problem::OF_STORE);

/// The whole state as of one instant, as one file
///
/// What `causeway backup` writes, and `causeway restore` makes a data directory of. One that was cut off lacks its end.
#[utoipa::path(
    get, path = "/backup", operation_id = "backup", tag = "data",
    responses(
        (status = 200, description = "A backup, as docs/formats.md has it", body = String, content_type = "application/vnd.causeway.backup"),
        Refusals,
    ),
)]
pub(super) async fn backup(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    if request.method() == Method::HEAD {
        return Ok(answer(Body::from_stream(stream::empty::<io::Result<Bytes>>())));
    }
    let permit = app.backups.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_BACKUPS} backups are being made already");
        Problem::new(Kind::Overloaded, detail).with("limit", MAX_BACKUPS)
    })?;
    let (snapshot, head) = instant(&app.node).await?;
    let access = Access::of(request.extensions());
    let (parts, from) = mpsc::channel(1);
    tokio::spawn(async move {
        let stopping = app.options.stopping.clone();
        let why = tokio::select! {
            biased;
            () = sse::stopped(stopping) => Err(Cut::Stopping),
            () = parts.closed() => Err(Cut::Gone),
            outcome = send(&app, &access, snapshot, &head, &parts) => outcome,
        };
        match why {
            Err(Cut::TooSlow) => {
                tracing::warn!("a backup was cut off: its client took nothing for {:?}", app.options.backup_patience);
            }
            Err(Cut::TokenWithdrawn) => tracing::warn!("a backup was cut off: its token is not good for it any more"),
            _ => {}
        }
        drop(permit);
    });
    Ok(answer(body(from)))
}

/// The state as of now, and what it is of.
async fn instant(node: &NodeHandle) -> Result<(Arc<dyn Snapshot>, BackupHead), Problem> {
    let snapshot = node.snapshot()?;
    // A commit is in the store a moment before the parents of the incarnations that it began are published.
    let includes = |view: &View| view.ancestry.includes(&view.vector, snapshot.vector());
    if !node.until(PUBLISHED, includes).await {
        return Err(Problem::new(Kind::StorageUnreadable, "the newest commit is not published; try again"));
    }
    let view = node.status().view;
    let state =
        StateHead { vector: snapshot.vector().clone(), ancestry: (*view.ancestry).clone(), keys: view.totals.keys };
    let members = node.members();
    let head = BackupHead { cluster: members.cluster.to_string(), node: members.own, taken: wall_now(), state };
    Ok((snapshot, head))
}

/// Why a backup has no end.
enum Cut {
    /// The client takes nothing any more.
    TooSlow,
    /// It went away.
    Gone,
    /// The node is stopping.
    Stopping,
    /// The token that it was asked for with is not as good any more.
    TokenWithdrawn,
    /// Something can't be read; it was logged.
    Failed,
}

/// A part of the answer.
struct Sent {
    bytes: Bytes,
    is_last: bool,
}

async fn send(
    app: &App,
    access: &Access,
    snapshot: Arc<dyn Snapshot>,
    head: &BackupHead,
    parts: &mpsc::Sender<Sent>,
) -> Result<(), Cut> {
    let send = async |bytes: Vec<u8>, is_last| {
        if !access.stands(&app.options.clients) {
            return Err(Cut::TokenWithdrawn);
        }
        let sent = parts.send(Sent { bytes: bytes.into(), is_last });
        match timeout(app.options.backup_patience, sent).await {
            Ok(sent) => sent.map_err(|_| Cut::Gone),
            Err(_) => Err(Cut::TooSlow),
        }
    };
    let (mut writer, first) = BackupWriter::begin(head);
    send(first, false).await?;
    let mut after: Option<String> = None;
    loop {
        let snapshot = snapshot.clone();
        let read = blocking(move || {
            let piece = snapshot.piece(after.as_deref(), PART)?;
            let bytes = if piece.keys.is_empty() { Ok(Vec::new()) } else { writer.keys(&piece.keys) };
            let bytes = bytes.map_err(|error| {
                tracing::error!(%error, "a key is too large for a backup");
                Problem::new(Kind::StorageUnreadable, error.to_string())
            })?;
            Ok((piece.keys.last().map(|(key, _)| key.clone()), piece.is_last, writer, bytes))
        });
        let (last, is_last, returned, bytes) = read.await.map_err(|_| Cut::Failed)?;
        (after, writer) = (last, returned);
        if !bytes.is_empty() {
            send(bytes, false).await?;
        }
        if is_last {
            return send(writer.end(), true).await;
        }
    }
}

fn answer(body: Body) -> Response {
    let kind = HeaderValue::from_static(backup::CONTENT_TYPE);
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, NO_STORE)], body).into_response()
}

/// The parts as they come; an error where the last one does not.
fn body(from: mpsc::Receiver<Sent>) -> Body {
    Body::from_stream(stream::unfold(Some(from), |from| async {
        let mut from = from?;
        Some(match from.recv().await {
            Some(Sent { bytes, is_last }) => (Ok(bytes), (!is_last).then_some(from)),
            None => (Err(io::Error::other("the backup was cut off")), None),
        })
    }))
}
