//! The guard of the replication endpoint: with a secret, nothing gets in that is not proven to come from the cluster, and
//! what goes out proves that it is the answer.
//!
//! Promises: who proves nothing costs no more than the reading of a head; a handler sees the end of a body only when it is
//! the one that was signed. One line of log for each node and reason in [`QUIET`], however often it is refused. Must not
//! know what the calls do.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream;
use prometheus::{IntCounter, IntCounterVec, Registry, register_int_counter_vec_with_registry};
use tokio::time::Instant;

use super::HELLO_CALL;
use crate::auth::{self, Challenge, Gate, Keys, Pass, Proven, Refusal, Refused};

/// For so long nothing more is logged of a node that is refused for the same reason.
const QUIET: Duration = Duration::from_secs(600);

/// So many nodes and reasons are remembered. What a stranger may send must not take memory, nor fill the log.
const MAX_LOGGED: usize = 64;

/// The scheme of the header that says what is missing.
const SCHEME: &str = "Causeway-Peer reason=";

/// Guards the calls of one node. Cheap to clone.
#[derive(Clone)]
pub(super) struct Guard(Arc<Inner>);

struct Inner {
    gate: Gate,
    metrics: Metrics,
    logged: Mutex<BTreeMap<(Option<u32>, &'static str), Instant>>,
}

/// What the guard of one node counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(IntCounterVec);

impl Metrics {
    /// Counts in a registry, of which each node has one of its own.
    pub fn register(registry: &Registry) -> Self {
        let refused = register_int_counter_vec_with_registry!(
            "causeway_peer_refusals_total",
            "Requests of peers refused because they don't prove to come from this cluster, by why.",
            &["reason"],
            registry
        );
        let metrics = Self(refused.expect("this is valid, and each node has a registry of its own"));
        // They are there from the start on.
        Refusal::ALL.iter().for_each(|refusal| drop(metrics.of(*refusal)));
        metrics
    }

    fn of(&self, refusal: Refusal) -> IntCounter {
        self.0.with_label_values(&[refusal.reason()])
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::register(&Registry::new())
    }
}

impl Guard {
    /// `boot` are random bits of this process.
    pub(super) fn new(keys: Keys, boot: u64, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { gate: Gate::new(keys, boot), metrics, logged: Mutex::default() }))
    }

    fn admit(&self, request: &Request) -> Result<(Pass, Option<Challenge>), Refused> {
        let header = match request.headers().get(auth::HEADER).map(HeaderValue::to_str) {
            None => None,
            Some(Ok(header)) => Some(header),
            Some(Err(_)) => return Err(Refused { from: None, why: Refusal::Malformed }),
        };
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let method = request.method().as_str();
        match path {
            HELLO_CALL => {
                let (pass, challenge) = self.0.gate.admit_hello(method, path, header)?;
                Ok((pass, Some(challenge)))
            }
            _ => Ok((self.0.gate.admit(method, path, header)?, None)),
        }
    }

    fn refuse(&self, refused: Refused) -> Response {
        self.0.metrics.of(refused.why).inc();
        self.log(refused);
        let (reason, why) = (refused.why.reason(), refused.why);
        let problem = format!(
            r#"{{"type":"/problems/peer-not-authenticated","title":"Not proven to come from this cluster","status":401,"detail":"{why}","reason":"{reason}"}}"#
        );
        ([(WWW_AUTHENTICATE, wanted(reason))], as_problem(StatusCode::UNAUTHORIZED, problem)).into_response()
    }

    fn log(&self, Refused { from, why }: Refused) {
        // It happens at every restart, and the peer comes again at once.
        if why == Refusal::OtherChallenge {
            return;
        }
        let now = Instant::now();
        let mut logged = self.0.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_, at| now.duration_since(*at) < QUIET);
        if logged.len() >= MAX_LOGGED || logged.contains_key(&(from, why.reason())) {
            return;
        }
        logged.insert((from, why.reason()), now);
        let unknown = || "a peer that does not say who it is".to_owned();
        let who = from.map_or_else(unknown, |from| format!("node {from}, or who says to be it,"));
        tracing::warn!(from, reason = why.reason(), "refusing what {who} sends: {why}");
    }
}

fn wanted(reason: &'static str) -> HeaderValue {
    HeaderValue::try_from(format!("{SCHEME}{reason}")).unwrap_or(HeaderValue::from_static("Causeway-Peer"))
}

/// The reason that a `WWW-Authenticate` of a guard gives.
pub(super) fn reason_of(wanted: &str) -> Option<&str> {
    wanted.strip_prefix(SCHEME)
}

/// What a browser sends is a page's, which may be anybody's: no peer is one, and what is sent for pages says so.
fn from_a_page() -> Response {
    const PROBLEM: &str = r#"{"type":"/problems/cross-origin","title":"From a page of another origin","status":403,"detail":"no page may ask for that"}"#;
    as_problem(StatusCode::FORBIDDEN, PROBLEM)
}

fn as_problem(status: StatusCode, problem: impl Into<Body>) -> Response {
    let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
    (status, headers, problem.into()).into_response()
}

/// Lets a request through, or refuses it; and signs the answer.
pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    if request.headers().contains_key(ORIGIN) {
        return from_a_page();
    }
    let (pass, challenge) = match guard.admit(&request) {
        Ok(admitted) => admitted,
        Err(refused) => return guard.refuse(refused),
    };
    let from = match pass {
        Pass::Unsigned => return next.run(request).await,
        Pass::Signed(proven) => proven,
    };
    if let Some(challenge) = challenge {
        request.extensions_mut().insert(challenge);
    }
    let is_altered = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| checked(body, &from, is_altered.clone()));
    let response = next.run(request).await;
    if is_altered.load(Ordering::Relaxed) {
        return guard.refuse(Refused { from: Some(from.from()), why: Refusal::BodyAltered });
    }
    signed(&from, response).await
}

/// The body, which ends with an error, and says so, unless it is the one that was signed.
fn checked(body: Body, from: &Proven, is_altered: Arc<AtomicBool>) -> Body {
    let pieces = body.into_data_stream().map(|piece| piece.map_err(io::Error::other));
    let state = (pieces, Some(from.body_check()), is_altered);
    Body::from_stream(stream::unfold(state, |(mut pieces, mut check, is_altered)| async move {
        let piece = match pieces.next().await {
            Some(Ok(piece)) => {
                if let Some(check) = &mut check {
                    check.update(&piece);
                }
                Ok(piece)
            }
            Some(Err(error)) => {
                check = None;
                Err(error)
            }
            None if check.take().is_none_or(|check| check.is_whole()) => return None,
            None => {
                is_altered.store(true, Ordering::Relaxed);
                Err(io::Error::other("it is not the one that was signed"))
            }
        };
        Some((piece, (pieces, check, is_altered)))
    }))
}

async fn signed(from: &Proven, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // It is in memory, and handlers bound it.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let content_type = parts.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let proof = from.sign_answer(parts.status.as_u16(), content_type, &body);
    if let Ok(proof) = HeaderValue::try_from(proof) {
        parts.headers.insert(auth::HEADER, proof);
    }
    Response::from_parts(parts, Body::from(body))
}

/// Answers a hello.
pub(super) async fn hello(challenge: Option<Extension<Challenge>>) -> Result<String, StatusCode> {
    challenge.map(|Extension(challenge)| challenge.to_string()).ok_or(StatusCode::NOT_FOUND)
}
