//! Spans are collected in memory and looked at as a collector would.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::Status;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanData;

use super::tries::Tries;
use super::*;
use crate::causality::{Hlc, Incarnation, Origin, WallMs};
use crate::node::{AdmissionLimit, NoObserver, NodeOptions, Try};
use crate::replica::*;
use crate::storage::MemoryStorage;

/// A collector in memory; held up while it is closed.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    spans: Mutex<Vec<SpanData>>,
    closed: Mutex<bool>,
    opened: Condvar,
    /// How long an export takes.
    pause: Duration,
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let closed = self.0.closed.lock().unwrap();
        let patience = Duration::from_secs(20);
        let (_closed, waited) = self.0.opened.wait_timeout_while(closed, patience, |closed| *closed).unwrap();
        if waited.timed_out() {
            return Err(OTelSdkError::Timeout(patience));
        }
        std::thread::sleep(self.0.pause);
        self.0.spans.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Collector {
    fn named(&self, name: &str) -> Vec<SpanData> {
        self.0.spans.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }

    fn one(&self, name: &str) -> SpanData {
        let named = self.named(name);
        assert_eq!(named.len(), 1, "{name} among {:?}", self.0.spans.lock().unwrap());
        named.into_iter().next().unwrap()
    }

    fn set_closed(&self, closed: bool) {
        *self.0.closed.lock().unwrap() = closed;
        self.0.opened.notify_all();
    }
}

fn start(collector: &Collector) -> Telemetry {
    Telemetry::with_exporter(NodeId(0), &TraceOptions::new("http://collector"), collector.clone()).unwrap()
}

/// Ends it and waits until all has been exported.
async fn end(telemetry: Telemetry) {
    assert!(telemetry.shutdown(Duration::from_secs(20)).await);
}

const ORIGIN: Origin = Origin { node: NodeId(0), incarnation: Incarnation(7) };
const LINK: LinkId = LinkId(0);
const PEER: NodeId = NodeId(1);

fn trace(counter: u64, flags: u8) -> TraceContext {
    let mut trace_id = [9; 16];
    trace_id[8..].copy_from_slice(&counter.to_be_bytes());
    TraceContext { trace_id, span_id: [5; 8], flags }
}

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

fn visible(counter: u64, accepted_ms: u64, flags: u8, from: Option<NodeId>) -> Visible {
    let entry = Entry { key: "k".into(), value: Some("v".into()), replaces: Vec::new() };
    let op = Op {
        dot: ORIGIN.dot(counter),
        parents: Vec::new(),
        deps: Vec::new(),
        hlc: Hlc::at(WallMs(accepted_ms)),
        entries: vec![entry],
        trace: Some(trace(counter, flags)),
        idempotency_key: None,
    };
    Visible { op: Arc::new(op), from, received: WallMs(accepted_ms + 5) }
}

fn range(first: u64, last: u64) -> OpRange {
    OpRange { origin: ORIGIN, first, last }
}

fn try_at(observer: &dyn Observer, ms: u64, ops: &[OpRange], error: Option<&'static str>) {
    observer.tried(&Try {
        link: LINK,
        node: Some(PEER),
        address: "http://node1:7000",
        started: at(ms),
        ended: at(ms + 1),
        ops,
        error: error.map(|error_type| (error_type, "connection refused".to_owned())),
    });
}

fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    span.attributes.iter().map(|pair| (pair.key.to_string(), pair.value.to_string())).collect()
}

fn assert_is_below_the_write(span: &SpanData, counter: u64) {
    assert_eq!(span.span_context.trace_id().to_bytes(), trace(counter, 1).trace_id);
    assert_eq!(span.parent_span_id.to_bytes(), [5; 8]);
}

