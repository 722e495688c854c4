//! The newest ops of the log in memory, so that what was just committed goes to every peer without a look at the disk.

use std::collections::{BTreeMap, VecDeque};

use crate::causality::{Dot, Origin};
use crate::storage::StoredOp;

/// What an op takes besides its bytes.
const OP_BYTES: usize = 96;

#[derive(Debug)]
pub(super) struct Tail {
    /// Of each origin the last ones, without a gap.
    origins: BTreeMap<Origin, VecDeque<StoredOp>>,
    /// Of whom they are, the oldest first.
    order: VecDeque<Origin>,
    bytes: usize,
    max_bytes: usize,
}

impl Tail {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { origins: BTreeMap::new(), order: VecDeque::new(), bytes: 0, max_bytes }
    }

    pub(super) fn push(&mut self, op: StoredOp) {
        let origin = op.dot.origin;
        self.bytes += op.bytes.len() + OP_BYTES;
        self.origins.entry(origin).or_default().push_back(op);
        self.order.push_back(origin);
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.order.pop_front() else { return };
            let Some(ops) = self.origins.get_mut(&oldest) else { return };
            if let Some(op) = ops.pop_front() {
                self.bytes -= op.bytes.len() + OP_BYTES;
            }
            if ops.is_empty() {
                self.origins.remove(&oldest);
            }
        }
    }

    pub(super) fn get(&self, dot: Dot) -> Option<&StoredOp> {
        let ops = self.origins.get(&dot.origin)?;
        let index = dot.counter.checked_sub(ops.front()?.dot.counter)?;
        ops.get(usize::try_from(index).ok()?)
    }
}
