//! The replica: one node's part of the protocol, as a pure state machine.
//!
//! [`Replica::handle`] takes an [`Input`] with the time it happened and returns [`Effect`]s to be carried out
//! in order. The same code runs in production and in tests that simulate a cluster. Nothing in here may use a
//! clock, randomness, a thread, a socket, a file, or the order of a hash map.
//!
//! # Stage, persist, apply
//!
//! A client's write, or a peer's op whose turn has come, is *staged*: it gets the next position of this node's
//! log, and the key states that follow from it are worked out. [`Effect::Append`] hands it to storage, which
//! makes everything appended so far durable in one commit together with a [`Checkpoint`]. On
//! [`Input::Persisted`] it is *applied*: visible, acknowledged and sent. So there are two version vectors:
//! `staged` decides what can be delivered and what a new write knows, `applied` is what readers, peers and
//! clients are told. Nothing that anyone can see runs ahead of the disk. (See [`staging`].)
//!
//! Key states live in the store, not here: [`KeyStates`] reads them, and states that are staged but not yet
//! persisted lie over it.
//!
//! # Causal delivery
//!
//! An op depends on its origin's previous op and on the entries of its writer's version vector that changed
//! since. It is staged when all of these are; until then it waits in a bounded, volatile buffer
//! ([`delivery`]). An op whose turn has come is never refused. One that would have to wait is refused when the
//! buffer is full, and the answer names what is missing; the sender has that, by causality, and sends it first.
//!
//! # Push only
//!
//! Ops travel in a [`Push`], to the peer's own address. Answers say what the receiver holds ([`Statement`]),
//! never ops. So a node whose address is cut off gets nothing, even where it can call out.
//!
//! # Anti-entropy
//!
//! For each peer there is a [`link`]. What the peer lacks is worked out anew from its newest statement each
//! time that something happened which may give it something to send; a statement *replaces* the one before,
//! because the vector of a restored node goes back. This node's
//! own ops are offered at once, one push under way at a time. Another node's ops are forwarded only when the
//! peer made no progress on their origin for `forward_after_ms` although this node had more: then the direct
//! way is cut. Without ops to send, an empty push (a *digest*) asks for a statement every
//! `digest_interval_ms`. A peer whose newest statement shows nothing amiss may be asked less often: of such peers
//! `digests_an_interval` are asked in that time, and when more of them answer, each waits its turn. So what idle nodes
//! send grows with their number, not with its square. A lost message needs no handling of its own: the next statement
//! shows what is missing.
//!
//! # State transfer
//!
//! The log is trimmed: of old ops, it has only the vector of what is gone, the *floor*. A peer that lacks ops under it gets
//! this node's whole state, piece by piece, and from the log what comes behind; a node that got one goes on from the
//! merged state ([`catching_up`], [`merging`], [`filling`]).
//!
//! # Repeats
//!
//! A write may carry a key by which it is known when it is sent again. The op keeps it, so every node that has the op
//! answers a repeat with it, for a bounded time ([`repeats`]).
//!
//! # Versions
//!
//! Nodes of different versions work together: a statement says which versions of the protocol its node speaks, and a
//! peer is sent nothing that it does not understand ([`Protocol`]).
//!
//! # Incarnations
//!
//! A start opens a new random incarnation of the node's counter at its first write, and so does a node that
//! finds that its version vector has entries of its own besides the current one (it was restored from an
//! older copy, or its volume lives twice). The first op names the other entries as parents; see
//! [`Ancestry`]. What is known of an incarnation is kept for ever, so a node opens a bounded number of them; another
//! node's ops are never refused for it. Where two living processes have one id, both are told ([`twins`]).

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod catching_up;
mod delivery;
mod effect;
mod filling;
mod lacking;
mod link;
mod members;
mod merging;
mod message;
mod op;
mod protocol;
mod receive;
mod repeats;
mod siblings;
mod staging;
#[cfg(test)]
mod tests;
mod twins;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use effect::{
    Adopted, Append, Checkpoint, Effect, Input, LinkId, LinkView, MonoMs, Now, Once, OpRange, PeerChange, Recovered,
    Replaces, RequestId, Send, Totals, View, Visible, Write, WriteError, Written,
};
pub use filling::{Filling, NotAState, PeerState};
pub use merging::{LEAP, Merging};
pub use message::{Answer, Echo, Push, Rejection, Statement};
pub use op::{Entry, Key, Op, TraceContext, Value};
pub use protocol::{Feature, Protocol};
pub use repeats::{KeyedOps, MAX_IDEMPOTENCY_KEY_BYTES, REPEATS_MS};
pub use siblings::{Sibling, Siblings};
pub use twins::PROOF_MS;

