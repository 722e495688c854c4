//! What goes into a replica and what comes out of it: closed sets, both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::{Answer, Push, Rejection};
use super::op::{Key, Op, TraceContext, Value};
use super::protocol::Protocol;
use super::repeats::KeyedOps;
use super::siblings::Siblings;
use crate::causality::{Ancestry, CausalContext, Dot, Hlc, NodeId, Origin, VersionVector, WallMs};

/// Time since the process started, in milliseconds; never goes back. Comes in from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonoMs(pub u64);

impl MonoMs {
    /// Milliseconds from `earlier` to this; 0 if it is not earlier.
    pub fn since(self, earlier: MonoMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For intervals.
    pub mono: MonoMs,
    /// For the hybrid clock.
    pub wall: WallMs,
}

/// Names a request whose answer is to come, chosen by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A configured peer, by its place in the configured list without this node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub usize);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client wants to write.
    Write {
        /// To be named in the answer.
        request: RequestId,
        /// What it wants.
        write: Write,
    },
    /// A peer pushed to this node.
    Push {
        /// To be named in the answer.
        request: RequestId,
        /// What it said.
        push: Push,
    },
    /// A peer answered what [`Effect::Send`] asked to be sent.
    Answered {
        /// The peer.
        link: LinkId,
        /// The last op of each origin that the push carried.
        carried: Vec<Dot>,
        /// Its answer.
        answer: Answer,
    },
    /// What [`Effect::Send`] asked to be sent could not be sent, was not answered in time, or was rejected.
    SendFailed {
        /// The peer.
        link: LinkId,
        /// Its reason, when it gave one.
        rejection: Option<Rejection>,
    },
    /// A peer answered a piece of this node's state that [`Effect::Send`] asked to be sent.
    StateAnswered {
        /// The peer.
        link: LinkId,
        /// Its answer, as to a push without ops.
        answer: Answer,
        /// Whether it made anything of the piece. Else it is busy, with another node's state or with what it got of this one,
        /// or this one does not fit what it has; it is left in peace for a while.
        taken: bool,
    },
    /// The log has no more what `floor` includes, besides what it had lost before.
    Trimmed {
        /// All ops before the first that is left.
        floor: VersionVector,
    },
    /// A peer's state was merged into this node's, and the store goes on from there. Only while nothing is staged that is
    /// not persisted.
    Adopted(Box<Adopted>),
    /// Whether stored keys are damaged, so that a peer's whole state is wanted in their place.
    WantsState(bool),
    /// Everything appended up to this position of the log is durable.
    Persisted {
        /// A position that an [`Append`] named.
        through: u64,
    },
    /// A commit failed. What was appended and not yet persisted is lost to this process (it may turn up
    /// after a restart), and nothing more may be appended.
    PersistFailed,
    /// Time passed. Wanted when something is [due](super::Replica::due), at most [`TICK_MS`](super::TICK_MS) later.
    Tick,
}

/// Something to be done by the shell, in order.
#[derive(Clone, Debug)]
#[must_use]
pub enum Effect {
    /// Make this durable, in this order and atomically with the [`Checkpoint`] that goes
    /// with the last of a group; then say [`Input::Persisted`].
    Append(Append),
    /// Answer a write.
    Written {
        /// The write's request.
        request: RequestId,
        /// How it went.
        outcome: Result<Written, WriteError>,
    },
    /// Answer a push.
    Pushed {
        /// The push's request.
        request: RequestId,
        /// How it went.
        outcome: Result<Answer, Rejection>,
    },
    /// Send a push to a peer, with ops read from the log or a piece of the state; then say [`Input::Answered`],
    /// [`Input::StateAnswered`] or [`Input::SendFailed`], one of them, once. Until then nothing more is sent to that peer.
    Send(Send),
    /// An op became visible on this node.
    Visible(Visible),
    /// A peer's statement says that it now has more of this node's own ops.
    Acknowledged {
        /// The peer.
        peer: NodeId,
        /// The ops, of origins of this node.
        ops: Vec<OpRange>,
        /// Whether it got them with a state.
        by_state: bool,
    },
    /// A peer can't be reached or is back. Said once a change.
    Peer {
        /// Which.
        link: LinkId,
        /// Its id, if it has ever said.
        node: Option<NodeId>,
        /// What is the case now.
        change: PeerChange,
    },
    /// Two living processes have one node id, this node's or another's, or they have it no more. Said once a change.
    Twin {
        /// The id.
        node: NodeId,
        /// Whether they have.
        seen: bool,
    },
    /// A node of the same cluster that is not in the list pushed, for the first time in this run. The push was taken.
    UnknownMember {
        /// Its id.
        node: NodeId,
    },
}

