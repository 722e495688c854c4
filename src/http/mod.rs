//! The client API: the design's section 3, described for users in `docs/http-api.md`.
//!
//! Requests come in as text, are checked here against every limit, and become the calls of a [`NodeHandle`];
//! answers go out as text. A request that is refused changed nothing, and says so by a problem of a stable
//! `type` ([`problem::Kind`] lists them all).
//!
//! Promises: what an answer shows and the context that comes with it are of one snapshot, taken after the
//! state that the request asks for was reached; nothing of a request is silently ignored that could change
//! what it means (parameters, fields, conditions that are not known are refused); memory is bounded. Must not
//! decide anything about causality, know how anything is stored, or talk to peers.

mod access;
mod answers;
mod backup;
pub mod bodies;
mod body;
mod cluster;
mod conflicts;
mod door;
mod draining;
mod fingerprint;
mod headers;
mod hosts;
mod json;
mod keys;
mod latency;
mod many;
mod metrics;
mod openapi;
mod paging;
mod pending;
mod problem;
mod query;
mod read;
mod routes;
mod session;
mod set;
mod spans;
mod sse;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod view;
mod watch;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use opentelemetry::Context;
use opentelemetry_sdk::trace::SdkTracer;
use tokio::sync::{Semaphore, watch as channel};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub use hosts::Hosts;
pub use metrics::Metrics;

use crate::auth::Clients;
use crate::node::NodeHandle;
use answers::Answers;
use openapi::Document;
use problem::{Kind, Problem};
use tokens::StateTokens;
use watch::WatchedLog;

/// What one request may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a key that is written. (Reads take any key: a longer one may have come from another node.)
    pub key_bytes: usize,
    /// Bytes of a value that is written.
    pub value_bytes: usize,
    /// Bytes of a request's body.
    pub request_bytes: usize,
    /// Keys that one request writes or reads.
    pub entries: usize,
    /// Bytes of values in one answer that shows several; what does not fit is named instead. The first value
    /// is always shown.
    pub answer_bytes: usize,
    /// Keys on a page of `/keys`.
    pub page_keys: usize,
    /// Watches at once.
    pub watchers: usize,
    /// Bytes of all request bodies held at once, over all connections, from when they arrive until they are answered.
    pub bodies_bytes: usize,
    /// Bytes of all large answers held at once, from when they are made until they were taken.
    pub answers_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes: 1024,
            value_bytes: 1024 * 1024,
            request_bytes: 8 * 1024 * 1024,
            entries: 10_000,
            answer_bytes: 8 * 1024 * 1024,
            page_keys: 1000,
            watchers: 1024,
            bodies_bytes: 96 * 1024 * 1024,
            answers_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What the client API needs to know besides its node.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Bounds of one request.
    pub limits: Limits,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request waits (for a context, for acknowledgements) that does not say.
    pub default_wait: Duration,
    /// The longest that a request may ask to wait; a longer wish is cut down to this.
    pub max_wait: Duration,
    /// How long a watch has something for its client that this does not take before it ends.
    pub watch_patience: Duration,
    /// How long a watch says nothing before it says how far it is.
    pub watch_keep_alive: Duration,
    /// How long a backup waits for a client that takes nothing before it ends.
    pub backup_patience: Duration,
    /// Becomes true when the node is stopping: what would go on for ever ends then.
    pub stopping: Option<channel::Receiver<bool>>,
    /// What of the source this program was built from, if that is known.
    pub revision: Option<&'static str>,
    /// Where people see a trace, for the console: `{trace_id}` in it stands for the trace's id.
    pub traces_url: Option<String>,
    /// The names that the node answers to.
    pub hosts: Hosts,
    /// Who gets in.
    pub clients: Clients,
    /// Makes a server span for every request; none are made without it.
    pub tracer: Option<SdkTracer>,
    /// How many of the requests without a trace begin one, 0 to 1.
    pub new_traces: f64,
    /// What it counts, and what `/metrics` shows.
    pub metrics: Metrics,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            body_timeout: Duration::from_secs(30),
            default_wait: Duration::from_secs(2),
            max_wait: Duration::from_secs(30),
            watch_patience: Duration::from_secs(30),
            watch_keep_alive: Duration::from_secs(15),
            backup_patience: Duration::from_secs(60),
            stopping: None,
            revision: None,
            traces_url: None,
            hosts: Hosts::default(),
            clients: Clients::default(),
            tracer: None,
            new_traces: 1.0,
            metrics: Metrics::default(),
        }
    }
}

