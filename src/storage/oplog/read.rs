//! Reading, in order of position, ranges of several origins or all from a position on: from the tail in memory, else
//! along the segments.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::ops::Bound;

use bytes::Bytes;

use super::index::{self, Mark, Place};
use super::record::Record;
use super::segment::{Step, Walk};
use super::{Committed, OpLog, Part, broken, unreadable};
use crate::causality::{Dot, Origin};
use crate::format;
use crate::replica::OpRange;
use crate::storage::{BatchLimit, Room, StorageError, StoredOp};

impl OpLog {
    /// The ops of these ranges that the log has, as many as fit.
    pub(in crate::storage) fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        let mut batch = Batch { ops: Vec::new(), room: limit.room() };
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
        let start = self.read_committed().start();
        self.ops_behind(position.max(start), limit)
    }

    /// The same also before the start of the log: it goes on behind a gap as if there was none.
    pub(in crate::storage) fn ops_behind(
        &self,
        position: u64,
        limit: BatchLimit,
    ) -> Result<Vec<StoredOp>, StorageError> {
        let mut batch = Batch { ops: Vec::new(), room: limit.room() };
        let walk = {
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
            let place = committed.index.mark_before(first).map(|mark| mark.place);
            committed.walk(place.unwrap_or_else(|| committed.first_place()))
        };
        let mut scan = Scan { log: self, walk };
        loop {
            match scan.step()? {
                Found::Op { position: found, .. } if found <= position => {}
                Found::Op { position, dot, bytes } => {
                    // What comes between may have been trimmed meanwhile.
                    let goes_on = batch.ops.last().is_none_or(|last| last.position + 1 == position);
                    if !goes_on || !batch.add(StoredOp { position, dot, bytes: Bytes::copy_from_slice(bytes) }) {
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
            let (first, behind) = {
                let committed = self.read_committed();
                let Some(range) = committed.index.clip(range) else { continue };
                (committed.way_to(range.origin.dot(range.first))?, committed.way_to(range.origin.dot(range.last + 1))?)
            };
            bytes += self.bytes_before(behind)? - self.bytes_before(first)?;
        }
        Ok(bytes)
    }

    /// The bytes of the ops of an op's origin that come before it in the log.
    fn bytes_before(&self, way: Way) -> Result<u64, StorageError> {
        let Way { to, before: mut bytes, walk } = way;
        let Some(walk) = walk else { return Ok(bytes) };
        let mut scan = Scan { log: self, walk };
        loop {
            match scan.step()? {
                Found::Op { dot: found, .. } if found == to => return Ok(bytes),
                Found::Op { dot: found, bytes: op, .. } if found.origin == to.origin => bytes += op.len() as u64,
                Found::Op { .. } | Found::Other => {}
                Found::End => return Err(index::missing(to)),
            }
        }
    }

    /// Reads on from the first op that is wanted, and leaves out what has none.
    fn scan(&self, wanted: Vec<OpRange>, batch: &mut Batch) -> Result<(), StorageError> {
        let mut wanted: BTreeMap<Origin, OpRange> = wanted.into_iter().map(|range| (range.origin, range)).collect();
        let Some(walk) = self.walk_to_first(&mut wanted, batch) else { return Ok(()) };
        let mut scan = Scan { log: self, walk };
        while let Some(missing) = wanted.values().next().map(|range| range.origin.dot(range.first)) {
            if scan.walk.is_drained() {
                let Some(walk) = self.walk_to_first(&mut wanted, batch) else { return Ok(()) };
                scan.skip_to(walk);
            }
            let (position, dot, bytes) = match scan.step()? {
                Found::Op { position, dot, bytes } => (position, dot, bytes),
                Found::Other => continue,
                Found::End => return self.scan_again(wanted, batch, missing),
            };
            let Some(range) = wanted.get_mut(&dot.origin).filter(|range| range.first <= dot.counter) else { continue };
            if range.first < dot.counter {
                let missing = dot.origin.dot(range.first);
                return self.scan_again(wanted, batch, missing);
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

    /// An op that is wanted did not come: if the log was trimmed meanwhile, what is left is for this batch, or the next.
    fn scan_again(
        &self,
        wanted: BTreeMap<Origin, OpRange>,
        batch: &mut Batch,
        missing: Dot,
    ) -> Result<(), StorageError> {
        let left = self.read_committed().left(&wanted);
        if left == wanted {
            Err(index::missing(missing))
        } else if batch.ops.is_empty() {
            self.scan(left.into_values().collect(), batch)
        } else {
            Ok(())
        }
    }

    /// A walk that comes to the first of the ops that are wanted. `None` if none is there any more, or some are not
    /// and the batch would have a gap.
    fn walk_to_first(&self, wanted: &mut BTreeMap<Origin, OpRange>, batch: &Batch) -> Option<Walk> {
        let committed = self.read_committed();
        let left = committed.left(wanted);
        if left != *wanted && !batch.ops.is_empty() {
            return None;
        }
        *wanted = left;
        let place =
            |range: &OpRange| committed.index.mark(range.origin.dot(range.first)).map(|Mark { place, .. }| place);
        wanted.values().filter_map(place).min().map(|place| committed.walk(place))
    }

    /// The first segment from a position on, as far as it is committed.
    fn segment(&self, from: Bound<u64>) -> Option<Part> {
        self.read_committed().segments.range((from, Bound::Unbounded)).next().map(|(_, part)| part.clone())
    }
}

impl Committed {
    /// What of these ranges is in the log.
    fn left(&self, wanted: &BTreeMap<Origin, OpRange>) -> BTreeMap<Origin, OpRange> {
        wanted.iter().filter_map(|(origin, range)| Some((*origin, self.index.clip(range)?))).collect()
    }

    /// Where the first record is.
    fn first_place(&self) -> Place {
        let first = self.segments.values().next().expect("there is always a segment to append to");
        Place { segment: first.segment.first, offset: first.segment.start }
    }

    fn walk(&self, place: Place) -> Walk {
        let part = self.segments.get(&place.segment).expect("the index knows segments of the log only");
        part.segment.walk(place.offset, part.end)
    }

    /// How to find the bytes before an op that is in the log, or is the next of its origin.
    fn way_to(&self, to: Dot) -> Result<Way, StorageError> {
        let all = self.index.origins.get(&to.origin).filter(|all| all.last < to.counter).map(|all| all.bytes);
        if let Some(before) = all {
            return Ok(Way { to, before, walk: None });
        }
        let Mark { counter, place, before, .. } = self.index.mark(to).ok_or_else(|| index::missing(to))?;
        Ok(Way { to, before, walk: (counter < to.counter).then(|| self.walk(place)) })
    }
}

/// The bytes that an op's origin has before some op, and the walk from there to the op, unless it is the same.
struct Way {
    to: Dot,
    before: u64,
    walk: Option<Walk>,
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

impl Scan<'_> {
    /// Goes on with that walk, unless it is farther already.
    fn skip_to(&mut self, walk: Walk) {
        let place = |walk: &Walk| Place { segment: walk.segment.first, offset: walk.offset() };
        if place(&walk) > place(&self.walk) {
            self.walk = walk;
        }
    }

    fn step(&mut self) -> Result<Found<'_>, StorageError> {
        let offset = self.walk.offset();
        let segment = self.walk.segment.clone();
        if offset >= self.walk.end {
            let Some(next) = self.log.segment(Bound::Excluded(segment.first)) else { return Ok(Found::End) };
            self.walk = next.segment.walk(next.segment.start, next.end);
            return Ok(Found::Other);
        }
        let log = self.log;
        match self.walk.step() {
            Ok(Step::Record(_, Record::Op { position, bytes })) => {
                let dot = format::op::dot(bytes).map_err(|error| unreadable(position, error))?;
                Ok(Found::Op { position, dot, bytes })
            }
            Ok(Step::Record(..) | Step::End) => Ok(Found::Other),
            Ok(Step::Broken) => {
                log.note_damage(&segment);
                Err(broken(&segment, offset))
            }
            // The file is shorter than what was written to it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                log.note_damage(&segment);
                Err(broken(&segment, offset))
            }
            Err(error) => Err(StorageError::Log(error)),
        }
    }
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
    room: Room,
}

impl Batch {
    /// Whether it fitted.
    fn add(&mut self, op: StoredOp) -> bool {
        let fits = self.room.takes(op.bytes.len());
        if fits {
            self.ops.push(op);
        }
        fits
    }
}