use crate::causality::{
    Ancestry, Dot, HybridClock, Incarnation, MAX_INCARNATIONS, NodeId, Origin, VersionVector, WallMs,
};
use delivery::DeliveryBuffer;
use link::Link;
use receive::PendingAnswer;
use repeats::Repeats;
use staging::{Overlay, Staged};
use twins::Twins;

/// How much later than [`Replica::due`] an [`Input::Tick`] may come, in milliseconds, so that what is due at about the
/// same time shares one.
pub const TICK_MS: u64 = 25;

/// The stored siblings of keys, as of some commit at or after the last that the replica was told is persisted.
pub trait KeyStates {
    /// The siblings of `key`; empty if there is no such key. An error is never taken for "no such key".
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable>;

    /// The same, for a write that most likely replaces all of them: the dots are right, the rest may be made up.
    /// A store may know them without having looked.
    fn outline(&self, key: &str) -> Result<Siblings, Unreadable> {
        self.siblings(key)
    }
}

/// A stored record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Who a replica is and how it behaves.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// This node.
    pub node: NodeId,
    /// The other configured nodes; `None` where only an address is known.
    pub peers: Vec<Option<NodeId>>,
    /// Nodes that were taken out of the cluster for good: their pushes are refused.
    pub removed: BTreeSet<NodeId>,
    /// How many siblings a key may have before writes with a context that would add one are refused.
    pub max_siblings: usize,
    /// How many incarnations this node may have had: one more is not opened, so a write that needs it is refused.
    pub max_incarnations: usize,
    /// How many ops may wait in the delivery buffer.
    pub max_waiting_ops: usize,
    /// How many bytes of keys and values may wait in the delivery buffer.
    pub max_waiting_bytes: usize,
    /// For how long a peer must make no progress on another node's ops before this node forwards them.
    pub forward_after_ms: u64,
    /// How long a peer's statement is good before a digest asks for a new one.
    pub digest_interval_ms: u64,
    /// How many peers that lag in nothing are asked in that time; with more of them each is asked less often.
    pub digests_an_interval: usize,
}

impl ReplicaOptions {
    /// The defaults, for a node of a cluster.
    pub fn new(cluster: &str, node: NodeId, peers: Vec<Option<NodeId>>) -> Self {
        Self {
            cluster: cluster.into(),
            node,
            peers,
            removed: BTreeSet::new(),
            max_siblings: 64,
            max_incarnations: MAX_INCARNATIONS,
            max_waiting_ops: 65_536,
            max_waiting_bytes: 64 << 20,
            forward_after_ms: 500,
            digest_interval_ms: 500,
            digests_an_interval: 8,
        }
    }
}

/// Random bits from outside, fresh for every start of a process.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    /// Names this run.
    pub boot: u64,
    /// Where the names of incarnations and the jitter of retries come from.
    pub random: u64,
}

/// One node's part of the protocol. See the module's documentation.
#[derive(Debug)]
pub struct Replica {
    options: ReplicaOptions,
    boot: u64,
    /// Statements made so far in this boot.
    statements: u64,
    random: SplitMix64,
    clock: HybridClock,
    /// The current incarnation; none before the first write of this run.
    origin: Option<Origin>,
    /// Entries of other nodes that changed since this origin's last op: the next op's dependencies.
    changed: BTreeMap<Origin, u64>,
    /// All that has a place in the log.
    staged: VersionVector,
    /// All that is durable and visible; never ahead of `staged`.
    applied: VersionVector,
    ancestry: Arc<Ancestry>,
    /// What the log does not have any more.
    floor: VersionVector,
    /// How many states of peers were adopted.
    adoptions: u64,
    /// The position of the last op staged, and of the last applied.
    position: u64,
    durable: u64,
    staged_totals: Totals,
    applied_totals: Totals,
    overlay: Overlay,
    pending: VecDeque<Staged>,
    answers: VecDeque<PendingAnswer>,
    buffer: DeliveryBuffer,
    links: Vec<Link>,
    /// Senders of this cluster that are not in the list, and when each was last heard.
    unknown: BTreeMap<NodeId, WallMs>,
    repeats: Repeats,
    twins: Twins,
    read_only: bool,
    /// Stored keys are damaged.
    wants_state: bool,
    received_ops: u64,
    redundant_ops: u64,
    received_pushes: u64,
}

