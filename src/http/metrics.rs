//! What the client API counts, and `GET /metrics`, which shows that and all else that its registry has
//! (docs/metrics.md).
//!
//! Promises: labels are of closed sets, whatever clients send; a request takes no lock and no memory here once one like
//! it was counted. Must not count by anything that a client chose.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, Registry, TextEncoder, opts,
    register_histogram_vec_with_registry, register_histogram_with_registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry,
};
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::openapi::refusals::refusals;
use super::problem::{Kind, Problem};
use super::routes::{PATHS, route};
use super::view::NO_STORE;
use super::{Shared, blocking, query};

const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Any other method or path is counted under this name.
const OTHER: &str = "other";
const METHODS: [&str; 5] = ["GET", "PATCH", "POST", "HEAD", "PUT"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why requests don't get in, whatever they ask for.
const TURNED_AWAY: [Kind; 4] = [Kind::WrongHost, Kind::CrossOrigin, Kind::NotAuthenticated, Kind::NotAllowed];

/// Upper bounds, in seconds: of a read from memory up to the longest wait.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What one node's client API counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    registry: Registry,
    requests: HistogramVec,
    /// Those of `requests` that have occurred, so that a request finds its own without a lock.
    found: Vec<OnceLock<Histogram>>,
    writes: Histogram,
    refused_bodies: IntCounter,
    refused_answers: IntCounter,
    turned_away: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::register(&Registry::new())
    }
}

impl Metrics {
    /// Counts in a registry, of which each node has one of its own.
    pub fn register(registry: &Registry) -> Self {
        const UNIQUE: &str = "these are valid, and each node has a registry of its own";
        let requests = register_histogram_vec_with_registry!(
            "causeway_http_request_duration_seconds",
            "How long the client API took to answer, by route, method and class of status.",
            &["route", "method", "status"],
            SECONDS.to_vec(),
            registry
        );
        let writes = register_histogram_with_registry!(
            "causeway_write_duration_seconds",
            "From the acceptance of a client's write to when it was durable and visible on this node.",
            SECONDS.to_vec(),
            registry
        );
        let refused = opts!(
            "causeway_overload_refusals_total",
            "Requests refused because too much was going on at once, by what there was too much of."
        );
        let refused_bodies =
            register_int_counter_with_registry!(refused.clone().const_label("limit", "bodies"), registry);
        let refused_answers = register_int_counter_with_registry!(refused.const_label("limit", "answers"), registry);
        let turned_away = register_int_counter_vec_with_registry!(
            "causeway_client_refusals_total",
            "Requests of clients that did not get in, whatever they asked for, by why.",
            &["reason"],
            registry
        );
        let turned_away = turned_away.expect(UNIQUE);
        // They are there from the start on.
        TURNED_AWAY.iter().for_each(|kind| drop(turned_away.with_label_values(&[kind.slug()])));
        let places = (PATHS.len() + 1) * (METHODS.len() + 1) * CLASSES.len();
        Self(Arc::new(Counts {
            registry: registry.clone(),
            requests: requests.expect(UNIQUE),
            found: (0..places).map(|_| OnceLock::new()).collect(),
            writes: writes.expect(UNIQUE),
            refused_bodies: refused_bodies.expect(UNIQUE),
            refused_answers: refused_answers.expect(UNIQUE),
            turned_away,
        }))
    }

    /// How many bodies were refused because those of other requests took all the memory that they may.
    pub fn refused_bodies(&self) -> u64 {
        self.0.refused_bodies.get()
    }

    pub(super) fn body_refused(&self) {
        self.0.refused_bodies.inc();
    }

    /// How many answers were not made, or not kept, because others took all the memory or all the threads that they may.
    pub fn refused_answers(&self) -> u64 {
        self.0.refused_answers.get()
    }

    pub(super) fn answer_refused(&self) {
        self.0.refused_answers.inc();
    }

    /// Counts a request that did not get in.
    pub(super) fn turned_away(&self, kind: Kind) {
        self.0.turned_away.with_label_values(&[kind.slug()]).inc();
    }

    pub(super) fn written(&self, took: Duration) {
        self.0.writes.observe(took.as_secs_f64());
    }

    fn answered(&self, asked: Asked, status: StatusCode) {
        let class = (usize::from(status.as_u16()) / 100).clamp(1, CLASSES.len()) - 1;
        let place = (asked.route * (METHODS.len() + 1) + asked.method) * CLASSES.len() + class;
        let found = self.0.found[place].get_or_init(|| {
            let route = PATHS.get(asked.route).unwrap_or(&OTHER);
            let method = METHODS.get(asked.method).unwrap_or(&OTHER);
            self.0.requests.with_label_values(&[route, method, &CLASSES[class]])
        });
        found.observe(asked.began.elapsed().as_secs_f64());
    }
}

/// A request as it is counted: by its places in the lists above, behind the last where it is another.
#[derive(Clone, Copy)]
struct Asked {
    began: Instant,
    route: usize,
    method: usize,
}

impl Asked {
    fn now(request: &Request) -> Self {
        let route = route(request.uri().path()).unwrap_or(PATHS.len());
        let method: &Method = request.method();
        let method = METHODS.iter().position(|known| method == *known).unwrap_or(METHODS.len());
        Self { began: Instant::now(), route, method }
    }
}

/// Counts the requests that go through.
pub(super) fn layer<S>(metrics: Metrics) -> impl Layer<S, Service = Counted<S>> + Clone {
    layer_fn(move |inner| Counted { inner, metrics: metrics.clone() })
}

/// Answers requests and counts them.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B> Service<Request> for Counted<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let asked = Asked::now(&request);
        Answering { answer: self.inner.call(request), asked, metrics: self.metrics.clone() }
    }
}

pin_project! {
    /// An answer that is counted when it comes. (No box, and only looked at: this is on the way of every request.)
    pub(super) struct Answering<F> {
        #[pin]
        answer: F,
        asked: Asked,
        metrics: Metrics,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.answer.poll(context);
        if let Poll::Ready(Ok(response)) = &answer {
            this.metrics.answered(*this.asked, response.status());
        }
        answer
    }
}

refusals!(Refusals: query::NONE_KNOWN);

/// What this node counts, for Prometheus
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "node",
    responses(
        (status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        Refusals,
    ),
)]
pub(super) async fn metrics(State(app): Shared, request: Request) -> Result<Response, Problem> {
    let [] = query::params(request.uri().query(), [])?;
    let headers = [(CONTENT_TYPE, PROMETHEUS_TEXT), (CACHE_CONTROL, NO_STORE)];
    // Some of it is looked up only now, on the disk too.
    let text = blocking(move || {
        let families = app.options.metrics.0.registry.gather();
        TextEncoder::new().encode_to_string(&families).map_err(|error| Problem::new(Kind::Internal, error.to_string()))
    });
    Ok((headers, text.await?).into_response())
}
