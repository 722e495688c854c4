//! What the spans look like.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Event, Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use super::recent::SampledOp;
use super::tries::{Between, FailedTry};
use crate::causality::{NodeId, WallMs};
use crate::replica::TraceContext;

/// Makes the spans of one node.
pub(super) struct Spans {
    pub(super) node: NodeId,
    pub(super) tracer: SdkTracer,
}

/// A try that is to become a span.
pub(super) struct Push<'a> {
    pub(super) peer: String,
    pub(super) address: &'a str,
    pub(super) started: SystemTime,
    pub(super) ended: SystemTime,
    /// How many ops it carried, or would have.
    pub(super) ops: u64,
    pub(super) error: Option<(&'static str, &'a str)>,
    /// The recorded ones among them: the span is part of the first one's trace.
    pub(super) sampled: &'a [SampledOp],
}

impl Spans {
    /// An op became visible here.
    pub(super) fn apply(&self, op: &SampledOp, from: NodeId, received: WallMs, at: SystemTime) {
        let mut attributes = self.attributes(op);
        attributes.push(KeyValue::new("causeway.from", i64::from(from.0)));
        attributes.push(KeyValue::new("causeway.entries", op.entries as i64));
        let span = SpanBuilder::from_name("apply").with_kind(SpanKind::Consumer).with_attributes(attributes);
        self.emit(&op.trace, span, time(received), at, None);
    }

    /// A peer has an op that was written here; `by_state`: it got it with this node's whole state.
    pub(super) fn replicate(&self, op: &SampledOp, peer: NodeId, tries: &Between, by_state: bool, at: SystemTime) {
        let mut attributes = self.attributes(op);
        attributes.push(KeyValue::new("causeway.peer", i64::from(peer.0)));
        attributes.push(KeyValue::new("causeway.tries", tries.count as i64 + 1));
        let mut events = events(tries);
        events.extend(by_state.then(|| Event::new("state-transfer", at, Vec::new(), 0)));
        let span = SpanBuilder::from_name(format!("replicate {}", name(peer)))
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes)
            .with_events(events);
        self.emit(&op.trace, span, time(op.accepted), at, None);
    }

    /// A push went out, or failed to.
    pub(super) fn push(&self, push: &Push<'_>) {
        let Some((first, others)) = push.sampled.split_first() else { return };
        let mut attributes = vec![
            KeyValue::new("causeway.node", i64::from(self.node.0)),
            KeyValue::new("causeway.ops", push.ops as i64),
            KeyValue::new("url.full", push.address.to_owned()),
        ];
        attributes.extend(push.error.map(|(error_type, _)| KeyValue::new("error.type", error_type)));
        let links = others.iter().map(|op| Link::with_context(context(&op.trace))).collect();
        let span = SpanBuilder::from_name(format!("push {}", push.peer))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes)
            .with_links(links);
        let status = push.error.map(|(_, message)| Status::error(message.to_owned()));
        self.emit(&first.trace, span, push.started, push.ended, status);
    }

    fn attributes(&self, op: &SampledOp) -> Vec<KeyValue> {
        vec![KeyValue::new("causeway.dot", op.dot.to_string()), KeyValue::new("causeway.node", i64::from(self.node.0))]
    }

    /// A whole span, from its start to its end, below the span of the write.
    fn emit(
        &self,
        write: &TraceContext,
        span: SpanBuilder,
        start: SystemTime,
        end: SystemTime,
        status: Option<Status>,
    ) {
        let parent = Context::new().with_remote_span_context(context(write));
        // Another node's clock, or the hybrid one, may be ahead of this one's.
        let mut span = self.tracer.build_with_context(span.with_start_time(start.min(end)), &parent);
        if let Some(status) = status {
            span.set_status(status);
        }
        span.end_with_timestamp(end);
    }
}

/// What a peer is called.
pub(super) fn name(peer: NodeId) -> String {
    format!("node{peer}")
}

pub(super) fn time(wall: WallMs) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(wall.0)
}

fn context(trace: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(trace.trace_id),
        SpanId::from_bytes(trace.span_id),
        TraceFlags::new(trace.flags),
        true,
        TraceState::default(),
    )
}

/// The first and the last failed tries, and how many are left out between them.
fn events(tries: &Between) -> Vec<Event> {
    let mut events: Vec<Event> = tries.first.iter().map(failed).collect();
    let left_out = tries.count - (tries.first.len() + tries.last.len()) as u64;
    if let (Some(before), true) = (tries.first.last(), left_out > 0) {
        let count = vec![KeyValue::new("causeway.tries", left_out as i64)];
        events.push(Event::new("more tries failed", before.at, count, 0));
    }
    events.extend(tries.last.iter().map(failed));
    events
}

fn failed(failed: &FailedTry) -> Event {
    let attributes = vec![
        KeyValue::new("error.type", failed.error_type),
        KeyValue::new("error.message", failed.message.to_string()),
        KeyValue::new("url.full", failed.address.to_string()),
    ];
    Event::new("try failed", failed.at, attributes, 0)
}
