//! The replication endpoint: takes pushes and pieces of states in.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::timeout;

use super::guard::{self, Guard, Metrics};
use super::questions::{self, Questions};
use super::versions::Refused;
use super::{CALL, FACTS_CALL, HELLO_CALL, STATE_CALL};
use crate::auth::Keys;
use crate::format::state;
use crate::format::{FormatError, message};
use crate::node::{NodeHandle, PushError};
use crate::replica::Rejection;

/// The largest push. Twice the largest op that any configuration lets in: what a client was allowed to write
/// must get through.
const MAX_PUSH_BYTES: usize = 64 << 20;

/// The largest piece of a state. It has one key at least, with all its siblings.
const MAX_PIECE_BYTES: usize = MAX_ALL_BYTES;

/// All pushes and pieces together, from when they are read until they are answered. The next one waits for room.
const MAX_ALL_BYTES: usize = 2 * MAX_PUSH_BYTES;

/// What room is counted in, so that a digest costs something too.
const ROOM_UNIT_BYTES: usize = 1 << 10;

/// How long a push may wait for room, and for more of its body. Longer than a sender's patience: it is the
/// one that gives up, and says so.
const PATIENCE: Duration = Duration::from_secs(3);

/// Larger pushes are decoded off the threads that serve requests.
const MAX_DECODED_INLINE_BYTES: usize = 32 << 10;

#[derive(Clone)]
struct Endpoint {
    node: NodeHandle,
    room: Arc<Semaphore>,
    refused: Arc<Refused>,
}

/// Whom the endpoint lets in.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    /// What is checked with.
    pub keys: Keys,
    /// Random bits of this process.
    pub boot: u64,
    /// What it counts.
    pub metrics: Metrics,
}

/// The replication endpoint of a node.
pub fn router(node: NodeHandle, options: EndpointOptions) -> Router {
    let room = Arc::new(Semaphore::new(MAX_ALL_BYTES / ROOM_UNIT_BYTES));
    let facts = Router::new().route(FACTS_CALL, post(questions::answer)).with_state(Questions::new(node.clone()));
    let calls = Router::new().route(CALL, post(push)).route(STATE_CALL, post(piece));
    let calls = calls.with_state(Endpoint { node, room, refused: Arc::default() }).merge(facts);
    let guard = Guard::new(options.keys, options.boot, options.metrics);
    // Every call there is.
    calls.route(HELLO_CALL, post(guard::hello)).route_layer(from_fn_with_state(guard, guard::guard))
}

async fn push(State(endpoint): State<Endpoint>, request: Request) -> Response {
    match endpoint.take(request).await {
        Ok(answer) => (ours(), answer).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn piece(State(endpoint): State<Endpoint>, request: Request) -> Response {
    match endpoint.take_piece(request).await {
        Ok(answer) => (ours(), answer).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Endpoint {
    async fn take(&self, request: Request) -> Result<Vec<u8>, Refusal> {
        let length = check(request.headers(), MAX_PUSH_BYTES)?;
        let _room = self.room(length).await?;
        let body = read(request.into_body(), length).await?;
        let push = decode(body, message::decode_push).await?.inspect_err(|error| self.refused.note(error))?;
        let answer = self.node.push(push).await?;
        Ok(message::encode_answer(&answer))
    }

    async fn take_piece(&self, request: Request) -> Result<Vec<u8>, Refusal> {
        let length = check(request.headers(), MAX_PIECE_BYTES)?;
        let _room = self.room(length).await?;
        let body = read(request.into_body(), length).await?;
        let piece = decode(body, state::decode_piece).await?.inspect_err(|error| self.refused.note(error))?;
        let answer = self.node.take_state(piece, length).await?;
        Ok(state::encode_answer(&answer))
    }

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = (bytes / ROOM_UNIT_BYTES + 1).min(MAX_ALL_BYTES / ROOM_UNIT_BYTES) as u32;
        match timeout(PATIENCE, self.room.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Refusal::Busy("other pushes take all the room that there is".to_owned())),
        }
    }
}

/// A push or piece that was not taken. Nothing changed, except where the node was stopping.
enum Refusal {
    Rejected(Rejection),
    /// Try again later.
    Busy(String),
    /// Not what it should be.
    Bad(StatusCode, String),
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::IllFormedOp { dot, problem } => {
                Self::Rejected(Rejection::Malformed { dot, problem: problem.into() })
            }
            other => Self::Bad(StatusCode::BAD_REQUEST, other.to_string()),
        }
    }
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Rejected(rejection) => Self::Rejected(rejection),
            PushError::NoRoom(_) | PushError::Overloaded(_) | PushError::Stopping => Self::Busy(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = match &self {
            Self::Rejected(rejection) => {
                (status(rejection), ours(), message::encode_rejection(rejection)).into_response()
            }
            Self::Busy(why) => (StatusCode::SERVICE_UNAVAILABLE, why.clone()).into_response(),
            Self::Bad(status, why) => (*status, why.clone()).into_response(),
        };
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, 1.into());
        }
        response
    }
}

