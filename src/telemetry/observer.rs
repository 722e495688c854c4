//! What the node and its senders call: returns at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus::IntCounter;

use super::recent::{Recent, SampledOp};
use super::spans::name;
use super::worker::{Event, Tried};
use crate::causality::{Dot, NodeId};
use crate::node::{NodeHandle, Observer, Try};
use crate::replica::{LinkId, OpRange, PeerChange, View, Visible};

/// The way to the thread that makes spans.
pub(super) struct Feed {
    pub(super) recent: Arc<Mutex<Recent>>,
    pub(super) events: SyncSender<Event>,
    /// Events that did not fit, since that was last logged and since the start.
    pub(super) lost: Arc<AtomicU64>,
    pub(super) all_lost: IntCounter,
}

impl Feed {
    fn send(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.all_lost.inc();
        }
    }
}

/// Logs, and feeds the thread that makes spans if there is one.
pub(super) struct Watcher {
    /// Whom it watches.
    own: NodeId,
    spans: Option<Feed>,
    /// The last failure of each link: the reason when it is said to be away.
    failures: Mutex<BTreeMap<LinkId, Failure>>,
    /// Links whose peer names this node as removed, and that this was said of.
    removed: Mutex<BTreeSet<LinkId>>,
    /// Since when the delivery buffer is full.
    full_since: Mutex<Option<Instant>>,
}

struct Failure {
    address: String,
    error_type: &'static str,
    message: String,
}

impl Watcher {
    pub(super) fn new(own: NodeId, spans: Option<Feed>) -> Self {
        Self { own, spans, failures: Mutex::default(), removed: Mutex::default(), full_since: Mutex::default() }
    }

    pub(super) fn attach(&self, handle: NodeHandle) {
        if let Some(feed) = &self.spans {
            feed.send(Event::Attach(handle));
        }
    }

    fn note_failure(&self, attempt: &Try<'_>) {
        let Some((error_type, message)) = &attempt.error else { return };
        tracing::debug!(address = attempt.address, error.type = error_type, error = message, "a try to reach a peer failed");
        let failure = Failure { address: attempt.address.to_owned(), error_type, message: message.clone() };
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt.link, failure);
    }
}

/// The `error.type` of a push that was refused because its receiver names this node as removed.
const REMOVED: &str = "removed";

impl Watcher {
    /// Says once that a peer refuses this node for good, until the peer takes a push again.
    fn note_removed(&self, attempt: &Try<'_>) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        match &attempt.error {
            None => drop(removed.remove(&attempt.link)),
            Some((error_type, message)) if *error_type == REMOVED && removed.insert(attempt.link) => tracing::warn!(
                address = attempt.address,
                "{message}: it takes nothing from this node any more. If that is right, stop this node; else take its \
                 id out of CAUSEWAY_REMOVED there"
            ),
            Some(_) => {}
        }
    }
}

impl Observer for Watcher {
    fn visible(&self, visible: &Visible) {
        let Some(feed) = &self.spans else { return };
        match (visible.from, SampledOp::of(&visible.op)) {
            (None, _) => feed.recent.lock().unwrap_or_else(PoisonError::into_inner).note(&visible.op),
            (Some(from), Some(op)) => {
                feed.send(Event::Applied { op, from, received: visible.received, at: SystemTime::now() });
            }
            (Some(_), None) => {}
        }
    }

    fn acknowledged(&self, peer: NodeId, ops: &[OpRange], by_state: bool, _: &[(u64, Duration)]) {
        let Some(feed) = &self.spans else { return };
        feed.send(Event::Acknowledged { peer, ops: ops.to_vec(), by_state, at: SystemTime::now() });
    }

    fn peer(&self, link: LinkId, node: Option<NodeId>, change: PeerChange) {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = failures.get(&link);
        let address = failure.map_or("", |failure| &failure.address);
        let peer = node.map_or_else(|| address.to_owned(), name);
        match change {
            PeerChange::Away => {
                let (error_type, error) =
                    failure.map_or(("", ""), |failure| (failure.error_type, failure.message.as_str()));
                tracing::warn!(peer, address, error.type = error_type, error, "peer {peer} is away");
            }
            PeerChange::Back { away_ms, lacks } => {
                let seconds = away_ms as f64 / 1e3;
                tracing::info!(
                    peer,
                    address,
                    away_ms,
                    lacks,
                    "peer {peer} is back after {seconds:.1} s, lacks {lacks} ops"
                );
            }
        }
    }

    fn twin(&self, node: NodeId, seen: bool) {
        let own = self.own == node;
        match (seen, own) {
            (true, true) => tracing::warn!(
                twin = node.0,
                "another living process has the id of this node, {node}: a copy of its data was started, or a second \
                 node was given that id; the writes of both are kept, but stop one of them, and give it an id and data \
                 of its own if it is to run"
            ),
            (true, false) => tracing::warn!(
                twin = node.0,
                "two living processes have the id {node}: see which of them should not, and stop it; the writes of \
                 both are kept"
            ),
            (false, _) => tracing::info!(twin = node.0, "no two processes have the id {node} any more"),
        }
    }

    fn tried(&self, attempt: &Try<'_>) {
        self.note_failure(attempt);
        self.note_removed(attempt);
        if let Some(feed) = &self.spans {
            feed.send(Event::Tried(Box::new(Tried::of(attempt))));
        }
    }

    fn committed(&self, _: usize, _: Duration) {}

    fn unknown_member(&self, node: NodeId) {
        tracing::warn!(
            node = node.0,
            "node {node} pushes to this node and is not in its CAUSEWAY_PEERS: what it brings is taken, and nothing is \
             sent to it from here; `causeway members` shows which nodes have it in their lists"
        );
    }

    fn delivery_buffer(&self, view: &View) {
        let mut since = self.full_since.lock().unwrap_or_else(PoisonError::into_inner);
        let ops = view.waiting_ops;
        if view.buffer_full {
            *since = Some(Instant::now());
            let waits_for = view.waiting_for.iter().map(Dot::to_string).collect::<Vec<_>>().join(",");
            tracing::warn!(
                ops,
                bytes = view.waiting_bytes,
                waits_for,
                "the delivery buffer is full: more ops are refused until some of those came that the {ops} in it wait for"
            );
        } else {
            let seconds = since.take().map_or(0.0, |since| since.elapsed().as_secs_f64());
            tracing::info!(ops, "the delivery buffer has room again after {seconds:.1} s");
        }
    }
}
