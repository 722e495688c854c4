//! One server span a request, and the trace that a write goes on with.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Poll};

use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, Either, MapOk};
use futures_util::{FutureExt as _, TryFuture, TryFutureExt as _};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{FutureExt, Span, SpanContext, SpanKind, SpanRef, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::routes::{self, PATHS};
use crate::causality::Dot;
use crate::replica::TraceContext;

/// The header of a client that has a trace.
const TRACE_PARENT: &str = "traceparent";

/// Asked for by machines, all the time: their spans would only bury the others.
const UNTRACED: [&str; 4] = ["/livez", "/readyz", "/status", "/metrics"];

/// Makes spans, and decides which requests get one.
pub(super) struct Tracing {
    tracer: SdkTracer,
    /// How many of the requests without a trace begin one, in 2⁶⁴ths.
    new_traces: u64,
    draws: AtomicU64,
    seed: RandomState,
}

impl Tracing {
    pub(super) fn new(tracer: SdkTracer, new_traces: f64) -> Self {
        let new_traces = (new_traces * u64::MAX as f64) as u64;
        Self { tracer, new_traces, draws: AtomicU64::new(0), seed: RandomState::new() }
    }

    /// Whether a request gets a span: it has a trace, or begins one. That is decided here and not by the library's
    /// sampler, for which a trace has to be made up first: most requests have none.
    fn wants(&self, request: &Request) -> bool {
        !UNTRACED.contains(&request.uri().path())
            && (request.headers().contains_key(TRACE_PARENT) || self.begins_trace())
    }

    fn begins_trace(&self) -> bool {
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        self.new_traces == u64::MAX || self.seed.hash_one(draw) < self.new_traces
    }
}

/// Puts a span around requests.
pub(super) fn layer<S>(tracing: Tracing) -> impl Layer<S, Service = Traced<S>> + Clone {
    let tracing = Arc::new(tracing);
    layer_fn(move |inner| Traced { inner, tracing: tracing.clone() })
}

/// Answers requests, with a span around those that get one. The others pass through as if it were not there.
#[derive(Clone)]
pub(super) struct Traced<S> {
    inner: S,
    tracing: Arc<Tracing>,
}

impl<S> Service<Request> for Traced<S>
where
    S: Service<Request, Error = Infallible> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Answered<S::Future>, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if !self.tracing.wants(&request) {
            return Either::Left(self.inner.call(request).map_ok(IntoResponse::into_response));
        }
        // What is ready is this one, not a copy of it.
        let copy = self.inner.clone();
        let next = std::mem::replace(&mut self.inner, copy);
        Either::Right(server_span(self.tracing.clone(), request, next).map(Ok).boxed())
    }
}

/// An inner service's answer.
type Answered<F> = MapOk<F, fn(<F as TryFuture>::Ok) -> Response>;

/// Makes the span of a request. It goes on with the client's trace if there is one.
async fn server_span<S>(tracing: Arc<Tracing>, request: Request, mut next: S) -> Response
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
{
    let parent = remote_context(request.headers());
    let tracer = &tracing.tracer;
    let span = tracer.span_builder("HTTP").with_kind(SpanKind::Server).start_with_context(tracer, &parent);
    let is_recorded = span.is_recording();
    let context = parent.with_span(span);
    if is_recorded {
        describe(&context.span(), &request);
    }
    let Ok(response) = next.call(request).with_context(context.clone()).await;
    let response = response.into_response();

    let status = response.status();
    let span = context.span();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
        span.set_status(Status::error(status.canonical_reason().unwrap_or_default()));
    }
    span.end();
    response
}

/// Says what the request is.
fn describe(span: &SpanRef<'_>, request: &Request) {
    let method = known_method(request.method());
    let route = routes::route(request.uri().path()).map(|index| PATHS[index]);
    match (method, route) {
        (None, _) => {}
        (Some(method), None) => span.update_name(method),
        (Some(method), Some(route)) => span.update_name(format!("{method} {route}")),
    }
    // The query is left out: keys may be private, and a trace is seen by others than the store.
    span.set_attribute(KeyValue::new("http.request.method", method.unwrap_or("_OTHER")));
    span.set_attribute(KeyValue::new("url.path", request.uri().path().to_owned()));
    span.set_attribute(KeyValue::new("url.scheme", "http"));
    span.set_attributes(route.map(|route| KeyValue::new("http.route", route)));
}

/// The trace that a write belongs to: the request's span, or without spans here the client's own.
pub(super) fn of_write(headers: &HeaderMap, traced: bool) -> Option<TraceContext> {
    let span = if traced {
        Context::map_current(|context| context.span().span_context().clone())
    } else {
        remote_context(headers).span().span_context().clone()
    };
    span.is_valid().then(|| TraceContext {
        trace_id: span.trace_id().to_bytes(),
        span_id: span.span_id().to_bytes(),
        flags: span.trace_flags().to_u8(),
    })
}

/// Notes the op that the request became.
pub(super) fn note_dot(dot: Dot) {
    Context::map_current(|context| {
        let span = context.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new("causeway.dot", dot.to_string()));
        }
    });
}

/// The trace of the current request, if it has one, for people to look it up by.
pub(super) fn trace_id() -> Option<String> {
    Context::map_current(|context| {
        let span: SpanContext = context.span().span_context().clone();
        span.is_valid().then(|| span.trace_id().to_string())
    })
}

fn remote_context(headers: &HeaderMap) -> Context {
    if !headers.contains_key(TRACE_PARENT) {
        return Context::new();
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

fn known_method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| method == known)
}
