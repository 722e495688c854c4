//! Reading, in order of position, ranges of several origins or all from a position on: from the tail in memory, else
//! along the segments.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{self, Place};
use super::record::Record;
use super::segment::{self, Segment, Step, Walk};
use super::{Committed, OpLog, broken, unreadable};
use crate::causality::{Dot, Origin};
use crate::format;
use crate::replica::OpRange;
use crate::storage::{BatchLimit, StorageError, StoredOp};

impl OpLog {
    /// The ops of these ranges that the log has, as many as fit.
    pub(in crate::storage) fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        let mut batch = Batch { ops: Vec::new(), bytes: 0, limit };
        let committed = self.read_committed();
        let wanted: Vec<OpRange> = ranges.iter().filter_map(|range| committed.index.clip(range)).collect();
        if wanted.iter().all(|range| committed.tail.get(range.origin.dot(range.first)).is_some()) {
            merge_tail(&committed, wanted, &mut batch);
        } else {
            drop(committed);
            self.scan(wanted, &mut batch)?;
        }
        Ok(batch.ops)
    }

    /// The ops behind a position, as many as fit.
    pub(in crate::storage) fn ops_after(
        &self,
        position: u64,
        limit: BatchLimit,
    ) -> Result<Vec<StoredOp>, StorageError> {
        let mut batch = Batch { ops: Vec::new(), bytes: 0, limit };
        let place = {
            let committed = self.read_committed();
            let first = position.saturating_add(1);
            if first >= committed.next {
                return Ok(Vec::new());
            }
            if let Some(mut newest) = committed.tail.from(first) {
                // It stops where one does not fit.
                newest.all(|op| batch.add(op.clone()));
                return Ok(batch.ops);
            }
            let mark = committed.index.mark_before(first);
            mark.map_or_else(|| committed.first_place(), |mark| mark.place)
        };
        let mut scan = Scan::begin(self, place);
        loop {
            match scan.step()? {
                Found::Op { position: found, .. } if found <= position => {}
                Found::Op { position, dot, bytes } => {
                    if !batch.add(StoredOp { position, dot, bytes: Bytes::copy_from_slice(bytes) }) {
                        return Ok(batch.ops);
                    }
                }
                Found::Other => {}
                Found::End => return Ok(batch.ops),
            }
        }
    }

    /// The bytes of the ops of these ranges that the log has.
    pub(in crate::storage) fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        let mut bytes = 0;
        for range in ranges {
            let Some(range) = self.read_committed().index.clip(range) else { continue };
            bytes += self.bytes_before(range.origin.dot(range.last + 1))?;
            bytes -= self.bytes_before(range.origin.dot(range.first))?;
        }
        Ok(bytes)
    }

    /// The bytes of the ops of `dot`'s origin that come before it in the log; it is in there or is the next.
    fn bytes_before(&self, dot: Dot) -> Result<u64, StorageError> {
        let mark = {
            let committed = self.read_committed();
            let all =
                committed.index.origins.get(&dot.origin).filter(|all| all.last < dot.counter).map(|all| all.bytes);
            if let Some(all) = all {
                return Ok(all);
            }
            committed.index.mark(dot).ok_or_else(|| index::missing(dot))?
        };
        let mut bytes = mark.before;
        if mark.counter == dot.counter {
            return Ok(bytes);
        }
        let mut scan = Scan::begin(self, mark.place);
        loop {
            match scan.step()? {
                Found::Op { dot: found, .. } if found == dot => return Ok(bytes),
                Found::Op { dot: found, bytes: op, .. } if found.origin == dot.origin => bytes += op.len() as u64,
                Found::Op { .. } | Found::Other => {}
                Found::End => return Err(index::missing(dot)),
            }
        }
    }

    /// Reads on from the first op that is wanted, and leaves out what has none.
    fn scan(&self, wanted: Vec<OpRange>, batch: &mut Batch) -> Result<(), StorageError> {
        let mut wanted: BTreeMap<Origin, OpRange> = wanted.into_iter().map(|range| (range.origin, range)).collect();
        let mut scan = Scan::begin(self, self.first_place(wanted.values())?);
        while let Some(missing) = wanted.values().next() {
            let missing = missing.origin.dot(missing.first);
            if scan.walk.is_drained() {
                scan.skip_to(self.first_place(wanted.values())?);
            }
            let (position, dot, bytes) = match scan.step()? {
                Found::Op { position, dot, bytes } => (position, dot, bytes),
                Found::Other => continue,
                Found::End => return Err(index::missing(missing)),
            };
            let Some(range) = wanted.get_mut(&dot.origin).filter(|range| range.first <= dot.counter) else { continue };
            if range.first < dot.counter {
                return Err(index::missing(dot.origin.dot(range.first)));
            }
            if !batch.add(StoredOp { position, dot, bytes: Bytes::copy_from_slice(bytes) }) {
                return Ok(());
            }
            range.first += 1;
            if range.first > range.last {
                wanted.remove(&dot.origin);
            }
        }
        Ok(())
    }

    fn first_place<'a>(&self, wanted: impl Iterator<Item = &'a OpRange>) -> Result<Place, StorageError> {
        let committed = self.read_committed();
        let mut first: Option<Place> = None;
        for range in wanted {
            let dot = range.origin.dot(range.first);
            let place = committed.index.mark(dot).ok_or_else(|| index::missing(dot))?.place;
            first = Some(first.map_or(place, |first| first.min(place)));
        }
        Ok(first.expect("something is wanted"))
    }

    /// The first segment from a position on, and where its last commit ends.
    fn segment(&self, from: Bound<u64>) -> Option<(Arc<Segment>, u64)> {
        self.read_committed().segments.range((from, Bound::Unbounded)).next().map(|(_, segment)| segment.clone())
    }
}

