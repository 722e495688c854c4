//! The store in memory: for tests and simulations. What was committed is "on disk"; clones share it, so a
//! test that drops a node and starts another on a clone has restarted it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::{
    BatchLimit, DiskSpace, Fill, LogHold, LogId, LogRun, LogSize, PeerState, Piece, Snapshot, Storage, StorageError,
    StoredOp, check_order,
};
use crate::causality::{Ancestry, Dot, VersionVector};
use crate::format;
use crate::replica::{Adopted, Append, Checkpoint, KeyStates, KeyedOps, OpRange, Recovered, Siblings, Unreadable};

/// A store that lasts as long as its process.
#[derive(Clone)]
pub struct MemoryStorage {
    disk: Arc<RwLock<Disk>>,
    log_id: LogId,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        // Other keys each time, so another number.
        Self { disk: Arc::default(), log_id: LogId(RandomState::new().hash_one(())) }
    }
}

#[derive(Default)]
struct Disk {
    /// Snapshots share it.
    state: Arc<State>,
    log: BTreeMap<Dot, StoredOp>,
    /// The ops of the log in its order.
    order: Vec<Dot>,
    ancestry: Ancestry,
    failed: bool,
}

#[derive(Clone, Default)]
struct State {
    keys: BTreeMap<Box<str>, Siblings>,
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
        let mut log: Vec<&StoredOp> = disk.log.values().collect();
        log.sort_by_key(|op| op.position);
        let mut keyed = KeyedOps::default();
        for StoredOp { position, bytes, .. } in log {
            keyed.note(*position, &format::op::decode(bytes).expect("as it was encoded"));
        }
        Recovered {
            checkpoint: disk.state.checkpoint.clone(),
            ancestry: disk.ancestry.clone(),
            keyed,
            floor: VersionVector::new(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Disk> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let mut disk = self.disk.write().unwrap_or_else(PoisonError::into_inner);
        if disk.failed {
            return Err(StorageError::Engine("an earlier commit failed".to_owned()));
        }
        if let Err(error) = check_order(disk.state.checkpoint.position, appends, checkpoint) {
            disk.failed = true;
            return Err(error);
        }
        let Disk { state, log, order, ancestry, .. } = &mut *disk;
        let state = Arc::make_mut(state);
        for Append { position, op, states } in appends {
            let stored = StoredOp { position: *position, dot: op.dot, bytes: format::op::encode(op).into() };
            log.insert(op.dot, stored);
            order.push(op.dot);
            ancestry.insert(op.dot.origin, &op.parents);
            for (key, siblings) in states {
                if siblings.is_empty() {
                    state.keys.remove(&**key);
                } else {
                    state.keys.insert((&**key).into(), siblings.clone());
                }
            }
        }
        state.checkpoint = checkpoint.clone();
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        Ok(self.read().state.clone())
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        let disk = self.read();
        let in_range = ranges
            .iter()
            .filter(|range| range.first <= range.last)
            .flat_map(|range| disk.log.range(range.origin.dot(range.first)..=range.origin.dot(range.last)));
        let mut found: Vec<&StoredOp> = in_range.map(|(_, op)| op).collect();
        found.sort_by_key(|op| op.position);
        Ok(fitting(found.into_iter(), limit))
    }

    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        let disk = self.read();
        let behind = usize::try_from(position).ok().and_then(|position| disk.order.get(position..));
        Ok(fitting(behind.into_iter().flatten().map(|dot| &disk.log[dot]), limit))
    }

    fn log_start(&self) -> u64 {
        todo!()
    }

    fn log_runs(&self) -> Vec<LogRun> {
        todo!()
    }

    fn trim(&self, _through: u64) -> Result<VersionVector, StorageError> {
        todo!()
    }

    fn hold_log(&self) -> LogHold {
        todo!()
    }

    fn begin_fill(&self, _peer: PeerState) -> Result<Box<dyn Fill>, StorageError> {
        todo!()
    }

    fn adopt(&self, _fill: Box<dyn Fill>) -> Result<Adopted, StorageError> {
        todo!()
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        let all = self.ops(ranges, BatchLimit { ops: usize::MAX, bytes: usize::MAX })?;
        Ok(all.iter().map(|op| op.bytes.len() as u64).sum())
    }

    fn log_size(&self) -> Result<LogSize, StorageError> {
        let disk = self.read();
        let bytes = disk.log.values().map(|op| op.bytes.len() as u64).sum();
        Ok(LogSize { ops: disk.log.len() as u64, bytes })
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.read().log.values().map(|op| op.bytes.len() as u64).sum())
    }

    fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        Ok(DiskSpace { size: u64::MAX, free: u64::MAX })
    }
}

/// As many of these as the limit allows, at least one.
fn fitting<'a>(ops: impl Iterator<Item = &'a StoredOp>, limit: BatchLimit) -> Vec<StoredOp> {
    let mut bytes = 0;
    let fitting = ops.enumerate().take_while(|(index, op)| {
        bytes += op.bytes.len();
        *index == 0 || (*index < limit.ops && bytes <= limit.bytes)
    });
    fitting.map(|(_, op)| op.clone()).collect()
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

impl Snapshot for State {
    fn vector(&self) -> &VersionVector {
        &self.checkpoint.vector
    }

    fn siblings(&self, key: &str) -> Result<Siblings, StorageError> {
        Ok(self.keys.get(key).cloned().unwrap_or_default())
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Siblings)>, StorageError> {
        let keys =
            self.keys.iter().filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| &***key > after));
        Ok(keys.take(limit).map(|(key, siblings)| (key.to_string(), siblings.clone())).collect())
    }

    fn piece(&self, _after: Option<&str>, _limit: BatchLimit) -> Result<Piece, StorageError> {
        todo!()
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
