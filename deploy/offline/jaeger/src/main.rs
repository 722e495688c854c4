//! Stands in for the `jaeger` service where its image can't be pulled: the real Jaeger UI on 16686 over the traces
//! that arrive as OTLP/gRPC on 4317 (the crate `otlp-embedded`).
//!
//! It differs from Jaeger: the newest 10,000 traces or 256 MiB are kept in memory only, a search filters by service
//! and operation and by nothing else, and OTLP over HTTP is not taken. What the UI shows only as tags is written as tags
//! here before it is stored: the error of a failed span, its kind, and the names of events.

use std::net::Ipv4Addr;

use axum::{http::StatusCode, middleware, response::Response};
use otlp_embedded::{
    Config, State, TraceService, TraceServiceImpl, TraceServiceServer,
    proto::{
        collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
        common::v1::{AnyValue, KeyValue, any_value::Value},
        trace::v1::Span,
    },
    ui_app,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tonic::{Request, Status, async_trait};

/// OpenTelemetry's number for a span that failed.
const STATUS_ERROR: i32 = 2;
/// OpenTelemetry's span kinds, by number.
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

struct Tagging(TraceServiceImpl);

#[async_trait]
impl TraceService for Tagging {
    async fn export(
        &self,
        mut request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let resources = request.get_mut().resource_spans.iter_mut();
        for span in resources.flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans) {
            write_as_tags(span);
        }
        self.0.export(request).await
    }
}

fn write_as_tags(span: &mut Span) {
    if let Some(status) = span.status.as_ref().filter(|s| s.code == STATUS_ERROR) {
        let message = status.message.clone();
        span.attributes.push(tag("error", Value::BoolValue(true)));
        if !message.is_empty() {
            span.attributes.push(tag("otel.status_description", Value::StringValue(message)));
        }
    }
    if let Some(kind) = usize::try_from(span.kind).ok().and_then(|k| KINDS.get(k)) {
        span.attributes.push(tag("span.kind", Value::StringValue((*kind).to_owned())));
    }
    for event in &mut span.events {
        let name = event.name.clone();
        event.attributes.insert(0, tag("event", Value::StringValue(name)));
    }
}

fn tag(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The pages of the UI come with a redirect's status but without a place to go to.
async fn page_is_ok(mut response: Response) -> Response {
    if response.status() == StatusCode::TEMPORARY_REDIRECT {
        *response.status_mut() = StatusCode::OK;
    }
    response
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let state = State::new(Config { max_length: 10_000, max_memory_usage: 256 << 20 });
    let ui = ui_app(state.clone(), "/").layer(middleware::map_response(page_is_ok));
    let ui_listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 16686)).await?;
    let traces = TraceServiceServer::new(Tagging(TraceServiceImpl::new(state)));
    let receiver = tonic::transport::Server::builder().add_service(traces).serve((Ipv4Addr::UNSPECIFIED, 4317).into());
    let mut stop = signal(SignalKind::terminate())?;
    println!("stand-in for Jaeger: the UI on port 16686, OTLP over gRPC on port 4317");
    tokio::select! {
        end = axum::serve(ui_listener, ui) => end?,
        end = receiver => end?,
        _ = stop.recv() => {}
    }
    Ok(())
}
