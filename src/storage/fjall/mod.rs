//! The store on disk, by the engine fjall: an LSM tree a keyspace, one journal for all of them.
//!
//! A data directory holds `identity` (whose it is, and its format), `lock` (held while it is open) and
//! `store` (the engine's files). In the engine:
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `keys` | the key's bytes | its siblings |
//! | `ops` | origin and counter | position, the bytes of the origin's ops so far, and op |
//! | `order` | position | dot |
//! | `meta` | `checkpoint`; `ancestry/` and origin | the checkpoint; the origin's parents |
//!
//! A commit is one batch over all four, synced to the disk before it is visible. In the same batch each
//! keyspace says which position it is as of (`keys` by a record of its own, the others by what they hold);
//! opening compares them, so that a store of which some part went back or was lost is never taken for whole.
//!
//! Must not be opened by anything else, and its files must not be looked at by anyone but the engine.

mod directory;
mod engine;
mod hot;
mod journal;
mod log;
mod record;
mod recovery;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use self::engine::Engine;
use self::hot::HotStates;
use self::snapshot::FjallSnapshot;
use super::{BatchLimit, Identity, OpenError, Snapshot, Storage, StorageError, StoredOp, check_order};
use crate::causality::Origin;
use crate::replica::{Append, Checkpoint, KeyStates, OpRange, Recovered, Siblings, Unreadable};

/// How much memory the engine may use.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// For blocks read from disk.
    pub cache_bytes: u64,
    /// For the states of keys that are read often.
    pub hot_bytes: u64,
    /// For what is written and not yet in a table, for the keys and for the op log each. Under sustained
    /// writes up to five times that. Fixed when a store is created.
    pub write_buffer_bytes: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, hot_bytes: 64 << 20, write_buffer_bytes: 16 << 20 }
    }
}

/// One node's data on disk. Open at most once at a time, in one process.
pub struct FjallStorage {
    engine: Arc<Engine>,
    hot: Arc<HotStates>,
    /// The state as of the last commit.
    published: ArcSwap<FjallSnapshot>,
    commits: Mutex<Commits>,
}

/// Commits come one after the other.
struct Commits {
    /// The position of the last op committed.
    position: u64,
    /// The bytes of the ops of each origin that was written to in this run.
    totals: BTreeMap<Origin, u64>,
    /// One failed: what is on disk is unknown, so nothing may follow.
    failed: bool,
}

impl FjallStorage {
    /// Opens the data of `identity` in `path`, or creates it where there is nothing yet, and says what it
    /// holds. May be interrupted at any point and done again.
    pub fn open(path: &Path, identity: &Identity) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(path, identity, EngineOptions::default())
    }

    /// The same with other bounds on memory.
    pub fn open_with(path: &Path, identity: &Identity, options: EngineOptions) -> Result<(Self, Recovered), OpenError> {
        let lock = directory::claim(path, identity)?;
        let engine = Arc::new(Engine::open(path, lock, options)?);
        let recovered = recovery::recover(&engine).map_err(|error| directory::unusable(path, error))?;
        let commits =
            Mutex::new(Commits { position: recovered.checkpoint.position, totals: BTreeMap::new(), failed: false });
        let hot = Arc::new(HotStates::new(options.hot_bytes));
        let snapshot = FjallSnapshot::take(engine.clone(), hot.clone(), &recovered.checkpoint);
        Ok((Self { engine, hot, published: ArcSwap::from_pointee(snapshot), commits }, recovered))
    }

    fn write(
        &self,
        totals: &mut BTreeMap<Origin, u64>,
        appends: &[Append],
        checkpoint: &Checkpoint,
    ) -> Result<(), StorageError> {
        let Engine { keys, ops, order, meta, .. } = &*self.engine;
        let mut batch = self.engine.batch();
        let mut states: BTreeMap<&str, &Siblings> = BTreeMap::new();
        for Append { position, op, states: after } in appends {
            let bytes = crate::format::op::encode(op);
            let total = match totals.entry(op.dot.origin) {
                Entry::Occupied(known) => known.into_mut(),
                // The first in this run: goes on from what the log has.
                Entry::Vacant(new) => {
                    let previous = op.dot.origin.dot(op.dot.counter - 1);
                    new.insert(log::total_bytes(&self.engine, previous)?)
                }
            };
            *total += bytes.len() as u64;
            batch.insert(ops, record::dot_key(op.dot), record::encode_op(*position, *total, &bytes));
            batch.insert(order, position.to_be_bytes(), record::encode_order(op.dot));
            if !op.parents.is_empty() {
                let parents = crate::format::ancestry::encode(&op.parents);
                batch.insert(meta, record::ancestry_key(op.dot.origin), parents);
            }
            // Of a key that several ops write, only the last state.
            states.extend(after.iter().map(|(key, siblings)| (&**key, siblings)));
        }
        for (key, siblings) in &states {
            if siblings.is_empty() {
                batch.remove(keys, *key);
            } else {
                batch.insert(keys, *key, crate::format::siblings::encode(siblings));
            }
        }
        self.engine.finish(batch, checkpoint)?;
        for (key, siblings) in states {
            self.hot.replace(key, checkpoint.position, siblings);
        }
        self.published.store(Arc::new(FjallSnapshot::take(self.engine.clone(), self.hot.clone(), checkpoint)));
        Ok(())
    }
}

impl Storage for FjallStorage {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if commits.failed {
            return Err(StorageError::Engine("an earlier commit failed".to_owned()));
        }
        // Until it is known to have gone well: a panic in the engine leaves it so.
        commits.failed = true;
        check_order(commits.position, appends, checkpoint)?;
        self.write(&mut commits.totals, appends, checkpoint)?;
        (commits.position, commits.failed) = (checkpoint.position, false);
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        Ok(self.published.load_full())
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        log::read(&self.engine, ranges, limit)
    }

    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        log::bytes(&self.engine, ranges)
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        directory::bytes(self.engine.path()).map_err(|error| StorageError::Engine(error.to_string()))
    }
}

impl KeyStates for FjallStorage {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.published.load().siblings_once(key)?)
    }
}
