//! The store in memory: for tests and simulations. What was committed is "on disk"; clones share it, so a
//! test that drops a node and starts another on a clone has restarted it.

mod fill;
mod log;

use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::fill::MemoryFill;
use self::log::Log;
use super::{
    Basis, BatchLimit, Damage, DiskSpace, Fill, LogHold, LogHolds, LogId, LogRun, LogSize, PeerState, Piece, Snapshot,
    Storage, StorageError, StoredOp, check_order,
};
use crate::causality::{Ancestry, VersionVector};
use crate::format;
use crate::replica::{Adopted, Append, Checkpoint, Key, KeyStates, KeyedOps, OpRange, Recovered, Siblings, Unreadable};

/// A store that lasts as long as its process.
#[derive(Clone)]
pub struct MemoryStorage {
    disk: Arc<RwLock<Disk>>,
    holds: LogHolds,
    log_id: LogId,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        // Other keys each time, so another number.
        Self { disk: Arc::default(), holds: LogHolds::default(), log_id: LogId(RandomState::new().hash_one(())) }
    }
}

#[derive(Default)]
struct Disk {
    /// Snapshots share it.
    state: Arc<State>,
    log: Log,
    ancestry: Ancestry,
    /// What the log does not have.
    floor: VersionVector,
    /// How many fills were begun. Only the last can be adopted.
    fills: u64,
    failed: bool,
}

#[derive(Clone, Default)]
struct State {
    keys: BTreeMap<Key, Siblings>,
    checkpoint: Checkpoint,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a node would start from: all as of the last commit.
    pub fn recovered(&self) -> Recovered {
        let disk = self.read();
        let mut keyed = KeyedOps::default();
        for StoredOp { position, bytes, .. } in disk.log.ops() {
            keyed.note(*position, &format::op::decode(bytes).expect("as it was encoded"));
        }
        Recovered {
            checkpoint: disk.state.checkpoint.clone(),
            ancestry: disk.ancestry.clone(),
            keyed,
            floor: disk.floor.clone(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Disk> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a change, unless an earlier one failed.
    fn write(&self) -> Result<RwLockWriteGuard<'_, Disk>, StorageError> {
        let disk = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        if disk.failed { Err(StorageError::Engine("an earlier commit failed".to_owned())) } else { Ok(disk) }
    }
}

impl Storage for MemoryStorage {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let mut disk = self.write()?;
        if let Err(error) = check_order(disk.state.checkpoint.position, appends, checkpoint) {
            disk.failed = true;
            return Err(error);
        }
        let Disk { state, log, ancestry, .. } = &mut *disk;
        let state = Arc::make_mut(state);
        for Append { op, states, .. } in appends {
            ancestry.insert(op.dot.origin, &op.parents);
            for (key, siblings) in states {
                if siblings.is_empty() {
                    state.keys.remove(&**key);
                } else {
                    state.keys.insert(key.clone(), siblings.clone());
                }
            }
        }
        log.append(appends, checkpoint);
        state.checkpoint = checkpoint.clone();
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        Ok(self.read().state.clone())
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        let disk = self.read();
        let mut found: Vec<&StoredOp> = ranges.iter().flat_map(|range| disk.log.range(range)).collect();
        found.sort_by_key(|op| op.position);
        Ok(fitting(found.into_iter(), limit))
    }

    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        Ok(fitting(self.read().log.after(position), limit))
    }

    fn log_start(&self) -> u64 {
        self.read().log.start()
    }

    fn log_runs(&self) -> Vec<LogRun> {
        self.read().log.runs()
    }

    fn trim(&self, through: u64) -> Result<VersionVector, StorageError> {
        let mut disk = self.write()?;
        let Disk { log, ancestry, floor, .. } = &mut *disk;
        let through = self.holds.lowest().map_or(through, |held| held.min(through));
        for LogRun { vector, .. } in log.trim(through) {
            ancestry.join(floor, &vector);
        }
        Ok(floor.clone())
    }

