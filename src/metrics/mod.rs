//! Metrics of one node, for Prometheus: docs/metrics.md lists them all, with those of `http` and `listen`.
//!
//! [`NodeMetrics`] watches a node as its [`Observer`] and counts what happens; what is a state and not an event
//! ([`scraped`]) is looked up when somebody asks. All of it goes into a registry that `main` makes, one a node.
//! [`process`] adds what the process takes of its machine. [`limits`] says in the log when a limit is reached and when that is over.
//!
//! Promises: counting returns at once, and is bounded in memory; labels are of closed sets: peers by their configured
//! id or address, outcomes by the words of `error.type`. Must not put a key, or anything else that a client chose, into
//! a label.

pub mod limits;
pub mod process;
mod scraped;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Histogram, IntCounter, IntCounterVec, Registry, register_histogram_vec_with_registry,
    register_histogram_with_registry, register_int_counter_vec_with_registry,
};

use crate::causality::{NodeId, WallMs};
use crate::node::{AdmissionLimit, NodeHandle, Observer, Try, wall_now};
use crate::replica::{LinkId, OpRange, PeerChange, View, Visible};
use scraped::Scraped;

/// Upper bounds, in seconds: of a sync of a fast disk up to one that hangs.
const COMMIT_SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const COMMIT_OPS: [f64; 13] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];
/// Of clocks with milliseconds: of a network at hand up to a partition of a day.
const REPLICATION_SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0,
];

/// The outcome of a push that was answered.
const OK: &str = "ok";

const UNIQUE: &str = "these are valid, and each node has a registry of its own";

/// A configured peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its id, where that is configured.
    pub node: Option<NodeId>,
    /// Where it is reached.
    pub address: String,
}

impl Peer {
    /// What it is called in labels: the same as long as this process runs.
    fn label(&self) -> String {
        self.node.map_or_else(|| self.address.clone(), |node| format!("node{node}"))
    }
}

/// What there is to know of a node besides what it says itself.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// The configured peers, in their order there.
    pub peers: Vec<Peer>,
    /// How much may wait for its disk.
    pub admission: AdmissionLimit,
    /// How many ops its delivery buffer may have.
    pub max_delivery_buffer_ops: usize,
    /// How many bytes its delivery buffer may have.
    pub max_delivery_buffer_bytes: usize,
    /// What of the source this program was built from, if that is known.
    pub revision: Option<&'static str>,
}

/// Counts what a node does.
pub struct NodeMetrics {
    commit_seconds: Histogram,
    commit_ops: Histogram,
    apply_seconds: Histogram,
    peers: Vec<PeerMetrics>,
    newest_reading: Arc<AtomicU64>,
    started: WallMs,
}

struct PeerMetrics {
    label: String,
    /// Its id, as far as it is known.
    node: Mutex<Option<NodeId>>,
    acknowledged_seconds: Histogram,
    /// By outcome.
    pushes: IntCounterVec,
    pushed_ops: IntCounter,
}

impl PeerMetrics {
    fn register(registry: &Registry, peers: &[Peer]) -> Vec<Self> {
        let acknowledged = register_histogram_vec_with_registry!(
            "causeway_acknowledgement_latency_seconds",
            "From the acceptance of a write on this node to when the peer said that it has it on disk.",
            &["peer"],
            REPLICATION_SECONDS.to_vec(),
            registry
        );
        let pushes = register_int_counter_vec_with_registry!(
            "causeway_pushes_total",
            "Tries to push to a peer, with ops or without, by how they ended: ok, or the error.type that traces show.",
            &["peer", "outcome"],
            registry
        );
        let pushed_ops = register_int_counter_vec_with_registry!(
            "causeway_pushed_ops_total",
            "Ops in pushes that the peer answered.",
            &["peer"],
            registry
        );
        let (acknowledged, pushes, pushed_ops) =
            (acknowledged.expect(UNIQUE), pushes.expect(UNIQUE), pushed_ops.expect(UNIQUE));
        let of_peer = |peer: &Peer| {
            let label = peer.label();
            pushes.with_label_values(&[&*label, OK]);
            Self {
                node: Mutex::new(peer.node),
                acknowledged_seconds: acknowledged.with_label_values(&[&label]),
                pushes: pushes.clone(),
                pushed_ops: pushed_ops.with_label_values(&[&label]),
                label,
            }
        };
        peers.iter().map(of_peer).collect()
    }
}

