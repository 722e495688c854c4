//! Reading the op log: ranges of several origins, merged by position.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ::fjall::{Guard, Iter, Readable};

use super::engine::{Engine, engine_error};
use super::record::{self, LogRecord};
use crate::causality::Dot;
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

/// The bytes of the ops of these ranges that are in the log.
pub(super) fn bytes(engine: &Engine, ranges: &[OpRange]) -> Result<u64, StorageError> {
    let instant = engine.instant();
    let mut bytes = 0;
    for range in ranges.iter().filter(|range| range.first <= range.last) {
        let (first, last) = (range.origin.dot(range.first), range.origin.dot(range.last));
        let mut records = instant.range(&engine.ops, record::dot_key(first)..=record::dot_key(last));
        let Some(first) = records.next().map(read_record).transpose()? else { continue };
        let of_first = first.op.bytes.len() as u64;
        let before = first.total_bytes;
        // Where only one op of the range is in the log, that is the last too.
        let last = records.next_back().map(read_record).transpose()?.unwrap_or(first);
        // An op that was lost from the end of an origin's log leaves totals behind it that start again.
        let after = last.total_bytes.checked_sub(before).ok_or_else(|| {
            StorageError::damaged(format!("op {}", last.op.dot), "the bytes up to it are fewer than those before it")
        })?;
        bytes += of_first + after;
    }
    Ok(bytes)
}

/// The bytes of an origin's ops up to and with `dot`; 0 when that is not in the log.
pub(super) fn total_bytes(engine: &Engine, dot: Dot) -> Result<u64, StorageError> {
    let bytes = engine.instant().get(&engine.ops, record::dot_key(dot)).map_err(engine_error)?;
    bytes.map_or(Ok(0), |bytes| Ok(record::decode_op(dot, &bytes)?.total_bytes))
}

fn read_record(record: Guard) -> Result<LogRecord, StorageError> {
    let (key, value) = record.into_inner().map_err(engine_error)?;
    record::decode_op(record::read_dot_key(&key)?, &value)
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
        let LogRecord { op, .. } = read_record(record)?;
        let dot = op.dot;
        if let Some(expected) = self.next.filter(|expected| *expected != dot.counter) {
            let missing = dot.origin.dot(expected);
            return Err(StorageError::damaged(format!("op {missing}"), "it is missing from the log"));
        }
        self.next = Some(dot.counter + 1);
        let position = op.position;
        self.head = Some(op);
        Ok(Some(position))
    }
}
