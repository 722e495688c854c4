//! The newest ops of the log in memory, so that what was just committed goes to every peer and every watcher without a
//! look at the disk.

use std::collections::{BTreeMap, VecDeque};

use crate::causality::{Dot, Origin};
use crate::storage::StoredOp;

/// What an op takes besides its bytes.
const OP_BYTES: usize = 96;

#[derive(Debug)]
pub(super) struct Tail {
    /// In order of their positions, without a gap.
    ops: VecDeque<StoredOp>,
    /// Of each origin that has some of them.
    origins: BTreeMap<Origin, OfOrigin>,
    bytes: usize,
    max_bytes: usize,
}

/// The ops of one origin, without a gap.
#[derive(Debug)]
struct OfOrigin {
    /// The counter of the first.
    first: u64,
    /// Where they are in the log.
    positions: VecDeque<u64>,
}

impl Tail {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { ops: VecDeque::new(), origins: BTreeMap::new(), bytes: 0, max_bytes }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_bytes);
    }

    pub(super) fn push(&mut self, op: StoredOp) {
        self.bytes += op.bytes.len() + OP_BYTES;
        let new = || OfOrigin { first: op.dot.counter, positions: VecDeque::new() };
        self.origins.entry(op.dot.origin).or_insert_with(new).positions.push_back(op.position);
        self.ops.push_back(op);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.ops.pop_front() else { return };
            self.bytes -= oldest.bytes.len() + OP_BYTES;
            let Some(of_origin) = self.origins.get_mut(&oldest.dot.origin) else { return };
            of_origin.positions.pop_front();
            of_origin.first += 1;
            if of_origin.positions.is_empty() {
                self.origins.remove(&oldest.dot.origin);
            }
        }
    }

    pub(super) fn get(&self, dot: Dot) -> Option<&StoredOp> {
        let of_origin = self.origins.get(&dot.origin)?;
        let index = usize::try_from(dot.counter.checked_sub(of_origin.first)?).ok()?;
        self.ops.get(self.index(*of_origin.positions.get(index)?)?)
    }

    /// The ops from a position on; `None` when it is not among them.
    pub(super) fn from(&self, position: u64) -> Option<impl Iterator<Item = &StoredOp>> {
        let index = self.index(position).filter(|index| *index < self.ops.len())?;
        Some(self.ops.range(index..))
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.ops.front()?.position)?).ok()
    }
}