/// A client's write, already checked for sizes: at least one entry, no key empty or twice.
#[derive(Clone, Debug)]
pub struct Write {
    /// Key and value; `None` deletes.
    pub entries: Vec<(Key, Option<Value>)>,
    /// What it replaces.
    pub replaces: Replaces,
    /// The span of the client's request.
    pub trace: Option<TraceContext>,
    /// What makes it one op however often it is sent, if the client wants that.
    pub once: Option<Once>,
}

/// By what a write that is sent again is known, and answered.
#[derive(Clone, Debug)]
pub struct Once {
    /// The client's name for the write: 1 to [`MAX_IDEMPOTENCY_KEY_BYTES`](super::MAX_IDEMPOTENCY_KEY_BYTES) bytes.
    pub key: Arc<str>,
    /// What the client has seen besides, which an answer to a repeat goes on from.
    pub context: CausalContext,
}

/// Which siblings a write replaces.
#[derive(Clone, Debug)]
pub enum Replaces {
    /// All that this node holds for the key.
    Held,
    /// Only those that the client has seen. The shell has waited until this node includes the context.
    Seen(CausalContext),
}

/// A write that is durable on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The op's name.
    pub dot: Dot,
    /// What its client has seen now.
    pub context: CausalContext,
    /// Whether it was written by an earlier request, of which this was a repeat.
    pub replayed: bool,
}

/// A write that was not accepted. Nothing changed, except where it says that this is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It would add a sibling to a key that has the most it may have.
    #[error(
        "key '{key}' has {siblings} siblings, the limit is {limit}: read it and write with the context of that read"
    )]
    TooManySiblings {
        /// The key.
        key: Key,
        /// How many it has.
        siblings: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The op that has its idempotency key has other entries.
    #[error("the idempotency key was used before, for the write {dot}, which has other keys or values")]
    KeyReused {
        /// That op.
        dot: Dot,
    },
    /// It would open an incarnation, and this node has had as many as it may.
    #[error(
        "this node's id has had {limit} incarnations, one for each start that was followed by a write, and may have no \
         more: put a node with another id in its place"
    )]
    TooManyIncarnations {
        /// How many it may have had.
        limit: usize,
    },
    /// An earlier commit failed.
    #[error("this node is read-only until it is restarted: a commit failed")]
    ReadOnly,
    /// The commit of this write failed: it may or may not be there after a restart.
    #[error(
        "the outcome of this write is unknown: its commit failed, and this node is read-only until it is restarted"
    )]
    OutcomeUnknown,
    /// What the write replaces could not be read.
    #[error("a stored record can't be read: {0}")]
    Unreadable(String),
}

/// One op to be made durable, with all that follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Its place in this node's log. Positions start at 1 and have no gaps, but for where a peer's state was adopted: there
    /// they leap ([`LEAP`](super::LEAP)).
    pub position: u64,
    /// The op.
    pub op: Arc<Op>,
    /// The siblings of every key it writes, after it. Empty: the key is removed.
    pub states: Vec<(Key, Siblings)>,
}

/// What is stored with every commit: the replica's state apart from the keys and the log, as of the last op
/// appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// All ops applied.
    pub vector: VersionVector,
    /// The position of the last of them.
    pub position: u64,
    /// The highest clock reading.
    pub hlc: Hlc,
    /// Counts over all keys.
    pub totals: Totals,
}

/// Counts over all keys of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys that have a value.
    pub keys: u64,
    /// Keys that have more than one.
    pub conflicts: u64,
    /// Values of all keys together.
    pub siblings: u64,
}

/// What a replica starts from: nothing (`Recovered::default()`) or what a store holds.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// As of the last commit.
    pub checkpoint: Checkpoint,
    /// The parents of every incarnation ever applied.
    pub ancestry: Ancestry,
    /// The ops at the end of the log that have an idempotency key.
    pub keyed: KeyedOps,
    /// What the log does not have (any more), although the state includes it.
    pub floor: VersionVector,
}

