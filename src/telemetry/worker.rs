//! The thread that makes spans: off every path that a request or an op takes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use prometheus::IntCounter;

use super::BatchOptions;
use super::exporter::Delivery;
use super::observer::Feed;
use super::recent::{Known, Recent, SampledOp};
use super::spans::{Push, Spans, name, time};
use super::tries::Tries;
use crate::causality::{NodeId, WallMs};
use crate::format;
use crate::node::{NodeHandle, Try};
use crate::replica::{LinkId, OpRange};
use crate::storage::BatchLimit;

/// How much may wait for this thread; it is small, whatever the ops hold.
const MAX_EVENTS: usize = 16_384;

/// How many ops are read from the log at a time.
const READ: BatchLimit = BatchLimit { ops: 256, bytes: 1 << 20 };

/// How many ops of a push are looked through for recorded ones, and how many of these it names.
const MAX_LOOKED_THROUGH: u64 = 256;
const MAX_NAMED: usize = 33;

/// Between two lines of log about events that did not fit.
const LOST_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Something that may become spans.
pub(super) enum Event {
    Attach(NodeHandle),
    Applied { op: SampledOp, from: NodeId, received: WallMs, at: SystemTime },
    Acknowledged { peer: NodeId, ops: Vec<OpRange>, by_state: bool, at: SystemTime },
    Tried(Box<Tried>),
    Stop,
}

/// A try that ended.
pub(super) struct Tried {
    link: LinkId,
    node: Option<NodeId>,
    address: Arc<str>,
    started: SystemTime,
    ended: SystemTime,
    ops: Vec<OpRange>,
    error: Option<(&'static str, String)>,
}

impl Tried {
    pub(super) fn of(attempt: &Try<'_>) -> Self {
        Self {
            link: attempt.link,
            node: attempt.node,
            address: attempt.address.into(),
            started: attempt.started,
            ended: attempt.ended,
            ops: attempt.ops.to_vec(),
            error: attempt.error.clone(),
        }
    }
}

/// The running thread.
pub(super) struct Worker {
    events: SyncSender<Event>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(
        node: NodeId,
        tracer: SdkTracer,
        provider: SdkTracerProvider,
        delivery: Arc<Delivery>,
        batch: &BatchOptions,
        all_lost: IntCounter,
    ) -> std::io::Result<(Self, Feed)> {
        let (events, inbox) = sync_channel(MAX_EVENTS);
        let feed = Feed { recent: Arc::default(), events: events.clone(), lost: Arc::default(), all_lost };
        let state = State {
            spans: Spans { node, tracer },
            pace: Pace::new(provider, delivery, batch),
            recent: feed.recent.clone(),
            lost: Lost { count: feed.lost.clone(), logged: None },
            handle: None,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        let thread = thread::Builder::new().name("spans".to_owned()).spawn(move || state.run(&inbox))?;
        Ok((Self { events, thread }, feed))
    }

    /// Works off what there is, and ends. `false`: not by the deadline.
    pub(super) fn stop(self, deadline: Instant) -> bool {
        let pause = Duration::from_millis(2);
        let mut stop = Event::Stop;
        while let Err(TrySendError::Full(event)) = self.events.try_send(stop) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(pause);
            stop = event;
        }
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(pause);
        }
        self.thread.join().is_ok()
    }
}

struct State {
    spans: Spans,
    pace: Pace,
    recent: Arc<Mutex<Recent>>,
    lost: Lost,
    handle: Option<NodeHandle>,
    /// By which link a node is reached.
    peers: BTreeMap<NodeId, LinkId>,
    links: BTreeMap<LinkId, Tries>,
}

impl State {
    fn run(mut self, inbox: &Receiver<Event>) {
        for event in inbox {
            match event {
                Event::Attach(handle) => self.handle = Some(handle),
                Event::Applied { op, from, received, at } => {
                    self.spans.apply(&op, from, received, at);
                    self.pace.note();
                }
                Event::Acknowledged { peer, ops, by_state, at } => self.acknowledged(peer, &ops, by_state, at),
                Event::Tried(tried) => self.tried(&tried),
                Event::Stop => return,
            }
            self.lost.log();
        }
    }

    fn acknowledged(&mut self, peer: NodeId, ops: &[OpRange], by_state: bool, at: SystemTime) {
        for range in ops {
            let mut rest = Some(*range);
            while let Some(range) = rest {
                let (sampled, next) = self.sampled(range);
                for op in sampled {
                    let tries = self.peers.get(&peer).and_then(|link| self.links.get(link));
                    let between = tries.map(|tries| tries.between(time(op.accepted), at)).unwrap_or_default();
                    self.spans.replicate(&op, peer, &between, by_state, at);
                    self.pace.note();
                }
                rest = next;
            }
        }
    }