/// Goes along the log, from segment to segment.
struct Scan<'a> {
    log: &'a OpLog,
    walk: Walk,
}

enum Found<'s> {
    Op { position: u64, dot: Dot, bytes: &'s [u8] },
    Other,
    End,
}

impl<'a> Scan<'a> {
    fn begin(log: &'a OpLog, place: Place) -> Self {
        Self { log, walk: walk(log, place) }
    }

    /// Goes on there, unless it is farther already.
    fn skip_to(&mut self, place: Place) {
        if place > (Place { segment: self.walk.segment.first, offset: self.walk.offset() }) {
            self.walk = walk(self.log, place);
        }
    }

    fn step(&mut self) -> Result<Found<'_>, StorageError> {
        let offset = self.walk.offset();
        let segment = self.walk.segment.clone();
        if offset >= self.walk.end {
            let Some((next, end)) = self.log.segment(Bound::Excluded(segment.first)) else { return Ok(Found::End) };
            self.walk = next.walk(segment::HEADER_BYTES, end);
            return Ok(Found::Other);
        }
        match self.walk.step().map_err(StorageError::Log)? {
            Step::Record(_, Record::Op { position, bytes }) => {
                let dot = format::op::dot(bytes).map_err(|error| unreadable(position, error))?;
                Ok(Found::Op { position, dot, bytes })
            }
            Step::Record(..) | Step::End => Ok(Found::Other),
            Step::Broken => Err(broken(&segment, offset)),
        }
    }
}

fn walk(log: &OpLog, place: Place) -> Walk {
    let (segment, end) = log.segment(Bound::Included(place.segment)).expect("the index knows segments of the log only");
    segment.walk(place.offset, end)
}

fn merge_tail(committed: &Committed, wanted: Vec<OpRange>, batch: &mut Batch) {
    let mut next = BinaryHeap::with_capacity(wanted.len());
    let head =
        |range: &OpRange| committed.tail.get(range.origin.dot(range.first)).filter(|_| range.first <= range.last);
    next.extend(wanted.into_iter().filter_map(|range| Some(Reverse((head(&range)?.position, range)))));
    while let Some(Reverse((_, mut range))) = next.pop() {
        let Some(op) = head(&range) else { continue };
        if !batch.add(op.clone()) {
            return;
        }
        range.first += 1;
        next.extend(head(&range).map(|op| Reverse((op.position, range))));
    }
}

struct Batch {
    ops: Vec<StoredOp>,
    bytes: usize,
    limit: BatchLimit,
}

impl Batch {
    /// Whether it fitted.
    fn add(&mut self, op: StoredOp) -> bool {
        self.bytes += op.bytes.len();
        let fits = self.ops.is_empty() || (self.ops.len() < self.limit.ops && self.bytes <= self.limit.bytes);
        if fits {
            self.ops.push(op);
        }
        fits
    }
}
