//! Ops of the log that are done again on keys that do not have them yet.

use std::collections::BTreeMap;

use super::conflicts::ConflictChanges;
use super::engine::{Changes, Engine};
use super::instants::Instant;
use super::record;
use crate::replica::{Entry, Key, Op, Siblings};
use crate::storage::StorageError;

/// What ops changed since the last write, collected for one.
pub(super) struct Redo<'a> {
    engine: &'a Engine,
    /// As of the last write.
    instant: Instant,
    states: BTreeMap<Key, Siblings>,
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    conflicts: ConflictChanges,
    ops: usize,
}

impl<'a> Redo<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        let (states, records, conflicts) = (BTreeMap::new(), Vec::new(), ConflictChanges::default());
        Self { engine, instant: engine.now(), states, records, conflicts, ops: 0 }
    }

    /// How many ops are not written yet.
    pub(super) fn ops(&self) -> usize {
        self.ops
    }

    /// Does an op again; `apply` does so with one of its keys.
    pub(super) fn op(&mut self, op: &Op, mut apply: impl FnMut(&Entry, &mut Siblings)) -> Result<(), StorageError> {
        for entry in &op.entries {
            let mut siblings = match self.states.remove(&entry.key) {
                Some(siblings) => siblings,
                None => self.engine.siblings(&self.instant, &entry.key)?,
            };
            apply(entry, &mut siblings);
            self.conflicts.note(entry, &siblings);
            self.states.insert(entry.key.clone(), siblings);
        }
        if !op.parents.is_empty() {
            self.records.push(record::ancestry(op.dot.origin, &op.parents));
        }
        self.ops += 1;
        Ok(())
    }

    /// Writes what they changed, once there is room. Whether a write buffer is full then.
    pub(super) fn write(&mut self) -> Result<bool, StorageError> {
        self.engine.wait_for_room()?;
        let (states, mut records) = (std::mem::take(&mut self.states), std::mem::take(&mut self.records));
        let states = states.iter().map(|(key, siblings)| (&**key, siblings)).collect();
        records.extend(std::mem::take(&mut self.conflicts).into_records());
        let is_full = self.engine.write(Changes { states, records });
        (self.instant, self.ops) = (self.engine.now(), 0);
        Ok(is_full)
    }
}