/// What a store holds after another node's state was merged into its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// As of the merged state. Its position lies far ahead of the last op before it: siblings that came with the state
    /// arrived in between.
    pub checkpoint: Checkpoint,
    /// The parents of every incarnation that either state knew.
    pub ancestry: Ancestry,
    /// What the log does not have after it.
    pub floor: VersionVector,
}

/// Consecutive ops of one origin, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpRange {
    /// Whose.
    pub origin: Origin,
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl OpRange {
    /// How many ops.
    pub fn count(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// A push to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// To whom.
    pub link: LinkId,
    /// The push, without ops.
    pub push: Push,
    /// The ops it is about, all durable. Unless it is a probe or a piece of the state, they are of the log, and the shell
    /// sends as many as fit a batch, in order of their positions.
    pub ops: Vec<OpRange>,
    /// Whether it is just a digest: there are no ops to send, or the peer does not answer, and they only say what waits
    /// for it.
    pub probe: bool,
    /// Whether to send the next piece of this node's whole state instead, and then say [`Input::StateAnswered`] or
    /// [`Input::SendFailed`]: the peer lacks some of `ops` that the log does not have any more, or its own state is damaged.
    /// Without a piece at hand a digest does. Never of a probe.
    pub state: bool,
}

/// An op that readers see from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    /// The op.
    pub op: Arc<Op>,
    /// The peer that brought it; `None` for a client's write here.
    pub from: Option<NodeId>,
    /// When this node first got it.
    pub received: WallMs,
}

/// How a peer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerChange {
    /// It doesn't answer any more.
    Away,
    /// It answers again.
    Back {
        /// How long it did not, in milliseconds.
        away_ms: u64,
        /// How many ops of this node's log it lacks.
        lacks: u64,
    },
}

/// What a replica knows, for status and for those who wait: published by the shell after each commit.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// All that is visible.
    pub vector: VersionVector,
    /// The place in this node's log of the last op of it; 0 before the first.
    pub position: u64,
    /// The ancestry that goes with it.
    pub ancestry: Arc<Ancestry>,
    /// What the log does not have (any more) of it.
    pub floor: VersionVector,
    /// What is known of each peer, in the order of the configured list.
    pub links: Vec<LinkView>,
    /// Counts over all keys.
    pub totals: Totals,
    /// Whether a commit failed.
    pub read_only: bool,
    /// Whether the next write would open an incarnation, and this node has had as many as it may.
    pub out_of_incarnations: bool,
    /// Ops in the delivery buffer.
    pub waiting_ops: usize,
    /// Bytes of their keys and values.
    pub waiting_bytes: usize,
    /// Whether the delivery buffer has refused ops, and still holds more than half of what it may.
    pub buffer_full: bool,
    /// What ops in the delivery buffer wait for.
    pub waiting_for: BTreeSet<Dot>,
    /// Ops received from peers: all, and those this node had before.
    pub received_ops: u64,
    /// Of these, those it had before.
    pub redundant_ops: u64,
    /// Pushes that brought them.
    pub received_pushes: u64,
    /// How often in this run a peer's state was merged into this node's.
    pub adoptions: u64,
    /// The node ids, this node's or others', that two living processes have, and since when that is known.
    pub twins: BTreeMap<NodeId, WallMs>,
    /// Nodes that pushed and are not in the list, and when each was last heard; a few.
    pub unknown_members: BTreeMap<NodeId, WallMs>,
}

impl View {
    /// How many incarnations each node has had.
    pub fn incarnations(&self) -> BTreeMap<NodeId, usize> {
        let nodes: BTreeSet<NodeId> = self.vector.entries().map(|last| last.origin.node).collect();
        nodes.into_iter().map(|node| (node, self.ancestry.incarnations(&self.vector, node))).collect()
    }
}

/// What is known of one peer.
#[derive(Clone, Debug, Default)]
pub struct LinkView {
    /// Its id, if it has ever said.
    pub node: Option<NodeId>,
    /// Since when it does not answer.
    pub away_since: Option<WallMs>,
    /// When it last answered or was heard.
    pub heard: Option<WallMs>,
    /// Its newest statement of itself.
    pub vector: Option<VersionVector>,
    /// How far it said that it has origins that its vector includes by implication only. What it lacks is worked
    /// out for who asks ([`View::lacks`]): the view is made far more often than that.
    pub implied: Vec<Dot>,
    /// What it speaks, if it was ever heard.
    pub protocol: Option<Protocol>,
}