#[tokio::test]
async fn a_span_tells_that_a_peer_got_the_write_with_the_whole_state() {
    let collector = Collector::default();
    let telemetry = start(&collector);
    let observer = telemetry.observer();
    for counter in [1, 2] {
        observer.visible(&visible(counter, 1_000, 1, None));
    }
    observer.acknowledged(PEER, &[range(1, 1)], true, &[]);
    observer.acknowledged(PEER, &[range(2, 2)], false, &[]);
    end(telemetry).await;

    let spans = collector.named("replicate node1");
    let events = |span: &SpanData| span.events.iter().map(|event| event.name.to_string()).collect::<Vec<_>>();
    assert_eq!(events(&spans[0]), ["state-transfer"]);
    assert_eq!(spans[0].events.iter().last().unwrap().timestamp, spans[0].end_time);
    assert_is_below_the_write(&spans[0], 1);
    assert!(events(&spans[1]).is_empty());
}

#[tokio::test]
async fn a_write_has_a_span_for_each_peer_from_its_acceptance_to_the_acknowledgement() {
    let collector = Collector::default();
    let telemetry = start(&collector);
    let observer = telemetry.observer();
    observer.visible(&visible(1, 1_000, 1, None));
    try_at(&*observer, 900, &[], Some("connect"));
    try_at(&*observer, 1_400, &[range(1, 1)], Some("connect"));
    try_at(&*observer, 1_800, &[range(1, 1)], Some("lookup"));
    try_at(&*observer, 2_200, &[range(1, 1)], None);
    observer.acknowledged(PEER, &[range(1, 1)], false, &[]);
    end(telemetry).await;

    let span = collector.one("replicate node1");
    assert_is_below_the_write(&span, 1);
    assert_eq!(span.start_time, at(1_000));
    let shown = attributes(&span);
    assert_eq!(shown["causeway.dot"], ORIGIN.dot(1).to_string());
    assert_eq!((&*shown["causeway.peer"], &*shown["causeway.tries"]), ("1", "3"));
    let events: Vec<_> = span.events.iter().map(|event| (&*event.name, event.timestamp)).collect();
    assert_eq!(events, [("try failed", at(1_401)), ("try failed", at(1_801))], "the one before the write is not its");
    assert!(span.events.events[1].attributes.iter().any(|pair| pair.value.as_str() == "lookup"));
}

#[tokio::test]
async fn an_op_from_a_peer_has_a_span_from_its_arrival_to_its_visibility() {
    let collector = Collector::default();
    let telemetry = start(&collector);
    telemetry.observer().visible(&visible(3, 1_000, 1, Some(NodeId(2))));
    end(telemetry).await;
    let span = collector.one("apply");
    assert_is_below_the_write(&span, 3);
    assert_eq!(span.start_time, at(1_005));
    assert!(span.end_time > span.start_time);
    assert_eq!(attributes(&span)["causeway.from"], "2");
}

#[tokio::test]
async fn what_is_not_sampled_has_no_spans() {
    let collector = Collector::default();
    let telemetry = start(&collector);
    let observer = telemetry.observer();
    observer.visible(&visible(1, 1_000, 0, None));
    observer.visible(&visible(2, 1_000, 0, Some(PEER)));
    try_at(&*observer, 1_400, &[range(1, 1)], Some("connect"));
    try_at(&*observer, 1_500, &[range(1, 1)], None);
    observer.acknowledged(PEER, &[range(1, 1)], false, &[]);
    end(telemetry).await;
    assert!(collector.0.spans.lock().unwrap().is_empty());
}