fn status(rejection: &Rejection) -> StatusCode {
    match rejection {
        Rejection::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
        Rejection::WrongCluster { .. } | Rejection::Removed { .. } => StatusCode::FORBIDDEN,
        Rejection::ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
        Rejection::Malformed { .. } => StatusCode::BAD_REQUEST,
        Rejection::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn ours() -> [(axum::http::HeaderName, &'static str); 1] {
    [(CONTENT_TYPE, message::CONTENT_TYPE)]
}

/// Checks the head of a request; gives the length of its body.
fn check(headers: &HeaderMap, most_bytes: usize) -> Result<usize, Refusal> {
    if headers.get(CONTENT_TYPE).is_none_or(|found| found != message::CONTENT_TYPE) {
        let expected = format!("expected content of type {}", message::CONTENT_TYPE);
        return Err(Refusal::Bad(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match length {
        None => Err(Refusal::Bad(StatusCode::LENGTH_REQUIRED, "expected a Content-Length".to_owned())),
        Some(length) if length > most_bytes => {
            let limit = format!("it may have at most {most_bytes} bytes");
            Err(Refusal::Bad(StatusCode::PAYLOAD_TOO_LARGE, limit))
        }
        Some(length) => Ok(length),
    }
}

/// Reads a body of a known length. One that stops coming is given up: the network may have been cut.
async fn read(body: Body, length: usize) -> Result<Vec<u8>, Refusal> {
    let incomplete = |why: String| Refusal::Bad(StatusCode::BAD_REQUEST, format!("it is incomplete: {why}"));
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        match timeout(PATIENCE, pieces.next()).await {
            Err(_) => return Err(Refusal::Bad(StatusCode::REQUEST_TIMEOUT, "the rest did not come".to_owned())),
            Ok(Some(Err(error))) => return Err(incomplete(error.to_string())),
            Ok(Some(Ok(piece))) if bytes.is_empty() => {
                // Not before something came: a length alone is cheap to claim.
                bytes.reserve_exact(length);
                bytes.extend_from_slice(&piece);
            }
            Ok(Some(Ok(piece))) => bytes.extend_from_slice(&piece),
            Ok(None) => return Ok(bytes),
        }
    }
}

async fn decode<T: Send + 'static>(
    body: Vec<u8>,
    decode: fn(&[u8]) -> Result<T, FormatError>,
) -> Result<Result<T, FormatError>, Refusal> {
    if body.len() <= MAX_DECODED_INLINE_BYTES {
        return Ok(decode(&body));
    }
    let decoded = tokio::task::spawn_blocking(move || decode(&body)).await;
    decoded.map_err(|error| failed(&error))
}

/// Something here panicked.
fn failed(error: &JoinError) -> Refusal {
    Refusal::Bad(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
