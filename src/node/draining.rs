//! Draining: a node that is to be stopped for good takes no more writes of clients until all that it has is elsewhere.
//! Reads and replication go on. Nothing of it is stored: a restart ends it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::handle::NodeHandle;
use super::{lock, wall_now};
use crate::causality::{NodeId, VersionVector, WallMs};
use crate::replica::{LinkId, LinkView, OpRange, View};

/// This node takes no writes of clients because it is being drained. Nothing changed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this node is being drained: it takes no more writes, and is about to be stopped; write to another node")]
pub struct Draining;

/// How far a node that is being drained is.
#[derive(Clone, Debug)]
pub struct Drain {
    /// Since when.
    pub since: WallMs,
    /// Writes that were taken before and are not answered yet.
    pub writes_under_way: usize,
    /// The configured peers that lack something of what this node had then, as far as is known.
    pub behind: Vec<Behind>,
    /// Whether there is any other configured node, and every one of them is known to have all.
    pub done: bool,
}

/// A peer that does not have all.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Its id, if it has ever said.
    pub node: Option<NodeId>,
    /// Where it is looked for.
    pub address: String,
    /// How many ops it lacks; `None`: it has never said what it has. An away peer may have said that it has all.
    pub ops: Option<u64>,
    /// Since when it does not answer.
    pub away_since: Option<WallMs>,
    /// Why not.
    pub why: Option<String>,
}

/// Lets writes in unless the node is being drained.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: AtomicBool,
    writes: AtomicUsize,
    began: Mutex<Option<Began>>,
}

#[derive(Debug)]
struct Began {
    since: WallMs,
    /// All that was visible here once the last write from before was answered.
    all: Option<VersionVector>,
}

/// A write that was let in, for as long as it lives.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Gate>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.writes.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    pub(super) fn enter(self: &Arc<Self>) -> Result<UnderWay, Draining> {
        // First without being counted: who is refused again and again must not look like a write under way.
        if self.closed.load(Ordering::SeqCst) {
            return Err(Draining);
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        let entered = UnderWay(self.clone());
        // Counted before this look: who finds no write under way after the gate was closed finds none later.
        match self.closed.load(Ordering::SeqCst) {
            true => Err(Draining),
            false => Ok(entered),
        }
    }

    fn began(&self) -> MutexGuard<'_, Option<Began>> {
        lock(&self.began)
    }
}

impl NodeHandle {
    /// Begins to drain this node, or ends that. Begun again, it is about what the node has now.
    pub fn set_draining(&self, draining: bool) {
        let gate = &self.shared.gate;
        let mut began = gate.began();
        gate.closed.store(draining, Ordering::SeqCst);
        let since = began.take().map_or_else(wall_now, |before| before.since);
        *began = draining.then_some(Began { since, all: None });
    }

    /// Whether it is being drained.
    pub fn is_draining(&self) -> bool {
        self.shared.gate.closed.load(Ordering::SeqCst)
    }

    /// How far draining is; `None`: this node is not being drained.
    pub fn drain(&self) -> Option<Drain> {
        let gate = &self.shared.gate;
        let mut began = gate.began();
        let Began { since, all } = began.as_mut()?;
        let writes_under_way = gate.writes.load(Ordering::SeqCst);
        // After the count: what was answered by then is in it.
        let view = self.status().view;
        let behind = match (&*all, writes_under_way) {
            (None, 0) => self.behind(&view, all.insert(view.vector.clone())),
            (None, _) => self.behind(&view, &view.vector),
            (Some(all), _) => self.behind(&view, all),
        };
        let done = writes_under_way == 0 && behind.is_empty() && !view.links.is_empty();
        Some(Drain { since: *since, writes_under_way, behind, done })
    }

    fn behind(&self, view: &View, all: &VersionVector) -> Vec<Behind> {
        let behind = view.links.iter().enumerate().filter_map(|(index, link)| {
            let lacks = view.lacks_of(link, all);
            let has_all = link.vector.is_some() && lacks.is_empty();
            // What it said last may be of before its disk was lost.
            let is_heard = link.away_since.is_none();
            (!has_all || !is_heard).then(|| self.behind_of(link, index, &lacks))
        });
        behind.collect()
    }

    fn behind_of(&self, link: &LinkView, index: usize, lacks: &[OpRange]) -> Behind {
        Behind {
            node: link.node,
            address: self.members().addresses.get(index).cloned().unwrap_or_default(),
            ops: link.vector.as_ref().map(|_| lacks.iter().map(OpRange::count).sum()),
            away_since: link.away_since,
            why: link.away_since.and_then(|_| self.trouble(LinkId(index))),
        }
    }
}
