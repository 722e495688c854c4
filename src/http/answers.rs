//! Large answers: bounded in memory all together, and in how many are made at once.
//!
//! An answer stays in memory until its client has taken it, however slow that is. Short ones don't count: connections bound
//! them. Promises: past either bound a request is refused, in bounded time; answers that look at the whole store or at
//! many keys never take all the threads that others need. Must not be used where the answer says what was changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::metrics::Metrics;
use super::problem::{Kind, Problem};
use super::{App, blocking};

/// Answers up to this size don't count.
const SHORT_BYTES: usize = 64 << 10;

/// How many are made at once that look at many keys.
const MAKING: usize = 8;

/// How many more may wait for their turn, and for how long.
const WAITING: usize = 256;
const PATIENCE: Duration = Duration::from_secs(1);

/// The large answers of a node.
pub(super) struct Answers {
    limit: usize,
    bytes: Arc<AtomicUsize>,
    making: Arc<Semaphore>,
    /// Places of those who wait and of those who make.
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Answers {
    pub(super) fn new(limit: usize, metrics: Metrics) -> Self {
        let places = Arc::new(Semaphore::new(MAKING + WAITING));
        Self { limit, bytes: Arc::default(), making: Arc::new(Semaphore::new(MAKING)), places, metrics }
    }

    /// Counts an answer's body for as long as anybody has it.
    pub(super) fn hold(&self, body: Bytes) -> Result<Bytes, Problem> {
        self.try_hold(body).map_err(|_| self.full())
    }

    /// The same for a piece of an answer that goes on: waits until there is room, at most so long.
    pub(super) async fn hold_in(&self, patience: Duration, mut piece: Bytes) -> Option<Bytes> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + patience;
        loop {
            match self.try_hold(piece) {
                Ok(held) => return Some(held),
                Err(_) if Instant::now() >= deadline => return None,
                Err(back) => piece = back,
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn try_hold(&self, body: Bytes) -> Result<Bytes, Bytes> {
        let bytes = body.len();
        if bytes <= SHORT_BYTES {
            return Ok(body);
        }
        // One is given whatever its size when there is no other.
        let fits = |all: usize| Some(all + bytes).filter(|sum| all == 0 || *sum <= self.limit);
        match self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Bytes::from_owner(Counted { body, all: self.bytes.clone() })),
            Err(_) => Err(body),
        }
    }

    /// Waits for its turn to make an answer that may have so many bytes.
    async fn turn(&self, bytes: usize) -> Result<[OwnedSemaphorePermit; 2], Problem> {
        // It would be made in vain.
        let all = self.bytes.load(Ordering::Relaxed);
        if bytes > 0 && all > 0 && all + bytes > self.limit {
            return Err(self.full());
        }
        let busy = || self.refusal(format!("{} requests for many keys are under way or wait", MAKING + WAITING));
        let place = self.places.clone().try_acquire_owned().map_err(|_| busy())?;
        match timeout(PATIENCE, self.making.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok([turn, place]),
            _ => Err(busy()),
        }
    }

    fn full(&self) -> Problem {
        let detail = format!("clients have not yet taken as many bytes of answers as may be held: {}", self.limit);
        self.refusal(detail).with("limit", self.limit)
    }

    fn refusal(&self, detail: String) -> Problem {
        self.metrics.answer_refused();
        Problem::new(Kind::Overloaded, detail)
    }
}

/// Makes an answer that may be large, or takes long, off the threads that serve requests. `bytes`: of values that it may
/// show; 0 where that is none.
pub(super) async fn large(
    app: &Arc<App>,
    bytes: usize,
    make: impl FnOnce(&App) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let turn = app.answers.turn(bytes).await?;
    let making = app.clone();
    let response = blocking(move || {
        let response = make(&making);
        drop(turn);
        response
    });
    held(app, response.await?).await
}

/// Counts an answer that was made as a whole for as long as anybody has it.
pub(super) async fn held(app: &App, response: Response) -> Result<Response, Problem> {
    let (head, body) = response.into_parts();
    // It is all there: this neither waits nor copies.
    let body = to_bytes(body, usize::MAX).await;
    let body = body.map_err(|_| Problem::new(Kind::Internal, "the answer could not be made; nothing was changed"))?;
    Ok(Response::from_parts(head, Body::from(app.answers.hold(body)?)))
}

/// A body that counts as held.
struct Counted {
    body: Bytes,
    all: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}
