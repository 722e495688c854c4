//! Server spans, and the trace that an op carries on.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway::format;
use causeway::replica::OpRange;
use causeway::storage::BatchLimit;
use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};
use serde_json::json;
use std::sync::atomic::Ordering;

use crate::local::{Faulty, Node, Setup};

#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Spans {
    fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.as_str().into_owned())
}

struct Traced {
    node: Node,
    storage: Arc<Faulty>,
    spans: Spans,
    _provider: SdkTracerProvider,
}

async fn traced(sampler: Sampler) -> Traced {
    traced_by_chance(sampler, 1.0).await
}

/// So many of the requests without a trace begin one.
async fn traced_by_chance(sampler: Sampler, new_traces: f64) -> Traced {
    let spans = Spans::default();
    let provider = SdkTracerProvider::builder().with_span_processor(spans.clone()).with_sampler(sampler).build();
    let mut setup = Setup::default();
    setup.http.tracer = Some(provider.tracer("causeway"));
    setup.http.new_traces = new_traces;
    let (node, storage) = Node::with_faults(setup).await;
    Traced { node, storage, spans, _provider: provider }
}

impl Traced {
    /// The trace context stored with the last op written.
    fn stored(&self, dot: &str) -> Option<causeway::replica::TraceContext> {
        stored(&self.node, dot)
    }
}

fn stored(node: &Node, dot: &str) -> Option<causeway::replica::TraceContext> {
    let dot: causeway::causality::Dot = dot.parse().unwrap();
    let range = OpRange { origin: dot.origin, first: dot.counter, last: dot.counter };
    let ops = node.handle.ops(&[range], BatchLimit { ops: 1, bytes: 1 << 20 }).unwrap();
    format::op::decode(&ops[0].bytes).unwrap().trace
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_write_is_a_server_span_that_its_op_remembers() {
    let traced = traced(Sampler::AlwaysOn).await;
    let reply = traced.node.set("", json!({"key": "value"}), &[("traceparent", PARENT)]).await;
    let dot = reply.json()["dot"].as_str().unwrap().to_owned();
    let [span] = &traced.spans.take()[..] else { panic!("one request, one span") };
    assert_eq!((&*span.name, &span.span_kind), ("PATCH /set", &SpanKind::Server));
    assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(span.status, Status::Unset);
    for (name, value) in [
        ("http.request.method", "PATCH"),
        ("http.route", "/set"),
        ("url.path", "/set"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("causeway.dot", &dot),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    let trace = traced.stored(&dot).unwrap();
    assert_eq!(trace.trace_id, span.span_context.trace_id().to_bytes());
    assert_eq!(trace.span_id, span.span_context.span_id().to_bytes());
    assert!(trace.is_sampled());
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_goes_on_as_such() {
    let traced = traced(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).await;
    let unsampled = PARENT.replace("-01", "-00");
    let reply = traced.node.set("", json!({"key": "value"}), &[("traceparent", &unsampled)]).await;
    assert!(traced.spans.take().is_empty());
    let trace = traced.stored(reply.json()["dot"].as_str().unwrap()).unwrap();
    assert!(!trace.is_sampled());
    assert_eq!(trace.trace_id[..2], [0x0a, 0xf7]);
}

#[tokio::test]
async fn few_requests_begin_a_trace_and_all_go_on_with_theirs() {
    let traced = traced_by_chance(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)), 0.0).await;
    let reply = traced.node.set("", json!({"key": "value"}), &[]).await;
    assert!(traced.spans.take().is_empty());
    assert_eq!(traced.stored(reply.json()["dot"].as_str().unwrap()), None);
    let reply = traced.node.set("", json!({"key": "value"}), &[("traceparent", PARENT)]).await;
    assert_eq!(traced.spans.take().len(), 1);
    assert!(traced.stored(reply.json()["dot"].as_str().unwrap()).unwrap().is_sampled());

    let traced = traced_by_chance(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)), 0.5).await;
    for _ in 0..200 {
        traced.node.get("/read?key=key").await;
    }
    let begun = traced.spans.take().len();
    assert!((50..150).contains(&begun), "{begun} of 200, where half were to be expected");
}

#[tokio::test]
async fn every_call_has_its_name_and_machines_are_not_traced() {
    let traced = traced(Sampler::AlwaysOn).await;
    traced.node.get("/read?key=secret").await;
    traced.node.read_many("", json!(["secret"])).await;
    traced.node.get("/keys?prefix=secret").await;
    traced.node.get("/nothing/secret").await;
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        traced.node.get(path).await;
    }
    let spans = traced.spans.take();
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["GET /read", "POST /read", "GET /keys", "GET"]);
    for span in &spans[..3] {
        assert!(span.attributes.iter().all(|attribute| !attribute.value.as_str().contains("secret")), "{span:?}");
    }
    // A missing key or path is not a failure of the server.
    assert!(spans.iter().all(|span| span.status == Status::Unset));
    assert!(spans.iter().all(|span| span.parent_span_id == opentelemetry::SpanId::INVALID));
}

#[tokio::test]
async fn a_failure_can_be_looked_up_by_its_trace() {
    let traced = traced(Sampler::AlwaysOn).await;
    traced.storage.fail_reads.store(true, Ordering::SeqCst);
    let failed = traced.node.get("/read?key=key").await;
    traced.storage.panic_on_reads.store(true, Ordering::SeqCst);
    let panicked = traced.node.get("/read?key=key").await;
    let spans = traced.spans.take();
    assert_eq!(spans.len(), 2);
    for (reply, span) in [failed, panicked].iter().zip(&spans) {
        assert_eq!(reply.status, 500);
        assert_eq!(reply.json()["trace_id"], span.span_context.trace_id().to_string());
        assert!(matches!(span.status, Status::Error { .. }), "{span:?}");
        assert_eq!(attribute(span, "error.type").as_deref(), Some("500"));
    }
    let refused = traced.node.get("/read").await;
    assert!(refused.json().get("trace_id").is_none(), "that is the client's mistake");
}

/// What this process logs of errors, in all tests.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_is_logged_about_a_traced_request_has_its_trace() {
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::ERROR).with_writer(|| Log);
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let traced = traced(Sampler::AlwaysOn).await;
    traced.storage.fail_reads.store(true, Ordering::SeqCst);
    traced.node.get("/read?key=key").await;
    traced.node.get("/keys").await;
    traced.node.set("", json!({"key": "value"}), &[]).await;
    traced.storage.panic_on_reads.store(true, Ordering::SeqCst);
    traced.node.get("/read?key=key").await;
    let spans = traced.spans.take();
    assert_eq!(spans.len(), 4);
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    for span in spans {
        let named = format!(r#""trace_id":"{}""#, span.span_context.trace_id());
        assert_eq!(log.lines().filter(|line| line.contains(&named)).count(), 1, "{span:?}\n{log}");
    }
}

#[tokio::test]
async fn without_a_tracer_the_clients_own_trace_goes_with_the_op() {
    let node = Node::alone(Setup::default()).await;
    let reply = node.set("", json!({"key": "value"}), &[("traceparent", PARENT)]).await;
    let trace = stored(&node, reply.json()["dot"].as_str().unwrap()).unwrap();
    assert_eq!((trace.span_id[0], trace.flags), (0xb7, 1));
    for broken in ["", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
        let reply = node.set("", json!({"key": "value"}), &[("traceparent", broken)]).await;
        assert_eq!(stored(&node, reply.json()["dot"].as_str().unwrap()), None, "{broken}");
    }
}
