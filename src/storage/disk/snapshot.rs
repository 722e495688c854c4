//! The state at one instant.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use lsm_tree::{UserKey, UserValue};

use super::generation::Keys;
use super::instants::Instant;
use super::{outlines, record};
use crate::causality::VersionVector;
use crate::format::op::MAX_KEY_BYTES;
use crate::replica::{Checkpoint, Key, Siblings};
use crate::storage::{BatchLimit, Piece, Snapshot, StorageError};

pub(super) struct DiskSnapshot {
    instant: Instant,
    position: u64,
    vector: VersionVector,
    keys: Arc<Keys>,
}

impl DiskSnapshot {
    /// The state of the engine now, which is as of this checkpoint.
    pub(super) fn take(keys: Arc<Keys>, checkpoint: &Checkpoint) -> Self {
        let Checkpoint { position, vector, .. } = checkpoint;
        Self { instant: keys.engine().now(), position: *position, vector: vector.clone(), keys }
    }

    /// Of which op the one value of a key is, if it has one.
    pub(super) fn outline(&self, key: &str) -> Result<Siblings, StorageError> {
        if let Some(dot) = self.keys.outlines.get(key, self.position) {
            return Ok(Siblings::outline(dot));
        }
        let siblings = self.siblings_once(key)?;
        if let Some(dot) = outlines::only(&siblings) {
            self.keys.outlines.keep(key, self.position, dot);
        }
        Ok(siblings)
    }

    /// All keys behind one, with their siblings.
    pub(super) fn keys_after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = Result<(Key, Siblings), StorageError>> + use<> {
        let keys = self.keys.clone();
        self.records(&[], "", after).map(move |record| {
            let (key, value) = record?;
            let (key, siblings) = decode(&keys, &key, &value)?;
            Ok((key.into(), siblings))
        })
    }

    /// Whether some of the keys are known to be damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.keys.engine().is_damaged()
    }

    /// The position of the last op that it includes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The siblings of a key, which are not kept in memory for having been read.
    pub(super) fn siblings_once(&self, key: &str) -> Result<Siblings, StorageError> {
        match self.keys.hot.get(key, self.position) {
            Some(siblings) => Ok(siblings),
            None => self.keys.engine().siblings(&self.instant, key),
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
    ) -> impl Iterator<Item = Result<(UserKey, UserValue), StorageError>> + use<> {
        // No key is longer than that, so the same keys come after what is left. (The engine panics.)
        let cut = |key: &str| [kind, &key.as_bytes()[..key.len().min(MAX_KEY_BYTES)]].concat();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(cut(after)),
            _ => Bound::Included(cut(prefix)),
        };
        let end = if kind.is_empty() { record::CONFLICTS } else { record::CONFLICTS_END };
        let prefixed = [kind, prefix.as_bytes()].concat();
        let start = start.as_ref().map(Vec::as_slice);
        let records = self.keys.engine().range(&self.instant, (start, Bound::Excluded(end)));
        records.take_while(move |record| record.as_ref().map_or(true, |(key, _)| key.starts_with(&prefixed)))
    }
}

impl Snapshot for DiskSnapshot {
    fn vector(&self) -> &VersionVector {
        &self.vector
    }

    fn siblings(&self, key: &str) -> Result<Siblings, StorageError> {
        if let Some(siblings) = self.keys.hot.get(key, self.position) {
            return Ok(siblings);
        }
        let siblings = self.keys.engine().siblings(&self.instant, key)?;
        self.keys.hot.keep(key, self.position, &siblings);
        Ok(siblings)
    }

    fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Siblings)>, StorageError> {
        let mut keys = Vec::new();
        for record in self.records(&[], prefix, after).take(limit) {
            let (key, value) = record?;
            let (key, siblings) = decode(&self.keys, &key, &value)?;
            keys.push((key.to_owned(), siblings));
        }
        Ok(keys)
    }

    fn piece(&self, after: Option<&str>, limit: BatchLimit) -> Result<Piece, StorageError> {
        let mut piece = Piece::default();
        let mut room = limit.room();
        for record in self.records(&[], "", after) {
            let (key, value) = record?;
            if !room.takes(key.len() + value.len()) {
                return Ok(piece);
            }
            let (key, _) = decode(&self.keys, &key, &value)?;
            piece.keys.push((key.to_owned(), Bytes::copy_from_slice(&value)));
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
        let mut keys = Vec::new();
        for record in self.records(record::CONFLICTS, prefix, after).take(limit) {
            let (key, _) = record?;
            let key = self.keys.engine().noted(text(&key[record::CONFLICTS.len()..]))?.to_owned();
            let siblings = self.siblings_once(&key)?;
            keys.push((key, siblings));
        }
        Ok(keys)
    }
}

/// The record of a key.
fn decode<'k>(keys: &Keys, key: &'k [u8], value: &[u8]) -> Result<(&'k str, Siblings), StorageError> {
    let decoded = text(key).and_then(|key| Ok((key, record::decode_siblings(key, value)?)));
    keys.engine().noted(decoded)
}

fn text(key: &[u8]) -> Result<&str, StorageError> {
    std::str::from_utf8(key).map_err(|error| StorageError::damaged(format!("key {key:?}"), error))
}
