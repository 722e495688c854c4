//! Ops: one accepted write request each. All entries of an op travel, persist and become visible together.

use std::sync::Arc;

use crate::causality::{Dot, Hlc, Parents};

/// A key: 1 to `Limits::key_bytes` bytes of UTF-8.
pub type Key = Arc<str>;

/// A value: UTF-8, possibly empty.
pub type Value = Arc<str>;

/// One accepted write, as it is kept in the op log and sent to peers. It never changes once it has a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its name.
    pub dot: Dot,
    /// Only on the first op of an incarnation (counter 1): every entry of its own node in the writer's
    /// version vector. Having this op implies having those.
    pub parents: Parents,
    /// The other entries of the writer's version vector that changed since its previous op. Together with
    /// that op (`counter - 1`) they stand for all that the writer held: the op must not become visible
    /// before any of it.
    pub deps: Vec<Dot>,
    /// When it was accepted, for people and for `resolve=newest`.
    pub hlc: Hlc,
    /// What it writes; at least one entry, no key twice.
    pub entries: Vec<Entry>,
    /// The span of the client's request, so that its trace goes on everywhere and after restarts.
    pub trace: Option<TraceContext>,
    /// The client's name for the request, if it gave one.
    pub idempotency_key: Option<Arc<str>>,
}

impl Op {
    /// All that has to be there before it: its origin's previous op, its parents and its dependencies.
    pub(super) fn needs(&self) -> impl Iterator<Item = Dot> {
        let previous = (self.dot.counter > 1).then(|| self.dot.origin.dot(self.dot.counter - 1));
        previous.into_iter().chain(self.parents.iter().copied()).chain(self.deps.iter().copied())
    }
}

/// One key of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key written.
    pub key: Key,
    /// Its new value; `None` deletes.
    pub value: Option<Value>,
    /// The siblings that it replaces. A list is enough because the op depends on all that its writer's log
    /// had before it, so every replaced op was delivered before.
    pub replaces: Vec<Dot>,
}

/// A W3C trace context: which span an op belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span of the write in it.
    pub span_id: [u8; 8],
    /// W3C trace flags; bit 0 is "sampled".
    pub flags: u8,
}

impl TraceContext {
    /// Whether spans of this trace are recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}
