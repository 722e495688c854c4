//! Reading the op log: ranges of several origins, merged by position.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ::fjall::{Iter, Readable};

use super::engine::{Engine, engine_error};
use super::record;
use crate::replica::OpRange;
use crate::storage::{BatchLimit, StorageError, StoredOp};

/// Holds one op a range besides those it returns.
pub(super) fn read(engine: &Engine, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
    let instant = engine.instant();
    let mut cursors = Vec::with_capacity(ranges.len());
    let mut order = BinaryHeap::with_capacity(ranges.len());
    for range in ranges.iter().filter(|range| range.first <= range.last) {
        let (first, last) = (range.origin.dot(range.first), range.origin.dot(range.last));
        let records = instant.range(&engine.ops, record::dot_key(first)..=record::dot_key(last));
        let mut cursor = Cursor { records, head: None, next: None };
        if let Some(position) = cursor.advance()? {
            order.push(Reverse((position, cursors.len())));
            cursors.push(cursor);
        }
    }
    let mut ops: Vec<StoredOp> = Vec::new();
    let mut bytes = 0;
    while let Some(Reverse((_, index))) = order.pop() {
        let cursor: &mut Cursor = &mut cursors[index];
        let op = cursor.head.take().expect("a cursor in the heap has a head");
        bytes += op.bytes.len();
        if !ops.is_empty() && (ops.len() >= limit.ops || bytes > limit.bytes) {
            break;
        }
        ops.push(op);
        if let Some(position) = cursor.advance()? {
            order.push(Reverse((position, index)));
        }
    }
    Ok(ops)
}

/// One origin's ops, in order of their counters and so of their positions.
struct Cursor {
    records: Iter,
    head: Option<StoredOp>,
    /// The counter that comes next, once one was read.
    next: Option<u64>,
}

impl Cursor {
    /// Reads the next op; its position.
    fn advance(&mut self) -> Result<Option<u64>, StorageError> {
        let Some(record) = self.records.next() else { return Ok(None) };
        let (key, value) = record.into_inner().map_err(engine_error)?;
        let dot = record::read_dot_key(&key)?;
        if let Some(expected) = self.next.filter(|expected| *expected != dot.counter) {
            let missing = dot.origin.dot(expected);
            return Err(StorageError::damaged(format!("op {missing}"), "it is missing from the log"));
        }
        self.next = Some(dot.counter + 1);
        let op = record::decode_op(dot, &value)?;
        let position = op.position;
        self.head = Some(op);
        Ok(Some(position))
    }
}
