//! A store in memory that fails when told to: for what a disk can't be made to do in a test.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use causeway::causality::VersionVector;
use causeway::format;
use causeway::replica::{Append, Checkpoint, Key, KeyStates, Op, OpRange, Siblings, Unreadable};
use causeway::storage::{BatchLimit, Snapshot, Storage, StorageError, StoredOp};

#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
    /// Commits fail while this is set.
    pub fail_commits: AtomicBool,
    /// Reads of siblings fail while this is set.
    pub fail_reads: AtomicBool,
    /// Commits wait while this is set.
    pub hold_commits: AtomicBool,
}

#[derive(Clone, Default)]
struct State {
    keys: Arc<BTreeMap<Key, Siblings>>,
    log: Vec<Arc<Op>>,
    vector: VersionVector,
}

fn failure() -> StorageError {
    StorageError::Damaged { record: "a key".to_owned(), problem: "it was told to fail".to_owned() }
}

impl KeyStates for Memory {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.snapshot()?.siblings(key)?)
    }
}

impl Storage for Memory {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        while self.hold_commits.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if self.fail_commits.load(Ordering::SeqCst) {
            return Err(failure());
        }
        let mut state = self.state.lock().unwrap();
        for append in appends {
            let keys = Arc::make_mut(&mut state.keys);
            for (key, siblings) in &append.states {
                if siblings.is_empty() {
                    keys.remove(key);
                } else {
                    keys.insert(key.clone(), siblings.clone());
                }
            }
            state.log.push(append.op.clone());
        }
        state.vector = checkpoint.vector.clone();
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        let state = self.state.lock().unwrap();
        let (keys, vector) = (state.keys.clone(), state.vector.clone());
        Ok(Box::new(MemorySnapshot { keys, vector, fails: self.fail_reads.load(Ordering::SeqCst) }))
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        let state = self.state.lock().unwrap();
        let wanted = |op: &Op| {
            let counter = op.dot.counter;
            ranges.iter().any(|range| range.origin == op.dot.origin && (range.first..=range.last).contains(&counter))
        };
        let ops = state.log.iter().enumerate().filter(|(_, op)| wanted(op)).take(limit.ops);
        Ok(ops
            .map(|(index, op)| StoredOp { position: index as u64 + 1, dot: op.dot, bytes: format::op::encode(op) })
            .collect())
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        Ok(0)
    }
}

struct MemorySnapshot {
    keys: Arc<BTreeMap<Key, Siblings>>,
    vector: VersionVector,
    fails: bool,
}

impl Snapshot for MemorySnapshot {
    fn vector(&self) -> &VersionVector {
        &self.vector
    }

    fn siblings(&self, key: &str) -> Result<Siblings, StorageError> {
        if self.fails {
            return Err(failure());
        }
        Ok(self.keys.get(key).cloned().unwrap_or_default())
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Siblings)>, StorageError> {
        if self.fails {
            return Err(failure());
        }
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = self.keys.range::<str, _>((from, Bound::Unbounded));
        let found = range.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found.map(|(key, siblings)| (key.to_string(), siblings.clone())).collect())
    }
}