    fn tried(&mut self, tried: &Tried) {
        if let Some(node) = tried.node {
            self.peers.insert(node, tried.link);
        }
        let tries = self.links.entry(tried.link).or_default();
        let first = tries.is_succeeding();
        match &tried.error {
            None => tries.succeeded(),
            Some((error_type, message)) => tries.failed(tried.ended, error_type, message, &tried.address),
        }
        if tried.error.is_some() && !tries.may_show(tried.ended, first) {
            return;
        }
        let sampled = self.first_sampled(&tried.ops);
        if sampled.is_empty() {
            return;
        }
        if let (Some(_), Some(tries)) = (&tried.error, self.links.get_mut(&tried.link)) {
            tries.shown(tried.ended);
        }
        self.spans.push(&Push {
            peer: tried.node.map_or_else(|| tried.address.to_string(), name),
            address: &tried.address,
            started: tried.started,
            ended: tried.ended,
            ops: tried.ops.iter().map(OpRange::count).sum(),
            error: tried.error.as_ref().map(|(error_type, message)| (*error_type, message.as_str())),
            sampled: &sampled,
        });
        self.pace.note();
    }

    /// The recorded ops at the start of these ranges, a few.
    fn first_sampled(&self, ranges: &[OpRange]) -> Vec<SampledOp> {
        let mut found = Vec::new();
        let mut left = MAX_LOOKED_THROUGH;
        for range in ranges {
            let mut rest = Some(OpRange { last: range.last.min(range.first + left - 1), ..*range });
            left -= rest.as_ref().map_or(0, OpRange::count).min(left);
            while let Some(range) = rest {
                let (sampled, next) = self.sampled(range);
                found.extend(sampled);
                rest = next;
            }
            if left == 0 || found.len() >= MAX_NAMED {
                break;
            }
        }
        found.truncate(MAX_NAMED);
        found
    }

    /// The recorded ops at the start of a range, and the rest of it.
    fn sampled(&self, range: OpRange) -> (Vec<SampledOp>, Option<OpRange>) {
        let known = self.recent.lock().unwrap_or_else(PoisonError::into_inner).start_of(range);
        let (sampled, through) = match known {
            Known::Sampled(sampled, through) => (sampled, through),
            Known::Nothing(through) => self.read(OpRange { last: through, ..range }),
        };
        let rest = OpRange { first: through + 1, ..range };
        (sampled, Some(rest).filter(|rest| rest.count() > 0))
    }

    /// Reads the start of a range from the log. What is not there, or can't be read, has no spans.
    fn read(&self, range: OpRange) -> (Vec<SampledOp>, u64) {
        let Some(handle) = &self.handle else { return (Vec::new(), range.last) };
        match handle.ops(&[range], READ) {
            Ok(stored) => {
                let through = stored.last().map_or(range.last, |op| op.dot.counter);
                let ops = stored.iter().filter_map(|op| format::op::decode(&op.bytes).ok());
                (ops.filter_map(|op| SampledOp::of(&op)).collect(), through)
            }
            Err(error) => {
                tracing::debug!(%error, "ops can't be read for their spans");
                (Vec::new(), range.last)
            }
        }
    }
}

/// Keeps bursts (a peer that catches up) from overflowing the queue of the exporter, which drops what does
/// not fit: waits for it now and then. Nobody waits for this thread.
struct Pace {
    provider: SdkTracerProvider,
    delivery: Arc<Delivery>,
    burst: usize,
    delay: Duration,
    since: usize,
    flushed: Instant,
}

impl Pace {
    fn new(provider: SdkTracerProvider, delivery: Arc<Delivery>, batch: &BatchOptions) -> Self {
        let (burst, delay) = ((batch.queue / 4).max(1), batch.delay);
        Self { provider, delivery, burst, delay, since: 0, flushed: Instant::now() }
    }

    /// A span was made.
    fn note(&mut self) {
        self.since += 1;
        if self.since < self.burst {
            return;
        }
        // Slower than a burst, the exporter has taken them by itself. Without a collector they are lost anyway.
        if self.flushed.elapsed() < self.delay && !self.delivery.is_failing() {
            // If it fails, that has been noted and logged.
            let _ = self.provider.force_flush();
        }
        self.since = 0;
        self.flushed = Instant::now();
    }
}

/// Says, not too often, that events did not fit.
struct Lost {
    count: Arc<AtomicU64>,
    logged: Option<Instant>,
}

impl Lost {
    fn log(&mut self) {
        if self.count.load(Ordering::Relaxed) == 0 || self.logged.is_some_and(|at| at.elapsed() < LOST_LOG_INTERVAL) {
            return;
        }
        let lost = self.count.swap(0, Ordering::Relaxed);
        self.logged = Some(Instant::now());
        tracing::warn!(lost, "spans can't keep up with the load: those of {lost} events are left out");
    }
}