impl NodeMetrics {
    /// Counts in a registry, of which each node has one of its own.
    pub fn register(registry: &Registry, options: &MetricsOptions) -> Self {
        Self {
            commit_seconds: histogram(
                registry,
                "causeway_commit_duration_seconds",
                "How long it took to make a group of ops durable.",
                &COMMIT_SECONDS,
            ),
            commit_ops: histogram(registry, "causeway_commit_ops", "Ops made durable by one commit.", &COMMIT_OPS),
            apply_seconds: histogram(
                registry,
                "causeway_apply_latency_seconds",
                "From a write's acceptance on another node, by that node's clock, to its visibility here, by this one's.",
                &REPLICATION_SECONDS,
            ),
            peers: PeerMetrics::register(registry, &options.peers),
            newest_reading: Arc::default(),
            started: wall_now(),
        }
    }

    /// Adds what is looked up in the node when somebody asks.
    pub fn attach(&self, registry: &Registry, handle: NodeHandle, options: MetricsOptions) {
        let scraped = Scraped::new(handle, options, self.newest_reading.clone(), self.started);
        registry.register(Box::new(scraped)).expect(UNIQUE);
    }
}

fn histogram(registry: &Registry, name: &str, help: &str, bounds: &[f64]) -> Histogram {
    register_histogram_with_registry!(name, help, bounds.to_vec(), registry).expect(UNIQUE)
}

impl Observer for NodeMetrics {
    fn visible(&self, visible: &Visible) {
        let reading = visible.op.hlc.wall();
        // Looked at first, because hardly any op that others bring has the newest.
        if self.newest_reading.load(Ordering::Relaxed) < reading.0 {
            self.newest_reading.fetch_max(reading.0, Ordering::Relaxed);
        }
        if visible.from.is_some() {
            self.apply_seconds.observe(seconds_since(reading, wall_now()));
        }
    }

    fn acknowledged(&self, peer: NodeId, _: &[OpRange], _: bool, latencies: &[(u64, Duration)]) {
        let Some(peer) = self.peers.iter().find(|known| *lock(&known.node) == Some(peer)) else { return };
        let observed = peer.acknowledged_seconds.local();
        for (count, latency) in latencies {
            (0..*count).for_each(|_| observed.observe(latency.as_secs_f64()));
        }
        observed.flush();
    }

    fn peer(&self, _: LinkId, _: Option<NodeId>, _: PeerChange) {}

    fn twin(&self, _: NodeId, _: bool) {}

    fn tried(&self, attempt: &Try<'_>) {
        let Some(peer) = self.peers.get(attempt.link.0) else { return };
        let outcome = attempt.error.as_ref().map_or(OK, |(error_type, _)| *error_type);
        peer.pushes.with_label_values(&[&*peer.label, outcome]).inc();
        if attempt.error.is_none() {
            peer.pushed_ops.inc_by(attempt.ops.iter().map(OpRange::count).sum());
            *lock(&peer.node) = attempt.node;
        }
    }

    fn committed(&self, ops: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_ops.observe(ops as f64);
    }

    fn delivery_buffer(&self, _: &View) {}

    fn unknown_member(&self, _: NodeId) {}
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 0 where clocks say that it is not in the past.
fn seconds_since(at: WallMs, now: WallMs) -> f64 {
    now.0.saturating_sub(at.0) as f64 / 1e3
}
