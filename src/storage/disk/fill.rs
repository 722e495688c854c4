//! A state being filled on disk: a generation of the keys beside the log's.
//!
//! What the peer has and what this node had when it began is merged key by key, in order; then what came to this node's log
//! since is done again on top. If this node's keys can't all be read, the whole log that it has is done again instead.
//! Nothing of it counts before the log names the generation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use arc_swap::ArcSwap;

use super::Commits;
use super::engine::{Changes, Engine};
use super::generation::{Generation, Home};
use super::record;
use super::redo::Redo;
use super::snapshot::DiskSnapshot;
use crate::causality::VersionVector;
use crate::format;
use crate::replica::{Adopted, Checkpoint, Filling, Key, Siblings};
use crate::storage::oplog::{self, OpLog};
use crate::storage::{Basis, BatchLimit, Fill, LogHold, LogHolds, PeerState, StorageError, StoredOp};

/// What is written to the engine at once.
const MAX_KEYS_A_WRITE: usize = 1_024;

/// Ops of the log that are read at once.
const BATCH: BatchLimit = BatchLimit { ops: 1_024, bytes: 4 << 20 };

pub(super) struct DiskFill {
    generation: Generation,
    filling: Filling,
    /// This node's state when it began, if that can be read.
    own: Option<Arc<DiskSnapshot>>,
    /// The log from where this has it on.
    hold: LogHold,
    sources: Sources,
}

/// What a store shares with what is filled beside it.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) log: Arc<OpLog>,
    pub(super) holds: LogHolds,
    /// The state as of the last commit.
    pub(super) published: Arc<ArcSwap<DiskSnapshot>>,
    /// The number of the last generation that was begun.
    pub(super) newest: Arc<AtomicU64>,
}

impl DiskFill {
    /// Begins one with what the store has between two commits. The next need not wait until the engine is there.
    pub(super) fn begin(
        sources: Sources,
        home: &Home,
        peer: PeerState,
        basis: Basis,
        commits: MutexGuard<'_, Commits>,
    ) -> Result<Self, StorageError> {
        let Commits { checkpoint: Checkpoint { position, vector, .. }, ancestry, floor, .. } = &*commits;
        let ancestry = ancestry.clone();
        let (filling, own) = match basis {
            Basis::State => (Filling::new(vector, *position, ancestry, peer), Some(sources.published.load_full())),
            Basis::Log => (Filling::on_log(floor, *position, ancestry, peer)?, None),
        };
        let hold = sources.holds.hold(|| filling.position());
        // From here on what was begun before is not adopted any more.
        let number = sources.newest.fetch_add(1, Ordering::SeqCst) + 1;
        drop(commits);
        let generation = home.create(number)?;
        let ancestry = filling.ancestry().iter();
        let records = ancestry.map(|(origin, parents)| record::ancestry(origin, parents)).collect();
        generation.engine().write(Changes { states: Vec::new(), records });
        Ok(Self { generation, filling, own, hold, sources })
    }

    /// Whether it is for the store of these sources, and the last that was begun.
    pub(super) fn check(&self, sources: &Sources) -> Result<(), StorageError> {
        let is_of_store = Arc::ptr_eq(&self.sources.newest, &sources.newest);
        if is_of_store && self.generation.number == sources.newest.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(StorageError::Engine("another state was begun since this one".to_owned()))
        }
    }

    /// Brings what the log has up to a position.
    fn bring_up(&mut self, to: u64) -> Result<u64, StorageError> {
        let mut brought = 0;
        while self.filling.position() < to {
            let ops = self.sources.log.ops_behind(self.filling.position(), BATCH)?;
            let Some(last) = ops.last().map(|op| op.position) else { break };
            self.redo(&ops)?;
            self.filling.reached(last);
            brought += ops.len() as u64;
        }
        let position = self.filling.position();
        self.hold = self.sources.holds.hold(|| position);
        Ok(brought)
    }

    fn redo(&mut self, ops: &[StoredOp]) -> Result<(), StorageError> {
        let Self { generation, filling, .. } = self;
        let engine = generation.engine();
        let mut redo = Redo::new(engine);
        for StoredOp { position, bytes, .. } in ops {
            let op = format::op::decode(bytes).map_err(|error| oplog::unreadable(*position, error))?;
            filling.check_follows(&op)?;
            redo.op(&op, |entry, siblings| filling.apply(*position, &op, entry, siblings))?;
            filling.advance(&op);
        }
        let is_full = redo.write()?;
        written(engine, is_full)
    }

    /// The whole state, on disk as of what is adopted, for a node whose own is `own` and whose log lacks `floor`; nothing may
    /// be committed meanwhile. And what is stored with it: the clock reading is this node's own, from which a start may
    /// go on; one that was heard may be far ahead of the time.
    pub(super) fn finish(
        mut self,
        own: &Checkpoint,
        floor: &VersionVector,
    ) -> Result<(Generation, Adopted, Checkpoint), StorageError> {
        self.filling.check_whole()?;
        self.bring_up(own.position)?;
        let adopted = self.filling.adopted(own, floor)?;
        let stored = Checkpoint { hlc: own.hlc, ..adopted.checkpoint.clone() };
        let engine = self.generation.engine();
        engine.set_aside(&stored);
        engine.wait_for_tables()?;
        Ok((self.generation, adopted, stored))
    }
}

impl Fill for DiskFill {
    fn put(&mut self, keys: Vec<(Key, Siblings)>, through: Option<&str>) -> Result<(), StorageError> {
        self.check(&self.sources)?;
        self.filling.check(&keys, through)?;
        let is_behind = |key: &str| through.is_some_and(|through| key > through);
        let own = self.own.as_ref().map(|own| own.keys_after(self.filling.through())).into_iter().flatten();
        let own = own.take_while(|own| own.as_ref().map_or(true, |(key, _)| !is_behind(key)));
        let mut written = Written { engine: self.generation.engine(), states: Vec::new() };
        self.filling.merge(own, keys, through, |key, siblings| written.add(key, siblings))?;
        written.write()
    }

    fn catch_up(&mut self) -> Result<u64, StorageError> {
        self.check(&self.sources)?;
        self.filling.check_whole()?;
        let brought = self.bring_up(self.sources.published.load().position())?;
        // What is adopted has to be on disk as a whole: as little as possible is left for then.
        self.generation.engine().set_part_aside();
        self.generation.engine().wait_for_tables()?;
        Ok(brought)
    }
}

/// Keys of the merged state that are not in the engine yet.
struct Written<'a> {
    engine: &'a Engine,
    states: Vec<(Key, Siblings)>,
}

impl Written<'_> {
    fn add(&mut self, key: Key, siblings: Siblings) -> Result<(), StorageError> {
        self.states.push((key, siblings));
        if self.states.len() < MAX_KEYS_A_WRITE { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), StorageError> {
        let conflicts = self.states.iter().filter(|(_, siblings)| siblings.len() > 1);
        let records = conflicts.map(|(key, _)| (record::conflict(key), Some(Vec::new()))).collect();
        let states = self.states.iter().map(|(key, siblings)| (&**key, siblings)).collect();
        self.engine.wait_for_room()?;
        let is_full = self.engine.write(Changes { states, records });
        self.states.clear();
        written(self.engine, is_full)
    }
}

/// After each write: sets a write buffer aside that is full.
fn written(engine: &Engine, is_full: bool) -> Result<(), StorageError> {
    if is_full {
        // Two of them are enough: the state beside has its own.
        engine.wait_for_tables()?;
        engine.set_part_aside();
    }
    Ok(())
}
