//! One server span a request, and the trace that a write goes on with.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{FutureExt, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;

use super::PATHS;
use crate::causality::Dot;
use crate::replica::TraceContext;

/// Asked for by machines, all the time: their spans would only bury the others.
const UNTRACED: [&str; 3] = ["/livez", "/readyz", "/status"];

/// Makes the span of a request. It goes on with the client's trace if there is one.
pub(super) async fn server_span(State(tracer): State<SdkTracer>, request: Request, next: Next) -> Response {
    if UNTRACED.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let parent = remote_context(request.headers());
    let method = known_method(request.method());
    // No path has a variable part, so one that is known is its own route.
    let route = PATHS.into_iter().find(|path| *path == request.uri().path());
    let name = match (method, route) {
        (None, _) => "HTTP".to_owned(),
        (Some(method), None) => method.to_owned(),
        (Some(method), Some(route)) => format!("{method} {route}"),
    };
    // The query is left out: keys may be private, and a trace is seen by others than the store.
    let mut attributes = vec![
        KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
        KeyValue::new("url.path", request.uri().path().to_owned()),
        KeyValue::new("url.scheme", "http"),
    ];
    attributes.extend(route.map(|route| KeyValue::new("http.route", route)));
    let span = tracer
        .span_builder(name)
        .with_kind(SpanKind::Server)
        .with_attributes(attributes)
        .start_with_context(&tracer, &parent);
    let context = parent.with_span(span);
    let response = next.run(request).with_context(context.clone()).await;

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
    if !headers.contains_key("traceparent") {
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
