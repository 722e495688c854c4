//! The state at one instant.

use std::ops::Bound;
use std::sync::Arc;

use ::fjall::Readable;

use super::engine::{Engine, engine_error};
use super::record;
use crate::causality::VersionVector;
use crate::format::op::MAX_KEY_BYTES;
use crate::replica::Siblings;
use crate::storage::{Snapshot, StorageError};

pub(super) struct FjallSnapshot {
    instant: ::fjall::Snapshot,
    vector: VersionVector,
    engine: Arc<Engine>,
}

impl FjallSnapshot {
    pub(super) fn take(engine: Arc<Engine>) -> Result<Self, StorageError> {
        let instant = engine.instant();
        let vector = engine.checkpoint(&instant)?.vector;
        Ok(Self { instant, vector, engine })
    }
}

impl Snapshot for FjallSnapshot {
    fn vector(&self) -> &VersionVector {
        &self.vector
    }

    fn siblings(&self, key: &str) -> Result<Siblings, StorageError> {
        self.engine.siblings(&self.instant, key)
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
        let end = Bound::Excluded(record::KEYS_POSITION.as_slice());
        let mut keys = Vec::new();
        for record in self.instant.range::<&[u8], _>(&self.engine.keys, (start, end)).take(limit) {
            let (key, value) = record.into_inner().map_err(engine_error)?;
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
