//! What a node tells whoever watches it (telemetry). Calls come from the node's own thread or a sender's
//! task: they must return at once and never fail.

use std::time::SystemTime;

use crate::causality::NodeId;
use crate::replica::{LinkId, OpRange, PeerChange, Visible};

/// Watches a node.
pub trait Observer: Send + Sync + 'static {
    /// An op became visible here.
    fn visible(&self, visible: &Visible);

    /// A peer's statement says that it now has these ops of this node.
    fn acknowledged(&self, peer: NodeId, ops: &[OpRange]);

    /// A peer can't be reached or is back.
    fn peer(&self, link: LinkId, node: Option<NodeId>, change: PeerChange);

    /// A try to reach a peer ended.
    fn tried(&self, attempt: &Try<'_>);
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
    fn acknowledged(&self, _: NodeId, _: &[OpRange]) {}
    fn peer(&self, _: LinkId, _: Option<NodeId>, _: PeerChange) {}
    fn tried(&self, _: &Try<'_>) {}
}