#[tokio::test]
async fn after_a_restart_the_spans_come_from_the_log() {
    let storage = MemoryStorage::new();
    let options = NodeOptions {
        replica: ReplicaOptions::new("test", NodeId(0), Vec::new()),
        seed: Seed { boot: 1, random: 1 },
        admission: AdmissionLimit { requests: 1_000, bytes: 1 << 20, wait: Duration::from_millis(20) },
        addresses: vec![],
        min_free_bytes: 0,
        max_log_bytes: 1 << 30,
    };
    let running = crate::node::start(options, Arc::new(storage), Recovered::default(), Arc::new(NoObserver)).unwrap();
    let mut dots = Vec::new();
    for counter in 1..=600 {
        let write = Write {
            entries: vec![("k".into(), Some("v".into()))],
            replaces: Replaces::Held,
            trace: Some(trace(counter, u8::from(counter % 2 == 0))),
            once: None,
        };
        dots.push(running.handle.write(write).await.unwrap().dot);
    }

    let collector = Collector::default();
    let telemetry = start(&collector);
    telemetry.attach(running.handle.clone());
    telemetry.observer().acknowledged(PEER, &[OpRange { origin: dots[0].origin, first: 1, last: 600 }], false, &[]);
    end(telemetry).await;
    let spans = collector.named("replicate node1");
    assert_eq!(spans.len(), 300);
    assert_is_below_the_write(&spans[0], 2);
    assert_is_below_the_write(&spans[299], 600);
    tokio::task::spawn_blocking(|| running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_long_cut_floods_nothing() {
    const MINUTES: u64 = 10;
    let collector = Collector::default();
    let telemetry = start(&collector);
    let observer = telemetry.observer();
    let mut written = 0;
    for ms in (0..MINUTES * 60_000).step_by(400) {
        written += 1;
        observer.visible(&visible(written, ms, 1, None));
        try_at(&*observer, ms, &[range(1, written)], Some("connect"));
    }
    let healed = MINUTES * 60_000;
    try_at(&*observer, healed, &[range(1, written)], None);
    observer.acknowledged(PEER, &[range(1, written)], false, &[]);
    end(telemetry).await;

    let (tries, successes): (Vec<_>, Vec<_>) =
        collector.named("push node1").into_iter().partition(|span| matches!(span.status, Status::Error { .. }));
    assert_eq!(successes.len(), 1);
    for minute in 0..MINUTES {
        let of_it = |span: &&SpanData| (at(minute * 60_000)..at((minute + 1) * 60_000)).contains(&span.end_time);
        assert!(tries.iter().filter(of_it).count() <= MAX_FAILED_PUSHES_A_MINUTE);
    }
    assert_eq!(tries[0].start_time, at(0), "the first is exported at once");
    assert!(tries[1..].windows(2).all(|two| two[1].end_time >= two[0].end_time + FAILED_PUSH_INTERVAL));
    assert!(tries.iter().all(|span| span.links.len() <= 32));

    let replicated = collector.named("replicate node1");
    assert_eq!(replicated.len() as u64, written, "every write has its span");
    let first = &replicated[0];
    assert_eq!(attributes(first)["causeway.tries"], (written + 1).to_string());
    let events: Vec<&str> = first.events.iter().map(|event| &*event.name).collect();
    assert_eq!(events.len(), 9, "the first, the last, and how many between");
    assert_eq!(events[4], "more tries failed");
}

#[tokio::test]
async fn flapping_stays_below_the_stated_number_of_spans() {
    let collector = Collector::default();
    let telemetry = start(&collector);
    let observer = telemetry.observer();
    observer.visible(&visible(1, 0, 1, None));
    for ms in (0..60_000).step_by(200) {
        let error = (ms % 400 == 0).then_some("connection-lost");
        try_at(
            &*observer,
            ms,
            if error.is_some() { &[OpRange { origin: ORIGIN, first: 1, last: 1 }] } else { &[] },
            error,
        );
    }
    end(telemetry).await;
    assert_eq!(collector.named("push node1").len(), MAX_FAILED_PUSHES_A_MINUTE);
}

#[tokio::test]
async fn a_burst_larger_than_the_queue_gets_through_whole() {
    let collector = Collector(Arc::new(Shared { pause: Duration::from_millis(10), ..Shared::default() }));
    let telemetry = start(&collector);
    let observer = telemetry.observer();
    (1..=10_000).for_each(|counter| observer.visible(&visible(counter, 1_000, 1, None)));
    observer.acknowledged(PEER, &[range(1, 10_000)], false, &[]);
    end(telemetry).await;
    assert_eq!(collector.named("replicate node1").len(), 10_000);
}

#[tokio::test]
async fn a_collector_that_hangs_holds_nobody_up() {
    let collector = Collector::default();
    collector.set_closed(true);
    let telemetry = start(&collector);
    let observer = telemetry.observer();
    for counter in 1..=50_000 {
        observer.visible(&visible(counter, 1_000, 1, Some(PEER)));
    }
    assert!(!telemetry.shutdown(Duration::from_millis(50)).await, "says that something is left");
    collector.set_closed(false);
}

#[test]
fn tries_that_are_not_remembered_any_more_are_counted_as_far_as_known() {
    let address: Arc<str> = "http://node1:7000".into();
    let mut tries = Tries::default();
    (0..10_000).for_each(|ms| tries.failed(at(ms), "connect", "refused", &address));
    let whole = tries.between(at(0), at(20_000));
    assert_eq!((whole.count, whole.first.len(), whole.last.len()), (10_000, 4, 4));
    assert_eq!((whole.first[0].at, whole.last[3].at), (at(0), at(9_999)));
    let recent = tries.between(at(9_990), at(20_000));
    assert_eq!((recent.count, recent.first.len(), recent.last.len()), (10, 4, 4));
    assert_eq!(tries.between(at(9_998), at(20_000)).count, 2);
    assert_eq!(tries.between(at(20_000), at(30_000)), Default::default());
}

fn from(variables: &[(&str, &str)]) -> Result<Option<TraceOptions>, Vec<BadVariable>> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    TraceOptions::from_environment(|name| variables.get(name).map(|value| value.to_string()))
}

#[test]
fn traces_are_off_until_a_collector_is_named() {
    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317");
    assert_eq!(from(&[]), Ok(None));
    assert_eq!(from(&[("OTEL_TRACES_SAMPLER", "never")]), Ok(None));
    assert_eq!(from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
    assert_eq!(from(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
    assert_eq!(from(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    assert_eq!(from(&[ENDPOINT]), Ok(Some(TraceOptions::new("http://jaeger:4317"))));
    let special = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317");
    assert_eq!(from(&[ENDPOINT, special]).unwrap().unwrap().endpoint, "http://traces:4317");
}

#[test]
fn the_standard_variables_count() {
    let options = from(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317"),
        ("OTEL_SERVICE_NAME", "node0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other, zone=a%2Cb"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
    ]);
    let options = options.unwrap().unwrap();
    let resource: BTreeMap<_, _> = options.resource.into_iter().collect();
    assert_eq!((&*resource["service.name"], &*resource["zone"]), ("node0", "a,b"));
    assert_eq!(options.sampling, Sampling { ratio: 0.25, parent_based: true });
    assert_eq!(options.batch, BatchOptions { queue: 100, batch: 100, delay: Duration::from_millis(200) });
    assert_eq!(options.timeout, Duration::from_secs(3));
}

#[test]
fn every_wrong_variable_is_listed() {
    let wrong = from(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "zone"),
    ]);
    let names: Vec<_> = wrong.unwrap_err().into_iter().map(|bad| bad.name).collect();
    assert_eq!(
        names,
        [
            "OTEL_TRACES_EXPORTER",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "OTEL_TRACES_SAMPLER",
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "OTEL_RESOURCE_ATTRIBUTES"
        ]
    );
    for endpoint in ["jaeger:4317", "https://jaeger:4317", "http://"] {
        let wrong = from(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)]).unwrap_err();
        assert!(wrong[0].to_string().starts_with(&format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is '{endpoint}'")));
    }
    let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
    let wrong = from(&[&ratio[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:4317")]].concat()).unwrap_err();
    assert_eq!(wrong[0].name, "OTEL_TRACES_SAMPLER_ARG");
}
