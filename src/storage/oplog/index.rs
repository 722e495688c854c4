//! Where in the op log the ops of an origin are: a mark at its first op in each block of a segment, so that finding an
//! op, or a position, reads at most about a block. In memory; a log of 1 GiB with three origins needs about 2 MB.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::causality::{Dot, Origin, VersionVector};
use crate::replica::OpRange;
use crate::storage::{LogSize, StorageError};

/// Larger blocks make a smaller index and a longer way from a mark to an op.
const BLOCK_BYTES: u64 = 64 << 10;

/// A place in the log. Places are in order of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The segment, by the position of its first op.
    pub(super) segment: u64,
    /// Where in it.
    pub(super) offset: u64,
}

/// One op of an origin, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) counter: u64,
    pub(super) position: u64,
    pub(super) place: Place,
    /// The bytes of the origin's ops in the log before this one.
    pub(super) before: u64,
}

/// What the log has of one origin: ops without a gap from the first mark's on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfOrigin {
    pub(super) marks: Vec<Mark>,
    /// The counter of the last op.
    pub(super) last: u64,
    /// The bytes of all ops.
    pub(super) bytes: u64,
}

/// All origins that have ops in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) origins: BTreeMap<Origin, OfOrigin>,
    leap: Option<Leap>,
}

/// Where another node's state came in between: an origin may go on behind ops that the log never had. Those before them
/// are of no use any more, and count as gone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leap {
    /// The segment that begins behind it.
    segment: u64,
    /// All that the state includes from there on.
    vector: VersionVector,
}

impl FromIterator<(Origin, OfOrigin)> for Index {
    fn from_iter<I: IntoIterator<Item = (Origin, OfOrigin)>>(origins: I) -> Self {
        Self { origins: origins.into_iter().collect(), leap: None }
    }
}

impl Index {
    /// The segments from this one on are behind a state with that vector.
    pub(super) fn leap(&mut self, segment: u64, vector: VersionVector) {
        self.leap = Some(Leap { segment, vector });
    }

    /// Adds an op of so many bytes behind all others.
    pub(super) fn note(&mut self, dot: Dot, position: u64, place: Place, bytes: u64) -> Result<(), StorageError> {
        let of_origin = match self.origins.entry(dot.origin) {
            Entry::Vacant(new) => new.insert(OfOrigin::default()),
            Entry::Occupied(known) => {
                let known = known.into_mut();
                if goes_on(self.leap.as_ref(), known, dot, place.segment)? {
                    *known = OfOrigin::default();
                }
                known
            }
        };
        let is_same_block = |mark: &Mark| {
            mark.place.segment == place.segment && mark.place.offset / BLOCK_BYTES == place.offset / BLOCK_BYTES
        };
        if !of_origin.marks.last().is_some_and(is_same_block) {
            of_origin.marks.push(Mark { counter: dot.counter, position, place, before: of_origin.bytes });
        }
        of_origin.last = dot.counter;
        of_origin.bytes += bytes;
        Ok(())
    }

    /// Adds what a segment has behind all that is known.
    pub(super) fn extend(&mut self, segment: Index) -> Result<(), StorageError> {
        for (origin, added) in segment.origins {
            let Some(first) = added.marks.first() else { continue };
            let known = match self.origins.entry(origin) {
                Entry::Vacant(new) => {
                    new.insert(added);
                    continue;
                }
                Entry::Occupied(known) => known.into_mut(),
            };
            if goes_on(self.leap.as_ref(), known, origin.dot(first.counter), first.place.segment)? {
                *known = added;
                continue;
            }
            let base = known.bytes;
            known.marks.extend(added.marks.iter().map(|mark| Mark { before: base + mark.before, ..*mark }));
            (known.last, known.bytes) = (added.last, base + added.bytes);
        }
        Ok(())
    }

