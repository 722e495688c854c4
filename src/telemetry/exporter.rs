//! Where spans go, and the one line of log when they don't get there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prometheus::IntCounter;

use super::TraceOptions;

/// An exporter to a collector. Does not connect yet.
pub(super) fn connect(traces: &TraceOptions) -> Result<opentelemetry_otlp::SpanExporter, ExporterBuildError> {
    opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&traces.endpoint)
        .with_timeout(traces.timeout)
        .build()
}

/// Whether spans arrive.
#[derive(Debug)]
pub(super) struct Delivery {
    failing: AtomicBool,
    /// Since they do not arrive.
    lost: AtomicU64,
    /// Since the start.
    all_lost: IntCounter,
}

impl Delivery {
    pub(super) fn new(all_lost: IntCounter) -> Self {
        Self { failing: AtomicBool::new(false), lost: AtomicU64::new(0), all_lost }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn note(&self, spans: u64, outcome: &OTelSdkResult) {
        match outcome {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    let lost = self.lost.swap(0, Ordering::Relaxed);
                    tracing::info!(lost, "traces get to the collector again; {lost} spans were lost");
                }
            }
            Err(error) => {
                self.lost.fetch_add(spans, Ordering::Relaxed);
                self.all_lost.inc_by(spans);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "traces don't get to the collector; nothing else is affected");
                }
            }
        }
    }
}

/// An exporter whose outcomes are noted.
pub(super) struct Watched<E> {
    inner: E,
    delivery: Arc<Delivery>,
}

impl<E> Watched<E> {
    pub(super) fn new(inner: E, delivery: Arc<Delivery>) -> Self {
        Self { inner, delivery }
    }
}

impl<E: fmt::Debug> fmt::Debug for Watched<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let outcome = self.inner.export(batch).await;
        self.delivery.note(spans, &outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
