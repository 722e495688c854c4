//! One request and its answer, as they go over a connection; whoever waits can see whether something moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Client, Response};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use crate::auth;
use crate::format::message;

/// How much of a push is handed to the connection at a time; that it takes the next piece is progress.
const PIECE_BYTES: usize = 64 << 10;

/// The largest answer: version vectors, tens of bytes an entry.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// How much of an unexpected answer's body is shown.
const MAX_SHOWN_BYTES: usize = 200;

/// A way to one peer.
pub(super) struct Wire<'a> {
    pub(super) client: &'a Client,
    /// `http://HOST:PORT`.
    pub(super) url: &'a str,
    pub(super) connect_timeout: Duration,
    pub(super) progress: Arc<Progress>,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: Vec<u8>,
    /// What the answer says to prove whose it is.
    pub(super) proof: Option<String>,
    /// What it says of the proof that is wanted.
    pub(super) wanted: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Wire<'_> {
    /// Posts `body`, with this proof of whose it is.
    pub(super) async fn post(&self, path: &str, body: Bytes, proof: &str) -> Result<Reply, Failure> {
        let failed = |error| Failure::of_request(error, self.connect_timeout);
        let request = self.client.post(format!("{}{path}", self.url)).header(auth::HEADER, proof);
        let request = request.header(CONTENT_TYPE, message::CONTENT_TYPE).header(CONTENT_LENGTH, body.len());
        let response = request.body(in_pieces(body, self.progress.clone())).send().await.map_err(failed)?;
        self.progress.note();
        let (status, headers) = (response.status(), response.headers());
        let content_type = headers.get(CONTENT_TYPE).map_or_else(Vec::new, |found| found.as_bytes().to_vec());
        let (proof, wanted) = (text(headers, &HeaderName::from_static(auth::HEADER)), text(headers, &WWW_AUTHENTICATE));
        let body = self.read(response).await?;
        Ok(Reply { status, content_type, proof, wanted, body })
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(Failure::of_answer)? {
            self.progress.note();
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(Failure::AnswerTooLarge(MAX_ANSWER_BYTES));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

impl Reply {
    /// The body, if this is what was asked for.
    pub(super) fn accepted(self) -> Result<Vec<u8>, Failure> {
        let is_ours = self.is_ours();
        match self.status {
            StatusCode::OK if is_ours => Ok(self.body),
            status if is_ours && !status.is_success() => Err(Failure::Rejected(message::decode_rejection(&self.body)?)),
            StatusCode::SERVICE_UNAVAILABLE => Err(Failure::Unavailable(self.shown())),
            status => Err(Failure::Unexpected(status, self.shown())),
        }
    }

    /// Whether it is of this protocol.
    fn is_ours(&self) -> bool {
        self.content_type == message::CONTENT_TYPE.as_bytes()
    }

    /// The beginning of the body, for people.
    pub(super) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(MAX_SHOWN_BYTES)]);
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }
}

/// The body, piece by piece, so that it shows whether the connection takes it.
fn in_pieces(body: Bytes, progress: Arc<Progress>) -> Body {
    if body.len() <= PIECE_BYTES {
        return Body::from(body);
    }
    Body::wrap_stream(stream::unfold(body, move |mut rest| {
        progress.note();
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        let next = (!piece.is_empty()).then_some((Ok::<_, std::io::Error>(piece), rest));
        std::future::ready(next)
    }))
}

/// When something last moved.
pub(super) struct Progress {
    started: Instant,
    last_ms: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn note(&self) {
        self.last_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Gives `exchange` up once nothing has moved for `limit`.
    pub(super) async fn or_stalled<T>(
        &self,
        limit: Duration,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut exchange = std::pin::pin!(exchange);
        loop {
            let deadline = self.last() + limit;
            match timeout_at(deadline, &mut exchange).await {
                Ok(outcome) => return outcome,
                Err(_) if self.last() + limit > deadline => {}
                Err(_) => return Err(Failure::Stalled(limit)),
            }
        }
    }
}