    /// What one segment has, which is the last.
    pub(super) fn of_last_segment(&self, segment: u64) -> Index {
        let of_segment = |(origin, all): (&Origin, &OfOrigin)| {
            let from = all.marks.partition_point(|mark| mark.place.segment < segment);
            let base = all.marks.get(from)?.before;
            let marks = all.marks[from..].iter().map(|mark| Mark { before: mark.before - base, ..*mark });
            Some((*origin, OfOrigin { marks: marks.collect(), last: all.last, bytes: all.bytes - base }))
        };
        self.origins.iter().filter_map(of_segment).collect()
    }

    /// Forgets what is in segments before this one.
    pub(super) fn forget_before(&mut self, segment: u64) {
        self.origins.retain(|_, of_origin| {
            let gone = of_origin.marks.partition_point(|mark| mark.place.segment < segment);
            of_origin.marks.drain(..gone);
            let Some(base) = of_origin.marks.first().map(|mark| mark.before) else { return false };
            of_origin.marks.iter_mut().for_each(|mark| mark.before -= base);
            of_origin.bytes -= base;
            true
        });
    }

    /// What of a range is in the log.
    pub(super) fn clip(&self, range: &OpRange) -> Option<OpRange> {
        let of_origin = self.origins.get(&range.origin)?;
        let first = of_origin.marks.first()?.counter.max(range.first);
        let last = of_origin.last.min(range.last);
        (first <= last).then_some(OpRange { first, last, ..*range })
    }

    /// The mark from which on an op is found that is in the log.
    pub(super) fn mark(&self, dot: Dot) -> Option<Mark> {
        let marks = &self.origins.get(&dot.origin)?.marks;
        let behind = marks.partition_point(|mark| mark.counter <= dot.counter);
        marks.get(behind.checked_sub(1)?).copied()
    }

    /// The last mark at or before a position.
    pub(super) fn mark_before(&self, position: u64) -> Option<Mark> {
        let of_origin = |of_origin: &OfOrigin| {
            let behind = of_origin.marks.partition_point(|mark| mark.position <= position);
            of_origin.marks.get(behind.checked_sub(1)?).copied()
        };
        self.origins.values().filter_map(of_origin).max_by_key(|mark| mark.position)
    }

    /// All ops together.
    pub(super) fn size(&self) -> LogSize {
        let all = self.origins.values().filter_map(|all| Some((all.marks.first()?.counter, all)));
        all.fold(LogSize::default(), |LogSize { ops, bytes }, (first, all)| LogSize {
            ops: ops + (all.last + 1 - first),
            bytes: bytes + all.bytes,
        })
    }

    /// The last op of every origin.
    pub(super) fn ends(&self) -> impl Iterator<Item = Dot> {
        self.origins.iter().map(|(origin, of_origin)| origin.dot(of_origin.last))
    }
}

/// Whether an op in a segment goes on from a state that came in between, and not from the last op of its origin.
fn goes_on(leap: Option<&Leap>, known: &OfOrigin, dot: Dot, segment: u64) -> Result<bool, StorageError> {
    let last = known.last;
    if dot.counter == last + 1 {
        return Ok(false);
    }
    if dot.counter <= last {
        let problem = "it is in the log behind a later one of its origin";
        return Err(StorageError::damaged(format!("op {dot}"), problem));
    }
    let is_between = |leap: &&Leap| {
        leap.segment <= segment && known.marks.last().is_some_and(|mark| mark.place.segment < leap.segment)
    };
    // A vector says nothing of origins that are implied by others.
    let goes_on = |leap: &Leap| [0, dot.counter - 1].contains(&leap.vector.get(dot.origin));
    if leap.filter(is_between).is_some_and(goes_on) { Ok(true) } else { Err(missing(dot.origin.dot(last + 1))) }
}

/// An op of the middle of the log is not there.
pub(super) fn missing(dot: Dot) -> StorageError {
    StorageError::damaged(format!("op {dot}"), "it is missing from the log")
}