impl Replica {
    /// A replica that goes on from what its store holds.
    pub fn new(options: ReplicaOptions, seed: Seed, recovered: Recovered) -> Self {
        let Recovered { checkpoint, ancestry, keyed, floor } = recovered;
        Self {
            boot: seed.boot,
            statements: 0,
            random: SplitMix64(seed.random),
            clock: HybridClock::resume(checkpoint.hlc),
            origin: None,
            changed: BTreeMap::new(),
            staged: checkpoint.vector.clone(),
            applied: checkpoint.vector,
            ancestry: Arc::new(ancestry),
            floor,
            adoptions: 0,
            position: checkpoint.position,
            durable: checkpoint.position,
            staged_totals: checkpoint.totals,
            applied_totals: checkpoint.totals,
            overlay: Overlay::default(),
            pending: VecDeque::new(),
            answers: VecDeque::new(),
            buffer: DeliveryBuffer::new(options.max_waiting_ops, options.max_waiting_bytes),
            links: options.peers.iter().map(|node| Link::new(*node)).collect(),
            unknown: BTreeMap::new(),
            repeats: Repeats::new(keyed),
            twins: Twins::default(),
            read_only: false,
            wants_state: false,
            received_ops: 0,
            redundant_ops: 0,
            received_pushes: 0,
            options,
        }
    }

    /// Takes one input. `states` is read only for the keys that an op writes.
    pub fn handle(&mut self, now: Now, input: Input, states: &dyn KeyStates) -> Vec<Effect> {
        let mut effects = Vec::new();
        // A write is not durable yet: it gives nothing to offer.
        let may_offer = !matches!(input, Input::Write { .. });
        match input {
            Input::Write { request, write } => self.write(now, request, write, states, &mut effects),
            Input::Push { request, push } => self.receive(now, request, push, states, &mut effects),
            Input::Answered { link, carried, answer } => self.answered(now, link, &carried, answer, &mut effects),
            Input::SendFailed { link, rejection } => self.send_failed(now, link, rejection, &mut effects),
            Input::Persisted { through } => self.persisted(through, &mut effects),
            Input::PersistFailed => self.persist_failed(&mut effects),
            Input::StateAnswered { link, answer, taken } => self.state_answered(now, link, answer, taken, &mut effects),
            Input::Trimmed { floor } => self.trimmed(&floor),
            Input::Adopted(adopted) => self.adopted(now, *adopted, states, &mut effects),
            Input::WantsState(wants) => {
                self.wants_state = wants;
                self.touch_all_links();
            }
            Input::Tick => {}
        }
        if may_offer {
            self.expire_twins(now.mono, &mut effects);
            self.offer_all(now, &mut effects);
        }
        effects
    }

    /// When [`Input::Tick`] is wanted, unless another input comes before; `None`: not at all.
    pub fn due(&self) -> Option<MonoMs> {
        let due = self.links.iter().map(Link::due).chain(self.twins.due()).min();
        due.filter(|due| *due < link::NEVER)
    }

    /// What goes into the store with the last op staged.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            vector: self.staged.clone(),
            position: self.position,
            hlc: self.clock.last(),
            totals: self.staged_totals,
        }
    }

    /// What this replica knows.
    pub fn view(&self) -> View {
        View {
            vector: self.applied.clone(),
            position: self.durable,
            ancestry: self.ancestry.clone(),
            floor: self.floor.clone(),
            links: self.links.iter().map(Link::view).collect(),
            totals: self.applied_totals,
            read_only: self.read_only,
            out_of_incarnations: self.is_out_of_incarnations(),
            waiting_ops: self.buffer.len(),
            waiting_bytes: self.buffer.bytes(),
            buffer_full: self.buffer.is_full(),
            waiting_for: self.buffer.missing().take(MAX_SHOWN_MISSING).collect::<BTreeSet<Dot>>(),
            received_ops: self.received_ops,
            redundant_ops: self.redundant_ops,
            received_pushes: self.received_pushes,
            adoptions: self.adoptions,
            twins: self.twins.view(),
            unknown_members: self.unknown_members(),
        }
    }

    fn statement(&mut self) -> Statement {
        self.statements += 1;
        Statement {
            node: self.options.node,
            boot: self.boot,
            number: self.statements,
            vector: self.applied.clone(),
            protocol: Protocol::OWN,
            wants_state: self.wants_state,
        }
    }
}

/// How many of the ops that block the delivery buffer a view names.
const MAX_SHOWN_MISSING: usize = 16;

/// Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014. Seeded from outside.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn incarnation(&mut self) -> Incarnation {
        Incarnation(self.next())
    }
}
