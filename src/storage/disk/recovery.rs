//! What a store holds when it is opened, and whether it fits together.
//!
//! The engine has the state as of some commit, the op log goes on from there: what the log has behind it is
//! done again, and what it has of the last minutes is looked through for idempotency keys. A log that begins later or ends
//! earlier is another one, or a part of either was lost (files restored apart): going on could show a state that never
//! was, so it is refused.

use super::engine::Engine;
use super::redo::Redo;
use crate::causality::{Hlc, VersionVector, WallMs};
use crate::format;
use crate::replica::{KeyedOps, REPEATS_MS, Recovered};
use crate::storage::StorageError;
use crate::storage::oplog::{self, Appender, Commit, OpLog, Replay};

/// How much of the end of the log is looked through for idempotency keys, to the start of the file where that is.
const RECENT_BYTES: u64 = 64 << 20;

/// Ops that are done again in one write.
const MAX_OPS_A_WRITE: usize = 1_024;

pub(super) fn recover(engine: &Engine, log: &OpLog, appender: &Appender) -> Result<Recovered, StorageError> {
    let (checkpoint, ancestry) = (engine.checkpoint(&engine.now())?, engine.ancestry(&engine.now())?);
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
    let mut recovery = Recovery { engine, after, recovered, redo: Redo::new(engine) };
    log.replay(from, &mut recovery)?;
    recovery.write()?;
    let Recovered { checkpoint, ancestry, keyed, .. } = recovery.recovered;
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

/// What is brought up to the end of the log, commit by commit.
struct Recovery<'a> {
    engine: &'a Engine,
    /// What the engine has. Of ops up to there only those that have an idempotency key matter.
    after: u64,
    /// As of the last commit.
    recovered: Recovered,
    redo: Redo<'a>,
}

impl Replay for Recovery<'_> {
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
        self.redo.op(&op, |entry, siblings| siblings.apply(op.dot, op.hlc, position, entry))?;
        let Recovered { checkpoint, ancestry, .. } = &mut self.recovered;
        ancestry.insert(op.dot.origin, &op.parents);
        ancestry.advance(&mut checkpoint.vector, op.dot);
        Ok(())
    }

    fn end(&mut self, commit: &Commit) -> Result<(), StorageError> {
        if commit.position <= self.after {
            return Ok(());
        }
        let checkpoint = &mut self.recovered.checkpoint;
        (checkpoint.position, checkpoint.hlc, checkpoint.totals) = (commit.position, commit.hlc, commit.totals);
        if self.redo.ops() >= MAX_OPS_A_WRITE { self.write() } else { Ok(()) }
    }
}

impl Recovery<'_> {
    fn write(&mut self) -> Result<(), StorageError> {
        if self.redo.write()? {
            self.engine.set_aside(&self.recovered.checkpoint);
        }
        Ok(())
    }
}
