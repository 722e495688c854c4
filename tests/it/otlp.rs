//! A collector for tests: takes OTLP over gRPC, keeps the spans in memory, and answers questions about them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1 as proto;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What it is about, in text.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A span as it arrived. Ids are lower-case hex.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty: it has no parent.
    pub(crate) parent_id: String,
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<SpanEvent>,
    /// (trace, span)
    pub(crate) links: Vec<(String, String)>,
    pub(crate) is_error: bool,
}

/// Something at one moment of a span.
#[derive(Clone, Debug)]
pub(crate) struct SpanEvent {
    pub(crate) name: String,
    pub(crate) at: SystemTime,
    pub(crate) attributes: Attributes,
}

impl Span {
    pub(crate) fn duration(&self) -> Duration {
        self.end.duration_since(self.start).unwrap()
    }
}

/// All that the trace of a write on node0 of three must have once every node has it.
pub(crate) const WHOLE: [(&str, &str); 5] = [
    ("node0", "PATCH /set"),
    ("node0", "replicate node1"),
    ("node0", "replicate node2"),
    ("node1", "apply"),
    ("node2", "apply"),
];

/// A running collector. Dropped, it ends.
pub(crate) struct Collector {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    spans: watch::Receiver<Arc<Vec<Span>>>,
    server: JoinHandle<()>,
}

impl Collector {
    /// Listens on an address; port 0 takes a free one.
    pub(crate) async fn bind(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, spans) = watch::channel(Arc::default());
        let service = TraceServiceServer::new(Intake { spans: sender, one_at_a_time: Mutex::default() });
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, spans, server }
    }

    /// What to set `OTEL_EXPORTER_OTLP_ENDPOINT` to, on this machine.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.address.port())
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Arc<Vec<Span>> {
        self.spans.borrow().clone()
    }

    /// The spans of a trace so far.
    pub(crate) fn trace(&self, trace_id: &str) -> Vec<Span> {
        self.spans().iter().filter(|span| span.trace_id == trace_id).cloned().collect()
    }

    /// The spans of a name so far.
    pub(crate) fn named(&self, name: &str) -> Vec<Span> {
        self.spans().iter().filter(|span| span.name == name).cloned().collect()
    }

    /// Waits until `condition` gives a value for the spans that have come; gives up after `patience`.
    pub(crate) async fn until<T>(&self, patience: Duration, mut condition: impl FnMut(&[Span]) -> Option<T>) -> T {
        let mut spans = self.spans.clone();
        let deadline = Instant::now() + patience;
        loop {
            let now = spans.borrow_and_update().clone();
            if let Some(value) = condition(&now) {
                return value;
            }
            let more = tokio::time::timeout_at(deadline.into(), spans.changed()).await;
            assert!(matches!(more, Ok(Ok(()))), "gave up after {patience:?}; spans: {:#?}", summary(&now));
        }
    }

    /// Waits until a trace has all these spans, as (service, name), each at least once.
    pub(crate) async fn until_trace_has(
        &self,
        patience: Duration,
        trace_id: &str,
        wanted: &[(&str, &str)],
    ) -> Vec<Span> {
        let complete = |spans: &[Span]| {
            let trace: Vec<Span> = spans.iter().filter(|span| span.trace_id == trace_id).cloned().collect();
            let has = |(service, name): &(&str, &str)| {
                trace.iter().any(|span| span.service == *service && span.name == *name)
            };
            wanted.iter().all(has).then_some(trace)
        };
        self.until(patience, complete).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn summary(spans: &[Span]) -> Vec<(&str, &str, &str)> {
    spans.iter().map(|span| (&*span.trace_id, &*span.service, &*span.name)).collect()
}

struct Intake {
    spans: watch::Sender<Arc<Vec<Span>>>,
    one_at_a_time: Mutex<()>,
}

#[tonic::async_trait]
impl TraceService for Intake {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut arrived = Vec::new();
        for resource in request.into_inner().resource_spans {
            let attributes = attributes(&resource.resource.map(|resource| resource.attributes).unwrap_or_default());
            let service = attributes.get("service.name").cloned().unwrap_or_default();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            arrived.extend(spans.map(|span| read(&service, span)));
        }
        let _alone = self.one_at_a_time.lock().unwrap();
        self.spans.send_modify(|spans| Arc::make_mut(spans).extend(arrived));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(service: &str, span: proto::Span) -> Span {
    let event = |event: proto::span::Event| SpanEvent {
        name: event.name,
        at: time(event.time_unix_nano),
        attributes: attributes(&event.attributes),
    };
    Span {
        service: service.to_owned(),
        name: span.name,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        start: time(span.start_time_unix_nano),
        end: time(span.end_time_unix_nano),
        attributes: attributes(&span.attributes),
        events: span.events.into_iter().map(event).collect(),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        is_error: span.status.is_some_and(|status| status.code() == StatusCode::Error),
    }
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    pairs.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn time(unix_nano: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(unix_nano)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
