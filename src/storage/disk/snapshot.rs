//! The state at one instant.

use std::ops::Bound;
use std::sync::Arc;

use lsm_tree::{UserKey, UserValue};

use super::engine::Engine;
use super::hot::HotStates;
use super::instants::Instant;
use super::record;
use crate::causality::VersionVector;
use crate::format::op::MAX_KEY_BYTES;
use crate::replica::{Checkpoint, Siblings};
use crate::storage::{BatchLimit, Piece, Snapshot, StorageError};

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

impl DiskSnapshot {
    /// The records whose keys are those of clients behind `kind`, as far as they have the prefix and come after `after`.
    fn records(
        &self,
        kind: &'static [u8],
        prefix: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = Result<(UserKey, UserValue), StorageError>> {
        // No key is longer than that, so the same keys come after what is left. (The engine panics.)
        let cut = |key: &str| [kind, &key.as_bytes()[..key.len().min(MAX_KEY_BYTES)]].concat();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(cut(after)),
            _ => Bound::Included(cut(prefix)),
        };
        let end = if kind.is_empty() { record::CONFLICTS } else { record::CONFLICTS_END };
        let prefixed = [kind, prefix.as_bytes()].concat();
        let start = start.as_ref().map(Vec::as_slice);
        let records = self.engine.range(&self.instant, (start, Bound::Excluded(end)));
        records.take_while(move |record| record.as_ref().map_or(true, |(key, _)| key.starts_with(&prefixed)))
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
        let mut keys = Vec::new();
        for record in self.records(&[], prefix, after).take(limit) {
            let (key, value) = record?;
            let key = text(&key)?.to_owned();
            let siblings = record::decode_siblings(&key, &value)?;
            keys.push((key, siblings));
        }
        Ok(keys)
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
        let mut keys = Vec::new();
        for record in self.records(record::CONFLICTS, prefix, after).take(limit) {
            let (key, _) = record?;
            let key = text(&key[record::CONFLICTS.len()..])?.to_owned();
            let siblings = self.siblings_once(&key)?;
            keys.push((key, siblings));
        }
        Ok(keys)
    }
}

fn text(key: &[u8]) -> Result<&str, StorageError> {
    std::str::from_utf8(key).map_err(|error| StorageError::damaged(format!("key {key:?}"), error))
}
