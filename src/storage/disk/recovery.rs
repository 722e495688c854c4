//! What a store holds when it is opened, and whether it fits together.
//!
//! The engine has the state as of some commit, the op log goes on from there: what the log has behind it is
//! done again, and what it has of the last minutes is looked through for idempotency keys. A log that begins later or ends
//! earlier is another one, or a part of either was lost (files restored apart): going on could show a state that never
//! was, so it is refused.

use std::collections::BTreeMap;

use super::conflicts::ConflictChanges;
use super::engine::{Changes, Engine};
use super::instants::Instant;
use super::record;
use crate::causality::{Hlc, VersionVector, WallMs};
use crate::format;
use crate::replica::{Key, KeyedOps, REPEATS_MS, Recovered, Siblings};
use crate::storage::StorageError;
use crate::storage::oplog::{self, Appender, Commit, OpLog, Replay};

/// How much of the end of the log is looked through for idempotency keys, to the start of the file where that is.
const RECENT_BYTES: u64 = 64 << 20;

/// Ops that are done again in one write.
const MAX_OPS_A_WRITE: usize = 1_024;

pub(super) fn recover(engine: &Engine, log: &OpLog, appender: &Appender) -> Result<Recovered, StorageError> {
    let instant = engine.now();
    let checkpoint = engine.checkpoint(&instant)?;
    let ancestry = engine.ancestry(&instant)?;
    let (start, last, after) = (log.start(), appender.last_position(), checkpoint.position);
    if last < after || start > after {
        let first = start + 1;
        let problem = format!("its op log has positions {first} to {last}, its keys are as of position {after}");
        return Err(StorageError::damaged("the store", problem));
    }
    engine.has_checkpoint(after);
    let recent = Hlc::at(WallMs(checkpoint.hlc.wall().0.saturating_sub(REPEATS_MS)));
    let from = log.position_before(recent, RECENT_BYTES)?.min(after);
    let recovered = Recovered { checkpoint, ancestry, keyed: KeyedOps::default(), floor: VersionVector::new() };
    let (states, records, conflicts) = (BTreeMap::new(), Vec::new(), ConflictChanges::default());
    let mut redo = Redo { engine, after, instant, recovered, states, records, conflicts, ops: 0 };
    log.replay(from, &mut redo)?;
    redo.write()?;
    let Recovered { checkpoint, ancestry, keyed, .. } = redo.recovered;
    if let Some(dot) = log.ends().into_iter().find(|dot| !ancestry.covers(&checkpoint.vector, *dot)) {
        return Err(StorageError::damaged(format!("op {dot}"), "it is in the log, but not in the checkpoint"));
    }
    let mut floor = log.last_base().floor;
    ancestry.join(&mut floor, &log.first_vector());
    if after < last {
        tracing::info!(ops = last - after, "brought the keys up to the end of the op log");
    }
    Ok(Recovered { checkpoint, ancestry, keyed, floor })
}

/// Ops that are being done again, commit by commit.
struct Redo<'a> {
    engine: &'a Engine,
    /// What the engine has. Of ops up to there only those that have an idempotency key matter.
    after: u64,
    /// As of the last write.
    instant: Instant,
    /// As of the last of them.
    recovered: Recovered,
    /// What they wrote and the engine does not have yet.
    states: BTreeMap<Key, Siblings>,
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    conflicts: ConflictChanges,
    ops: usize,
}

impl Replay for Redo<'_> {
    fn op(&mut self, position: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let unreadable = |error| oplog::unreadable(position, error);
        if position <= self.after && !format::op::may_have_idempotency_key(bytes) {
            return Ok(());
        }
        let op = format::op::decode(bytes).map_err(unreadable)?;
        self.recovered.keyed.note(position, &op);
        if position <= self.after {
            return Ok(());
        }
        for entry in &op.entries {
            let mut siblings = match self.states.remove(&entry.key) {
                Some(siblings) => siblings,
                None => self.engine.siblings(&self.instant, &entry.key)?,
            };
            siblings.apply(op.dot, op.hlc, position, entry);
            self.conflicts.note(entry, &siblings);
            self.states.insert(entry.key.clone(), siblings);
        }
        let Recovered { checkpoint, ancestry, .. } = &mut self.recovered;
        if !op.parents.is_empty() {
            ancestry.insert(op.dot.origin, &op.parents);
            self.records.push(record::ancestry(op.dot.origin, &op.parents));
        }
        ancestry.advance(&mut checkpoint.vector, op.dot);
        self.ops += 1;
        Ok(())
    }

    fn end(&mut self, commit: &Commit) -> Result<(), StorageError> {
        if commit.position <= self.after {
            return Ok(());
        }
        let checkpoint = &mut self.recovered.checkpoint;
        (checkpoint.position, checkpoint.hlc, checkpoint.totals) = (commit.position, commit.hlc, commit.totals);
        if self.ops >= MAX_OPS_A_WRITE { self.write() } else { Ok(()) }
    }
}

impl Redo<'_> {
    fn write(&mut self) -> Result<(), StorageError> {
        self.engine.wait_for_room()?;
        let states = std::mem::take(&mut self.states);
        let states = states.iter().map(|(key, siblings)| (&**key, siblings)).collect();
        self.records.extend(std::mem::take(&mut self.conflicts).into_records());
        if self.engine.write(Changes { states, records: std::mem::take(&mut self.records) }) {
            self.engine.set_aside(&self.recovered.checkpoint);
        }
        (self.instant, self.ops) = (self.engine.now(), 0);
        Ok(())
    }
}
