//! Telemetry: logs and spans.
//!
//! [`init_logs`] sets up what the process logs. [`Telemetry`] watches one node as its
//! [`Observer`]: it logs once that a peer is away or back, and, when a collector is
//! configured ([`TraceOptions`]), makes the spans with which the trace of a client's write goes on:
//!
//! - `replicate nodeN`, on the writing node: from the write's acceptance to nodeN's acknowledgement, with the
//!   failed tries in between as events. What it needs is stored with the op, so a restart in between does
//!   not lose it; only tries of earlier runs are not known any more.
//! - `apply`, on every other node: from the op's arrival to its visibility there.
//! - `push nodeN`: one try. A batch is one span in the trace of its first recorded write, with links to the
//!   others. Every try that brought recorded writes over is exported; of those that failed the first after a
//!   success, then one every [`FAILED_PUSH_INTERVAL`], at most [`MAX_FAILED_PUSHES_A_MINUTE`].
//!
//! They all hang below the write's own span, not below each other: a span is exported when it ends, and one
//! whose parent never comes looks broken.
//!
//! Promises: nothing here makes a request, the node or a sender wait; a collector that is away or slow costs
//! spans and one line of log; queues are bounded, and what did not fit is counted and logged. Without a
//! collector no span is made and no op is read. Must not influence what is sent.

mod environment;
mod exporter;
mod logs;
mod observer;
mod recent;
mod spans;
#[cfg(test)]
mod tests;
mod tries;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanExporter,
};
use prometheus::{IntCounter, Opts, Registry};

pub use environment::{BadVariable, BatchOptions, Sampling, TraceOptions};
pub use logs::{LogError, LogFormat, init_logs};
pub use tries::{FAILED_PUSH_INTERVAL, MAX_FAILED_PUSHES_A_MINUTE};

use crate::causality::NodeId;
use crate::node::{NodeHandle, Observer};
use exporter::{Delivery, Watched};
use observer::Watcher;
use worker::Worker;

/// The name under which spans say who made them.
const SCOPE: &str = "causeway";

/// Spans could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter does not take its settings.
    #[error("traces: {0}")]
    Exporter(String),
    /// No thread for it.
    #[error("traces: {0}")]
    Thread(#[from] std::io::Error),
}

/// Watches one node.
pub struct Telemetry {
    watcher: Arc<Watcher>,
    lost: LostSpans,
    spans: Option<Pipeline>,
}

/// Counts spans that nobody gets to see.
#[derive(Clone)]
struct LostSpans {
    /// They could not be exported.
    to_collector: IntCounter,
    /// What they would have been made of came too fast.
    to_overload: IntCounter,
}

impl LostSpans {
    fn new() -> Self {
        let counter = |reason| {
            let about = Opts::new("causeway_spans_lost_total", "Spans that were not exported, by why.");
            IntCounter::with_opts(about.const_label("reason", reason)).expect("the name and the label are valid")
        };
        Self { to_collector: counter("collector"), to_overload: counter("overload") }
    }
}

struct Pipeline {
    provider: SdkTracerProvider,
    new_traces: f64,
    worker: Worker,
}

impl Telemetry {
    /// Starts to watch `node`. With `traces`, must be called on a tokio runtime that lasts until the
    /// shutdown: the exporter's connection lives there.
    pub fn start(node: NodeId, traces: Option<TraceOptions>) -> Result<Self, TelemetryError> {
        let Some(traces) = traces else {
            let (watcher, lost) = (Arc::new(Watcher::new(node, None)), LostSpans::new());
            return Ok(Self { watcher, lost, spans: None });
        };
        let exporter = exporter::connect(&traces).map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        Self::with_exporter(node, &traces, exporter)
    }

    fn with_exporter(
        node: NodeId,
        traces: &TraceOptions,
        exporter: impl SpanExporter + 'static,
    ) -> Result<Self, TelemetryError> {
        let lost = LostSpans::new();
        let delivery = Arc::new(Delivery::new(lost.to_collector.clone()));
        let provider = provider(node, traces, Watched::new(exporter, delivery.clone()));
        let tracer = provider.tracer(SCOPE);
        let to_overload = lost.to_overload.clone();
        let (worker, feed) = Worker::start(node, tracer, provider.clone(), delivery, &traces.batch, to_overload)?;
        // Samplers that ask for no parent decide by the trace's id, so there has to be one.
        let new_traces = if traces.sampling.parent_based { traces.sampling.ratio } else { 1.0 };
        let spans = Some(Pipeline { provider, new_traces, worker });
        Ok(Self { watcher: Arc::new(Watcher::new(node, Some(feed))), lost, spans })
    }

    /// For spans of others, such as a server's; `None` when no spans are wanted.
    pub fn tracer(&self) -> Option<SdkTracer> {
        self.spans.as_ref().map(|spans| spans.provider.tracer(SCOPE))
    }

    /// How many of the requests without a trace should begin one, 0 to 1.
    pub fn new_traces(&self) -> f64 {
        self.spans.as_ref().map_or(0.0, |spans| spans.new_traces)
    }

    /// Counts in a registry, of which each node has one of its own.
    pub fn register(&self, registry: &Registry) {
        const UNIQUE: &str = "these are valid, and each node has a registry of its own";
        for lost in [&self.lost.to_overload, &self.lost.to_collector] {
            registry.register(Box::new(lost.clone())).expect(UNIQUE);
        }
    }

    /// To be handed to the node and its senders.
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.watcher.clone()
    }

    /// Lets it read ops of the node's log, which it needs for those that were written before a restart.
    pub fn attach(&self, handle: NodeHandle) {
        self.watcher.attach(handle);
    }

    /// Ends it: exports what there is, and gives up after `timeout`. `false`: not everything was exported.
    pub async fn shutdown(self, timeout: Duration) -> bool {
        let Some(Pipeline { provider, worker, .. }) = self.spans else { return true };
        let deadline = Instant::now() + timeout;
        let end = move || {
            let worked_off = worker.stop(deadline);
            let left = deadline.saturating_duration_since(Instant::now());
            provider.shutdown_with_timeout(left).is_ok() && worked_off
        };
        // On a thread of its own, which is left behind if it does not end: neither waits for a collector.
        let ended = tokio::time::timeout_at(deadline.into(), tokio::task::spawn_blocking(end)).await;
        matches!(ended, Ok(Ok(true)))
    }
}

fn provider(node: NodeId, traces: &TraceOptions, exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
    let BatchOptions { queue, batch, delay } = traces.batch;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(queue)
        .with_max_export_batch_size(batch)
        .with_scheduled_delay(delay)
        .build();
    let attributes = traces.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.instance.id", node.to_string()))
        .with_attributes(attributes)
        .build();
    SdkTracerProvider::builder()
        .with_sampler(sampler(traces.sampling))
        .with_resource(resource)
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
        .build()
}

fn sampler(Sampling { ratio, parent_based }: Sampling) -> Sampler {
    match ratio {
        // Whoever begins a trace has decided: see `Telemetry::new_traces`.
        _ if parent_based => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
        0.0 => Sampler::AlwaysOff,
        1.0 => Sampler::AlwaysOn,
        ratio => Sampler::TraceIdRatioBased(ratio),
    }
}
