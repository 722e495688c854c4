//! What a node tells whoever watches it (telemetry, metrics). Calls come from the node's own threads or a sender's
//! task: they must return at once and never fail.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::causality::NodeId;
use crate::replica::{LinkId, OpRange, PeerChange, View, Visible};

/// Watches a node.
pub trait Observer: Send + Sync + 'static {
    /// An op became visible here.
    fn visible(&self, visible: &Visible);

    /// A peer's statement says that it now has these ops of this node; `by_state`: it got them with this node's whole state.
    /// `latencies`: how many of them how long after their acceptance, as far as this run of the node knows.
    fn acknowledged(&self, peer: NodeId, ops: &[OpRange], by_state: bool, latencies: &[(u64, Duration)]);

    /// A peer can't be reached or is back.
    fn peer(&self, link: LinkId, node: Option<NodeId>, change: PeerChange);

    /// Two living processes have one node id, this node's or another's, or they have it no more.
    fn twin(&self, node: NodeId, seen: bool);

    /// A try to reach a peer ended.
    fn tried(&self, attempt: &Try<'_>);

    /// A commit is durable: so many ops, in such a time.
    fn committed(&self, ops: usize, took: Duration);

    /// The delivery buffer filled up ([`View::buffer_full`]) or has room again.
    fn delivery_buffer(&self, view: &View);

    /// A node that is not in the list pushed, for the first time in this run.
    fn unknown_member(&self, node: NodeId);
}

/// One try to reach a peer.
#[derive(Clone, Debug)]
pub struct Try<'a> {
    /// The peer.
    pub link: LinkId,
    /// Its id, if it has ever said.
    pub node: Option<NodeId>,
    /// Where it was tried.
    pub address: &'a str,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// The ops it was about: carried, or waiting while the peer does not answer.
    pub ops: &'a [OpRange],
    /// `None` when the peer answered; else the `error.type` of the span (a short stable word such as
    /// `connect`, `timeout`, `misdirected`) and a sentence.
    pub error: Option<(&'static str, String)>,
}

/// Watches nothing.
pub struct NoObserver;

impl Observer for NoObserver {
    fn visible(&self, _: &Visible) {}
    fn acknowledged(&self, _: NodeId, _: &[OpRange], _: bool, _: &[(u64, Duration)]) {}
    fn peer(&self, _: LinkId, _: Option<NodeId>, _: PeerChange) {}
    fn twin(&self, _: NodeId, _: bool) {}
    fn tried(&self, _: &Try<'_>) {}
    fn committed(&self, _: usize, _: Duration) {}
    fn delivery_buffer(&self, _: &View) {}
    fn unknown_member(&self, _: NodeId) {}
}

/// Two that watch the same node.
pub struct Both(
    /// Told first.
    pub Arc<dyn Observer>,
    /// Told after it.
    pub Arc<dyn Observer>,
);

impl Observer for Both {
    fn visible(&self, visible: &Visible) {
        self.0.visible(visible);
        self.1.visible(visible);
    }

    fn acknowledged(&self, peer: NodeId, ops: &[OpRange], by_state: bool, latencies: &[(u64, Duration)]) {
        self.0.acknowledged(peer, ops, by_state, latencies);
        self.1.acknowledged(peer, ops, by_state, latencies);
    }

    fn peer(&self, link: LinkId, node: Option<NodeId>, change: PeerChange) {
        self.0.peer(link, node, change);
        self.1.peer(link, node, change);
    }

    fn twin(&self, node: NodeId, seen: bool) {
        self.0.twin(node, seen);
        self.1.twin(node, seen);
    }

    fn tried(&self, attempt: &Try<'_>) {
        self.0.tried(attempt);
        self.1.tried(attempt);
    }

    fn committed(&self, ops: usize, took: Duration) {
        self.0.committed(ops, took);
        self.1.committed(ops, took);
    }

    fn delivery_buffer(&self, view: &View) {
        self.0.delivery_buffer(view);
        self.1.delivery_buffer(view);
    }

    fn unknown_member(&self, node: NodeId) {
        self.0.unknown_member(node);
        self.1.unknown_member(node);
    }
}
