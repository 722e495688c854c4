//! What a store holds when it is opened, and whether it fits together.
//!
//! Every keyspace was written with every commit, so all must be as of the checkpoint's position. When they
//! are not, a part of the store went back or was lost (files restored apart, a journal cut in its middle):
//! going on could show a state that never was, so it is refused.

use std::ops::Bound;

use ::fjall::{Readable, Snapshot};

use super::engine::{Engine, engine_error};
use super::record;
use crate::causality::{Ancestry, Dot};
use crate::format;
use crate::replica::{Checkpoint, Recovered};
use crate::storage::StorageError;

pub(super) fn recover(engine: &Engine) -> Result<Recovered, StorageError> {
    let instant = engine.instant();
    let checkpoint = engine.checkpoint(&instant)?;
    let ancestry = read_ancestry(engine, &instant)?;
    check_keys(engine, &instant, &checkpoint)?;
    let last = check_order(engine, &instant, &checkpoint)?;
    let ends = read_log_ends(engine, &instant)?;
    if last.is_none() && !ends.is_empty() {
        return Err(StorageError::damaged("the op log", "it has ops without a place in it"));
    }
    for dot in ends.iter().chain(&last) {
        if !ancestry.covers(&checkpoint.vector, *dot) {
            return Err(StorageError::damaged(format!("op {dot}"), "it is in the log, but not in the checkpoint"));
        }
    }
    Ok(Recovered { checkpoint, ancestry })
}

fn read_ancestry(engine: &Engine, instant: &Snapshot) -> Result<Ancestry, StorageError> {
    let mut ancestry = Ancestry::new();
    for record in instant.prefix(&engine.meta, record::ANCESTRY) {
        let (key, value) = record.into_inner().map_err(engine_error)?;
        let origin = record::read_ancestry_key(&key)?;
        let parents = format::ancestry::decode(origin, &value)
            .map_err(|error| StorageError::damaged(format!("the ancestry of {origin}"), error))?;
        ancestry.insert(origin, &parents);
    }
    Ok(ancestry)
}

fn check_keys(engine: &Engine, instant: &Snapshot, checkpoint: &Checkpoint) -> Result<(), StorageError> {
    let bytes = instant.get(&engine.keys, record::KEYS_POSITION).map_err(engine_error)?;
    let bytes = bytes.ok_or_else(|| StorageError::damaged("the store", "its keys have no position"))?;
    same_position("keys", record::decode_position(&bytes)?, checkpoint)
}

/// The last op of the log, if it has any. (It has none when none was written, or all were trimmed.)
fn check_order(engine: &Engine, instant: &Snapshot, checkpoint: &Checkpoint) -> Result<Option<Dot>, StorageError> {
    let Some(last) = instant.last_key_value(&engine.order) else { return Ok(None) };
    let (key, value) = last.into_inner().map_err(engine_error)?;
    let position = record::read_position(&key)
        .ok_or_else(|| StorageError::damaged("the order of the log", "a key in it is not a position"))?;
    same_position("ops", position, checkpoint)?;
    let dot = record::decode_order(position, &value)?;
    let bytes = instant.get(&engine.ops, record::dot_key(dot)).map_err(engine_error)?;
    let bytes = bytes.ok_or_else(|| StorageError::damaged(format!("op {dot}"), "it is missing from the log"))?;
    if record::decode_op(dot, &bytes)?.op.position != position {
        return Err(StorageError::damaged(format!("op {dot}"), "it has another position than its place in the log"));
    }
    Ok(Some(dot))
}

fn same_position(what: &str, found: u64, checkpoint: &Checkpoint) -> Result<(), StorageError> {
    if found == checkpoint.position {
        return Ok(());
    }
    let problem = format!("its {what} end at position {found}, its checkpoint is of {}", checkpoint.position);
    Err(StorageError::damaged("the store", problem))
}

/// The last op of every origin in the log, found by a seek an origin.
fn read_log_ends(engine: &Engine, instant: &Snapshot) -> Result<Vec<Dot>, StorageError> {
    let mut ends = Vec::new();
    let mut below = Bound::Unbounded;
    while let Some(last) = instant.range(&engine.ops, (Bound::Unbounded, below)).next_back() {
        let dot = record::read_dot_key(&last.key().map_err(engine_error)?)?;
        ends.push(dot);
        below = Bound::Excluded(record::dot_key(dot.origin.dot(0)));
    }
    ends.reverse();
    Ok(ends)
}
