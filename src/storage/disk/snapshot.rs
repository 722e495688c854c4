//! The state at one instant.

use std::ops::Bound;
use std::sync::Arc;

use super::engine::Engine;
use super::hot::HotStates;
use super::instants::Instant;
use super::record;
use crate::causality::VersionVector;
use crate::format::op::MAX_KEY_BYTES;
use crate::replica::{Checkpoint, Siblings};
use crate::storage::{Snapshot, StorageError};

pub(super) struct DiskSnapshot {
    instant: Instant,
    position: u64,
    vector: VersionVector,
    engine: Arc<Engine>,
    hot: Arc<HotStates>,
}

impl DiskSnapshot {
    /// The state of the engine now, which is as of this checkpoint.
    pub(super) fn take(engine: Arc<Engine>, hot: Arc<HotStates>, checkpoint: &Checkpoint) -> Self {
        let Checkpoint { position, vector, .. } = checkpoint;
        Self { instant: engine.now(), position: *position, vector: vector.clone(), engine, hot }
    }

    /// The position of the last op that it includes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The siblings of a key, which are not kept in memory for having been read.
    pub(super) fn siblings_once(&self, key: &str) -> Result<Siblings, StorageError> {
        match self.hot.get(key, self.position) {
            Some(siblings) => Ok(siblings),
            None => self.engine.siblings(&self.instant, key),
        }
    }
}

impl Snapshot for DiskSnapshot {
    fn vector(&self) -> &VersionVector {
        &self.vector
    }

    fn siblings(&self, key: &str) -> Result<Siblings, StorageError> {
        if let Some(siblings) = self.hot.get(key, self.position) {
            return Ok(siblings);
        }
        let siblings = self.engine.siblings(&self.instant, key)?;
        self.hot.keep(key, self.position, &siblings);
        Ok(siblings)
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Siblings)>, StorageError> {
        if prefix.len() > MAX_KEY_BYTES {
            return Ok(Vec::new());
        }
        let start = match after {
            // No key is longer than that, so the same keys come after what is left. (The engine panics.)
            Some(after) if after >= prefix => Bound::Excluded(&after.as_bytes()[..after.len().min(MAX_KEY_BYTES)]),
            _ => Bound::Included(prefix.as_bytes()),
        };
        let end = Bound::Excluded(record::KEYS_END);
        let mut keys = Vec::new();
        for record in self.engine.range(&self.instant, (start, end)).take(limit) {
            let (key, value) = record?;
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            let key =
                std::str::from_utf8(&key).map_err(|error| StorageError::damaged(format!("key {:?}", &*key), error))?;
            keys.push((key.to_owned(), record::decode_siblings(key, &value)?));
        }
        Ok(keys)
    }
}