/// What every request sees.
struct App {
    node: NodeHandle,
    options: HttpOptions,
    /// Bytes of request bodies held at the moment.
    bodies: AtomicUsize,
    /// Writes whose large bodies are on their way, and the bytes of these.
    arriving: AtomicUsize,
    arriving_bytes: AtomicUsize,
    answers: Answers,
    tokens: StateTokens,
    /// Places of those who are sent events of the cluster.
    cluster_watchers: Arc<Semaphore>,
    /// Walks over the whole store that may still begin.
    walks: Arc<Semaphore>,
    /// The backups that may still begin.
    backups: Arc<Semaphore>,
    /// The watches that there may still be.
    watchers: Arc<Semaphore>,
    watched_log: WatchedLog,
    run: watch::RunId,
    document: Document,
}

type Shared = State<Arc<App>>;

/// The client API of a node.
pub fn app(node: NodeHandle, options: HttpOptions) -> Router {
    let tracing = options.tracer.clone().map(|tracer| spans::Tracing::new(tracer, options.new_traces));
    let metrics = options.metrics.clone();
    let door = door::layer(options.hosts.clone(), options.clients.clone(), metrics.clone());
    let state = Arc::new(App {
        document: Document::new(&options, node.members().count),
        node,
        bodies: AtomicUsize::new(0),
        arriving: AtomicUsize::new(0),
        arriving_bytes: AtomicUsize::new(0),
        answers: Answers::new(options.limits.answers_bytes, metrics.clone()),
        tokens: StateTokens::new(),
        cluster_watchers: Arc::new(Semaphore::new(cluster::MAX_WATCHERS)),
        walks: Arc::new(Semaphore::new(fingerprint::MAX_WALKS)),
        backups: Arc::new(Semaphore::new(backup::MAX_BACKUPS)),
        watchers: Arc::new(Semaphore::new(options.limits.watchers)),
        watched_log: WatchedLog::default(),
        run: watch::RunId::new(),
        options,
    });
    let routes = routes::routes().with_state(state).layer(door);
    finish(routes, tracing, metrics)
}

/// What goes around all routes. A panic becomes a problem inside the request's span, so that the span says so.
fn finish(routes: Router, tracing: Option<spans::Tracing>, metrics: Metrics) -> Router {
    let panics = CatchPanicLayer::custom(|_| {
        tracing::error!(trace_id = spans::trace_id(), "a request hit a bug in this server");
        // The panic's own text is on standard error already; it is not for clients.
        Problem::new(Kind::Internal, "the request hit a bug in this server; whether it changed anything is unknown")
            .into_response()
    });
    // What is answered is never a script, whatever key or value is in it, and whoever's page asks for it as one.
    let no_sniff = SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // As one layer: the router makes every request of each layer a box of its own.
    let around = ServiceBuilder::new().layer(no_sniff);
    match tracing {
        Some(tracing) => routes.layer(around.layer(metrics::layer(metrics)).layer(spans::layer(tracing)).layer(panics)),
        None => routes.layer(around.layer(metrics::layer(metrics)).layer(panics)),
    }
}

/// Runs what may read a lot from the disk off the threads that serve requests, in the request's trace all the same.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let context = Context::current();
    let traced = move || {
        let _trace = context.attach();
        work()
    };
    tokio::task::spawn_blocking(traced).await.unwrap_or_else(|_| {
        Err(Problem::new(Kind::Internal, "the request hit a bug in this server; it changed nothing"))
    })
}

async fn unknown_path(uri: Uri) -> Problem {
    let detail = format!("there is nothing at '{}'; /openapi.json lists what there is", problem::shown(uri.path()));
    Problem::new(Kind::NotFound, detail)
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    // The router adds `Allow`.
    let detail = format!("{} does not take {}", uri.path(), problem::shown(method.as_str()));
    Problem::new(Kind::MethodNotAllowed, detail).into_response()
}
