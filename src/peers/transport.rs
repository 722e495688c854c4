//! One peer's connection: a push or a piece of a state goes out, its answer comes back, or the reason why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Client, Response};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::resolver::SystemResolver;
use super::{CALL, STATE_CALL, SenderOptions};
use crate::format::state::{self, StateAnswer};
use crate::format::{FormatError, message};
use crate::replica::Answer;

/// How much of a push is handed to the connection at a time; that it takes the next piece is progress.
const PIECE_BYTES: usize = 64 << 10;

/// The largest answer: version vectors, tens of bytes an entry.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// How often a peer's network is asked whether it is there, while the peer works on an answer.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// How much of an unexpected answer's body is shown.
const MAX_SHOWN_BYTES: usize = 200;

/// Reaches one peer over one connection at a time.
pub(super) struct Transport {
    push_url: String,
    state_url: String,
    connect_timeout: Duration,
    progress_timeout: Duration,
    adopt_timeout: Duration,
    #[cfg(target_os = "linux")]
    unacknowledged_timeout: Duration,
    resolver: SystemResolver,
    /// Holds the connection. Thrown away after every failure: a cut network sends no reset, and the address
    /// may belong to another node by now.
    client: Option<Client>,
}

impl Transport {
    pub(super) fn new(url: &str, options: &SenderOptions, resolver: SystemResolver) -> Self {
        Self {
            push_url: format!("{url}{CALL}"),
            state_url: format!("{url}{STATE_CALL}"),
            connect_timeout: options.connect_timeout,
            progress_timeout: options.progress_timeout,
            adopt_timeout: options.adopt_timeout,
            #[cfg(target_os = "linux")]
            unacknowledged_timeout: options.unacknowledged_timeout,
            resolver,
            client: None,
        }
    }

    /// Sends one push and waits for its answer.
    pub(super) async fn push(&mut self, body: Vec<u8>) -> Result<Answer, Failure> {
        let url = self.push_url.clone();
        self.exchange(&url, body.into(), self.progress_timeout, message::decode_answer).await
    }

    /// Sends one piece of a state and waits for its answer.
    pub(super) async fn piece(&mut self, body: Bytes, is_last: bool) -> Result<StateAnswer, Failure> {
        let url = self.state_url.clone();
        let patience = if is_last { self.adopt_timeout } else { self.progress_timeout };
        match self.exchange(&url, body, patience, state::decode_answer).await {
            Err(Failure::Unexpected(StatusCode::NOT_FOUND, _)) => Err(Failure::TakesNoState),
            other => other,
        }
    }

    /// `patience`: how long nothing may move.
    async fn exchange<T>(
        &mut self,
        url: &str,
        body: Bytes,
        patience: Duration,
        decode: fn(&[u8]) -> Result<T, FormatError>,
    ) -> Result<T, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        let progress = Arc::new(Progress::new());
        let exchange = exchange(&client, url, body, self.connect_timeout, progress.clone());
        let answer = decode(&progress.or_stalled(patience, exchange).await?)?;
        self.client = Some(client);
        Ok(answer)
    }

    fn connect(&self) -> Result<Client, Failure> {
        let client = Client::builder();
        // A peer that is slow still acknowledges what it gets; a network that was cut does not.
        #[cfg(target_os = "linux")]
        let client = client.tcp_user_timeout(self.unacknowledged_timeout);
        // Also while it is the peer's turn, which after a last piece may be for long.
        let client = client.tcp_keepalive(KEEPALIVE).tcp_keepalive_interval(KEEPALIVE).tcp_keepalive_retries(3);
        client
            .connect_timeout(self.connect_timeout)
            .dns_resolver(self.resolver.clone())
            .pool_max_idle_per_host(1)
            .tcp_nodelay(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| Failure::Connect(error.to_string()))
    }
}

async fn exchange(
    client: &Client,
    url: &str,
    body: Bytes,
    connect_timeout: Duration,
    progress: Arc<Progress>,
) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::of_request(error, connect_timeout);
    let request = client.post(url).header(CONTENT_TYPE, message::CONTENT_TYPE).header(CONTENT_LENGTH, body.len());
    let response = request.body(in_pieces(body, progress.clone())).send().await.map_err(failed)?;
    progress.note();
    let status = response.status();
    let is_ours = response.headers().get(CONTENT_TYPE).is_some_and(|found| found == message::CONTENT_TYPE);
    let body = read(response, &progress).await?;
    match status {
        StatusCode::OK if is_ours => Ok(body),
        status if is_ours && !status.is_success() => Err(Failure::Rejected(message::decode_rejection(&body)?)),
        StatusCode::SERVICE_UNAVAILABLE => Err(Failure::Unavailable(shown(&body))),
        status => Err(Failure::Unexpected(status, shown(&body))),
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

async fn read(mut response: Response, progress: &Progress) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(Failure::of_answer)? {
        progress.note();
        if body.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(Failure::AnswerTooLarge(MAX_ANSWER_BYTES));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_SHOWN_BYTES)]);
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// When something last moved.
struct Progress {
    started: Instant,
    last_ms: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self { started: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn note(&self) {
        self.last_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Gives `exchange` up once nothing has moved for `limit`.
    async fn or_stalled<T>(
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
