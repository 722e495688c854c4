//! Streams of server-sent events: how they look, and how they end.
//!
//! The events of a stream are made by a task of its own, a piece at a time: one piece waits at most, besides what the
//! connection holds. Promises: a stream ends when its client takes nothing for too long while there is something for it,
//! when the node stops, and before anything is told to a token that was withdrawn; a last event `closed` (or `reset`) says
//! why, if the client is still there to read it. One that breaks off without it was cut by an error. Must not know what the
//! events are about.

use std::fmt::Display;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::App;
use super::access::Access;
use super::view::NO_STORE;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// What was told is not what there is any more: the client has to begin anew.
    Reset,
    /// The client does not keep up.
    TooSlow,
    /// The node is stopping.
    Stopping,
    /// The client went away.
    Gone,
    /// Something is wrong here; it was logged.
    Failed,
}

/// An event, with an `id` where a client can go on behind it. `data` becomes JSON, which has no line breaks.
pub(super) fn event(name: &str, id: Option<&dyn Display>, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let mut text = format!("event: {name}\n{id}data: ").into_bytes();
    serde_json::to_writer(&mut text, data).expect("text, numbers, lists and maps by text become JSON");
    text.extend_from_slice(b"\n\n");
    text.into()
}

/// Where the events of a stream go.
pub(super) struct Events {
    pieces: mpsc::Sender<Bytes>,
    app: Arc<App>,
}

impl Events {
    /// Sends a piece: one or more whole events. Waits while there is one before it that the client has not taken.
    pub(super) async fn send(&self, piece: Bytes) -> Result<(), Ended> {
        let patience = self.app.options.watch_patience;
        // Large ones only as long as all answers together are not too large.
        let piece = self.app.answers.hold_in(patience, piece).await.ok_or(Ended::TooSlow)?;
        match timeout(patience, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Ended::TooSlow),
        }
    }
}

/// Answers a request with a stream: `first`, and then what `write` sends until it ends. `held` is kept for as long as the answer.
pub(super) fn answer<F>(
    request: &Request,
    app: &Arc<App>,
    first: Bytes,
    held: impl Send + Unpin + 'static,
    write: impl FnOnce(Events) -> F,
) -> Response
where
    F: Future<Output = Ended> + Send + 'static,
{
    if request.method() == Method::HEAD {
        return of_body(Body::from_stream(stream::empty::<io::Result<Bytes>>()));
    }
    let (pieces, from) = mpsc::channel(1);
    let ended = Arc::new(OnceLock::new());
    pieces.try_send(first).expect("there is room for the first");
    let writing = write(Events { pieces: pieces.clone(), app: app.clone() });
    let access = Access::of(request.extensions());
    let body = Pieces { app: app.clone(), access, from, ended: ended.clone(), is_over: false, _held: held };
    let stopping = app.options.stopping.clone();
    tokio::spawn(async move {
        let why = tokio::select! {
            biased;
            () = stopped(stopping) => Ended::Stopping,
            () = pieces.closed() => Ended::Gone,
            why = writing => why,
        };
        // The body asks for it when the last sender is gone, which is this one. A panic leaves it unsaid.
        ended.set(why).expect("it is set nowhere else");
        drop(pieces);
    });
    of_body(Body::from_stream(body))
}

fn of_body(body: Body) -> Response {
    ([(CONTENT_TYPE, EVENT_STREAM), (CACHE_CONTROL, NO_STORE)], body).into_response()
}

/// Waits until the node is stopping.
pub(super) async fn stopped(stopping: Option<watch::Receiver<bool>>) {
    match stopping {
        // Nobody is left to say so: that is a stop too.
        Some(mut stopping) => drop(stopping.wait_for(|stop| *stop).await),
        None => pending().await,
    }
}

/// The body of a stream.
struct Pieces<H> {
    app: Arc<App>,
    access: Access,
    from: mpsc::Receiver<Bytes>,
    ended: Arc<OnceLock<Ended>>,
    is_over: bool,
    _held: H,
}

impl<H: Unpin> Stream for Pieces<H> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let last = |event: &str, data: &str| Some(Ok(Bytes::from(format!("event: {event}\ndata: {{{data}}}\n\n"))));
        let closed = |reason: &str| last("closed", &format!("\"reason\":\"{reason}\""));
        let piece = ready!(self.from.poll_recv(context));
        // Here, and not where the piece was made: it may have waited since for a client that is slow.
        let stands = self.access.stands(&self.app.options.clients);
        if let (Some(piece), true) = (piece, stands) {
            return Poll::Ready(Some(Ok(piece)));
        }
        self.is_over = true;
        Poll::Ready(match self.ended.get() {
            _ if !stands => closed("token-withdrawn"),
            Some(Ended::Reset) => last("reset", ""),
            Some(Ended::TooSlow) => closed("too-slow"),
            Some(Ended::Stopping) => closed("stopping"),
            Some(Ended::Gone) => None,
            Some(Ended::Failed) | None => Some(Err(io::Error::other("the stream can't go on"))),
        })
    }
}
