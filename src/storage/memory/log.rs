//! The log of the store in memory. Every commit is a run.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::causality::{Dot, Origin};
use crate::format;
use crate::replica::{Append, Checkpoint, OpRange};
use crate::storage::{LogRun, LogSize, StoredOp};

#[derive(Default)]
pub(super) struct Log {
    ops: BTreeMap<u64, StoredOp>,
    /// Where they are. Of each origin without a gap.
    positions: BTreeMap<Dot, u64>,
    closed: VecDeque<LogRun>,
    open: Option<LogRun>,
    /// The position behind which it has no gap.
    start: u64,
}

impl Log {
    pub(super) fn append(&mut self, appends: &[Append], checkpoint: &Checkpoint) {
        self.closed.extend(self.open.take());
        let mut bytes = 0;
        for Append { position, op, .. } in appends {
            let stored = StoredOp { position: *position, dot: op.dot, bytes: format::op::encode(op).into() };
            bytes += stored.bytes.len() as u64;
            if self.last(op.dot.origin).is_some_and(|last| last + 1 < op.dot.counter) {
                // Those before came before a state that had those in between.
                self.forget(op.dot.origin);
            }
            self.positions.insert(op.dot, *position);
            self.ops.insert(*position, stored);
        }
        let Checkpoint { vector, position, hlc, .. } = checkpoint.clone();
        self.open = Some(LogRun { last: position, bytes, ended: hlc, vector });
    }

    fn last(&self, origin: Origin) -> Option<u64> {
        self.positions.range(all_of(origin)).next_back().map(|(dot, _)| dot.counter)
    }

    fn forget(&mut self, origin: Origin) {
        while let Some((dot, position)) = self.positions.range(all_of(origin)).next() {
            self.ops.remove(position);
            let dot = *dot;
            self.positions.remove(&dot);
        }
    }

    /// Goes on behind a position.
    pub(super) fn leap(&mut self, position: u64) {
        self.closed.extend(self.open.take());
        self.start = position;
    }

    /// Drops the runs that end there or before.
    pub(super) fn trim(&mut self, through: u64) -> Vec<LogRun> {
        let mut trimmed = Vec::new();
        while let Some(run) = self.closed.pop_front_if(|run| run.last <= through) {
            self.start = self.start.max(run.last);
            trimmed.push(run);
        }
        if let Some(last) = trimmed.last() {
            let kept = self.ops.split_off(&(last.last + 1));
            for op in std::mem::replace(&mut self.ops, kept).into_values() {
                self.positions.remove(&op.dot);
            }
        }
        trimmed
    }

    pub(super) fn ops(&self) -> impl Iterator<Item = &StoredOp> {
        self.ops.values()
    }

    pub(super) fn range(&self, range: &OpRange) -> impl Iterator<Item = &StoredOp> {
        let last = range.last.max(range.first);
        let found = self.positions.range(range.origin.dot(range.first)..=range.origin.dot(last));
        found.filter(|_| range.first <= range.last).map(|(_, position)| &self.ops[position])
    }

    pub(super) fn after(&self, position: u64) -> impl Iterator<Item = &StoredOp> {
        let from = Bound::Excluded(position.max(self.start));
        self.ops.range((from, Bound::Unbounded)).map(|(_, op)| op)
    }

    /// The same also before the start of the log.
    pub(super) fn behind(&self, position: u64) -> impl Iterator<Item = &StoredOp> {
        self.ops.range((Bound::Excluded(position), Bound::Unbounded)).map(|(_, op)| op)
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn runs(&self) -> Vec<LogRun> {
        self.closed.iter().cloned().collect()
    }

    pub(super) fn size(&self) -> LogSize {
        LogSize { ops: self.ops.len() as u64, bytes: self.ops.values().map(|op| op.bytes.len() as u64).sum() }
    }
}

fn all_of(origin: Origin) -> std::ops::RangeInclusive<Dot> {
    origin.dot(0)..=origin.dot(u64::MAX)
}