    fn give_up_log(&self) -> Result<VersionVector, StorageError> {
        Ok(self.write()?.floor.clone())
    }

    fn damage(&self) -> Damage {
        Damage::default()
    }

    fn hold_log(&self) -> LogHold {
        let disk = self.read();
        self.holds.hold(|| disk.state.checkpoint.position)
    }

    fn begin_fill(&self, peer: PeerState, basis: Basis) -> Result<Box<dyn Fill>, StorageError> {
        let number = {
            let mut disk = self.write()?;
            disk.fills += 1;
            disk.fills
        };
        Ok(Box::new(MemoryFill::begin(self, number, peer, basis)?))
    }

    fn adopt(&self, fill: Box<dyn Fill>) -> Result<Adopted, StorageError> {
        let Ok(mut fill) = (fill as Box<dyn Any>).downcast::<MemoryFill>() else {
            return Err(StorageError::Engine("a state of another store can't be adopted".to_owned()));
        };
        fill.catch_up()?;
        let mut disk = self.write()?;
        let (keys, adopted) = fill.finish(self, &disk)?;
        let Adopted { checkpoint, ancestry, floor } = adopted.clone();
        let own = disk.state.checkpoint.hlc;
        disk.log.leap(checkpoint.position);
        (disk.ancestry, disk.floor) = (ancestry, floor);
        disk.state = Arc::new(State { keys, checkpoint: Checkpoint { hlc: own, ..checkpoint } });
        Ok(adopted)
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        let all = self.ops(ranges, BatchLimit { ops: usize::MAX, bytes: usize::MAX })?;
        Ok(all.iter().map(|op| op.bytes.len() as u64).sum())
    }

    fn log_size(&self) -> Result<LogSize, StorageError> {
        Ok(self.read().log.size())
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.read().log.size().bytes)
    }

    fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        Ok(DiskSpace { size: u64::MAX, free: u64::MAX })
    }
}

/// As many of these as the limit allows, at least one.
fn fitting<'a>(ops: impl Iterator<Item = &'a StoredOp>, limit: BatchLimit) -> Vec<StoredOp> {
    let mut room = limit.room();
    ops.take_while(|op| room.takes(op.bytes.len())).cloned().collect()
}

impl KeyStates for MemoryStorage {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.read().state.keys.get(key).cloned().unwrap_or_default())
    }

    // As wrong as it may be, so that tests notice when more of it is used.
    fn outline(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.siblings(key)?.outlined())
    }
}

impl State {
    /// The keys behind one.
    fn after(&self, after: Option<&str>) -> impl Iterator<Item = (&Key, &Siblings)> {
        self.keys.range::<str, _>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }
}

impl Snapshot for State {
    fn vector(&self) -> &VersionVector {
        &self.checkpoint.vector
    }

    fn siblings(&self, key: &str) -> Result<Siblings, StorageError> {
        Ok(self.keys.get(key).cloned().unwrap_or_default())
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Siblings)>, StorageError> {
        let keys = self.after(after).filter(|(key, _)| key.starts_with(prefix));
        Ok(keys.take(limit).map(|(key, siblings)| (key.to_string(), siblings.clone())).collect())
    }

    fn piece(&self, after: Option<&str>, limit: BatchLimit) -> Result<Piece, StorageError> {
        let mut piece = Piece::default();
        let mut room = limit.room();
        for (key, siblings) in self.after(after) {
            let bytes = format::siblings::encode(siblings);
            if !room.takes(key.len() + bytes.len()) {
                return Ok(piece);
            }
            piece.keys.push((key.to_string(), bytes.into()));
        }
        piece.is_last = true;
        Ok(piece)
    }

    fn conflicts(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Siblings)>, StorageError> {
        let mut keys = self.keys(prefix, after, usize::MAX)?;
        keys.retain(|(_, siblings)| siblings.len() > 1);
        keys.truncate(limit);
        Ok(keys)
    }
}
