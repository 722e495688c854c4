//! The op log: every op this node has, in the order of its arrival, in files that are only ever appended to.
//!
//! Promises: a commit is there as a whole or not at all, and durable once [`Appender::append`] returns; what is read
//! was whole when it was written, or it is an error. The log is the store's journal too: the state of the keys is
//! brought up to its end at every start ([`OpLog::replay`]). Must not know what ops do to keys.
//!
//! A directory of *segments* ([`segment`]), each a run of records ([`record`]): the ops of a commit, then a record
//! that ends it. Each begins with what comes before it ([`Base`]): what the log can be trimmed to, and which generation of
//! the keys goes with it. One write and one `fdatasync` a commit. Files are filled with zeros ahead of what is written, so that a
//! sync rarely has to make a new length of the file durable too. A full segment gets a *summary* beside it, so that a
//! start reads only the last one.
//!
//! A power cut can leave any part of the commit that it interrupted. A commit begins when the one before is on disk, so
//! what is broken and followed by a commit that began later was once whole: that is damage, and refused. Else
//! it was the last, never acknowledged, and is cut off. (Damage to the very last commit can't be told from that.)

mod index;
mod opening;
mod read;
mod record;
mod segment;
mod summary;
mod tail;
#[cfg(test)]
mod tests;
mod trim;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use self::index::{Index, Place};
pub(super) use self::opening::open;
pub(super) use self::record::Commit;
use self::record::Record;
use self::segment::{Segment, Step};
use self::tail::Tail;
use super::damage::Found;
use super::{LogSize, StorageError, StoredOp};
use crate::causality::{Dot, Hlc, VersionVector};
use crate::format::base::Base;
use crate::format::{self, FormatError};
use crate::replica::{Append, Checkpoint};

/// How far files are filled with zeros ahead of what is written.
const FILL_BYTES: u64 = 1 << 20;

/// The part of the log that is committed, for readers.
#[derive(Debug)]
pub(super) struct OpLog {
    committed: RwLock<Committed>,
    /// The last segment that was found damaged, by the position of its first op; 0: none was.
    damaged: AtomicU64,
    found: Found,
}

#[derive(Debug)]
struct Committed {
    /// By the position of their first op.
    segments: BTreeMap<u64, Part>,
    index: Index,
    tail: Tail,
    /// The position of the next op.
    next: u64,
}

/// A segment, as far as it is committed.
#[derive(Clone, Debug)]
struct Part {
    segment: Arc<Segment>,
    /// Where its last commit ends.
    end: u64,
    /// The position of its last op; of the op before it, if there is none.
    last: u64,
}

/// The end of the log, for the one who commits.
#[derive(Debug)]
pub(super) struct Appender {
    directory: PathBuf,
    log: Arc<OpLog>,
    segment: Arc<Segment>,
    /// Where the next commit goes.
    end: u64,
    /// How far the file has zeros.
    filled: u64,
    /// The position of the next op.
    next: u64,
    buffer: Vec<u8>,
    segment_bytes: u64,
}

/// A commit that is durable and that readers don't see yet.
#[must_use]
pub(super) struct Durable {
    ops: Vec<(StoredOp, Place)>,
    end: u64,
}

/// Takes what the log holds, commit by commit.
pub(super) trait Replay {
    /// An op of the commit, `format::op` bytes.
    fn op(&mut self, position: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// The end of the commit.
    fn end(&mut self, commit: &Commit) -> Result<(), StorageError>;
}

/// Makes an empty log in a directory that is there and empty. The caller syncs what it is in.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    Segment::create(directory, 1, Some(Base::default())).map(drop)
}

impl OpLog {
    /// Runs through the commits behind a position, in order.
    pub(super) fn replay(&self, after: u64, to: &mut impl Replay) -> Result<(), StorageError> {
        let committed = self.read_committed();
        let from = committed.segments.range(..=after + 1).next_back().map_or(0, |(first, _)| *first);
        for Part { segment, end, .. } in committed.segments.range(from..).map(|(_, part)| part) {
            let mut walk = segment.walk(segment.start, *end);
            loop {
                let offset = walk.offset();
                match walk.step().map_err(StorageError::Log)? {
                    Step::Record(_, Record::Op { position, bytes }) if position > after => to.op(position, bytes)?,
                    Step::Record(_, Record::Commit(commit)) if commit.position > after => to.end(&commit)?,
                    Step::Record(..) => {}
                    Step::End => break,
                    Step::Broken => return Err(broken(segment, offset)),
                }
            }
        }
        Ok(())
    }

    /// A position that nearly all ops newer than `recent` are behind, as far as the last files go that have so many bytes
    /// together.
    pub(super) fn position_before(&self, recent: Hlc, max_bytes: u64) -> Result<u64, StorageError> {
        let committed = self.read_committed();
        let (mut position, mut bytes) = (committed.next - 1, 0);
        for (first, part) in committed.segments.iter().rev() {
            (position, bytes) = (first - 1, bytes + part.end);
            let began = match &part.segment.base {
                Some(base) => Some(base.hlc),
                None => first_reading(part)?,
            };
            // Readings of commits only ever rise.
            if bytes >= max_bytes || began.is_some_and(|began| began <= recent) {
                break;
            }
        }
        Ok(position)
    }

    /// The last op of every origin.
    pub(super) fn ends(&self) -> Vec<Dot> {
        self.read_committed().index.ends().collect()
    }

    /// How much is there.
    pub(super) fn size(&self) -> LogSize {
        self.read_committed().index.size()
    }

    /// The position behind which the log has no gap.
    pub(super) fn start(&self) -> u64 {
        self.read_committed().start()
    }

    /// What the log goes on from at its end.
    pub(super) fn last_base(&self) -> Base {
        self.read_committed()
            .segments
            .values()
            .next_back()
            .and_then(|part| part.segment.base.clone())
            .unwrap_or_default()
    }

    /// All ops before its first.
    pub(super) fn first_vector(&self) -> VersionVector {
        let committed = self.read_committed();
        let first = committed.segments.values().next().and_then(|part| part.segment.base.as_ref());
        first.map_or_else(VersionVector::new, |base| base.vector.clone())
    }

    /// Up to which position the log has to go for nothing in it to be known as damaged; `None`: nothing is. And whether that
    /// includes what is appended to.
    pub(super) fn damaged_through(&self) -> Option<(u64, bool)> {
        let first = self.damaged.load(Ordering::SeqCst);
        let committed = self.read_committed();
        let Part { last, .. } = committed.segments.get(&first)?;
        let run = committed.runs().into_iter().map(|(run, _)| run.last).find(|end| end >= last);
        Some((run.unwrap_or(committed.next - 1), run.is_none()))
    }

    /// Takes note of a segment that can't be read.
    fn note_damage(&self, segment: &Segment) {
        self.damaged.fetch_max(segment.first, Ordering::SeqCst);
        self.found.count();
    }

    fn read_committed(&self) -> RwLockReadGuard<'_, Committed> {
        // Whoever panicked there had read, or had added ops that are durable.
        self.committed.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock reading of a segment's first commit.
fn first_reading(part: &Part) -> Result<Option<Hlc>, StorageError> {
    let mut walk = part.segment.walk(part.segment.start, part.end);
    loop {
        match walk.step().map_err(StorageError::Log)? {
            Step::Record(_, Record::Commit(commit)) => return Ok(Some(commit.hlc)),
            Step::Record(..) => {}
            Step::End | Step::Broken => return Ok(None),
        }
    }
}

impl Committed {
    /// The position behind which there is no gap.
    fn start(&self) -> u64 {
        let leaped = |part: &&Part| part.segment.base.as_ref().is_some_and(|base| base.leaped);
        let leap = self.segments.values().rev().find(leaped);
        leap.or(self.segments.values().next()).map_or(0, |part| part.segment.first - 1)
    }
}

impl Appender {
    /// The position of the last op; 0 before the first.
    pub(super) fn last_position(&self) -> u64 {
        self.next - 1
    }

    /// Where the last commit ends in the file that is appended to.
    #[cfg(test)]
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Makes ops durable that follow on from the last, with what belongs to the checkpoint after them. After an error
    /// nothing may be appended any more: what is on disk is unknown until the log is opened again. `base` says what comes
    /// before them.
    pub(super) fn append(
        &mut self,
        appends: &[Append],
        checkpoint: &Checkpoint,
        base: impl FnOnce() -> Base,
    ) -> Result<Durable, StorageError> {
        if self.end >= self.segment_bytes && self.end > self.segment.start {
            self.begin_segment(self.next, Some(base()))?;
        }
        let salt = self.segment.salt;
        self.buffer.clear();
        let mut ops = Vec::with_capacity(appends.len());
        for Append { position, op, .. } in appends {
            let bytes = Bytes::from(format::op::encode(op));
            let place = Place { segment: self.segment.first, offset: self.end + self.buffer.len() as u64 };
            record::write_op(&mut self.buffer, salt, *position, &bytes);
            ops.push((StoredOp { position: *position, dot: op.dot, bytes }, place));
        }
        let Checkpoint { position, hlc, totals, .. } = *checkpoint;
        record::write_commit(&mut self.buffer, salt, &Commit { start: self.end, position, hlc, totals });
        self.write().map_err(StorageError::Log)?;
        self.next = position + 1;
        Ok(Durable { ops, end: self.end })
    }

    fn write(&mut self) -> io::Result<()> {
        let Segment { file, .. } = &*self.segment;
        file.write_all_at(&self.buffer, self.end)?;
        self.end += self.buffer.len() as u64;
        if self.end > self.filled {
            self.filled = self.end + FILL_BYTES;
            file.write_all_at(&vec![0; FILL_BYTES as usize], self.end)?;
        }
        file.sync_data()
    }

    /// Lets readers see what was appended.
    pub(super) fn publish(&self, durable: Durable) -> Result<(), StorageError> {
        let mut committed = self.log.committed.write().unwrap_or_else(PoisonError::into_inner);
        let Committed { segments, index, tail, next } = &mut *committed;
        let last = durable.ops.last().map_or(*next - 1, |(op, _)| op.position);
        segments.insert(self.segment.first, Part { segment: self.segment.clone(), end: durable.end, last });
        for (op, place) in durable.ops {
            index.note(op.dot, op.position, place, op.bytes.len() as u64)?;
            *next = op.position + 1;
            tail.push(op);
        }
        Ok(())
    }

    /// Goes on behind `position` in a new segment, before which there is what `base` says: the end of the log, or another
    /// node's state. After an error it may have gone on, if [`may_have_gone_on`](Self::may_have_gone_on), and if not, it
    /// can be appended as before.
    pub(super) fn go_on(&mut self, position: u64, base: Base) -> Result<(), StorageError> {
        let leap = base.leaped.then(|| base.vector.clone());
        self.begin_segment(position + 1, Some(base))?;
        self.next = position + 1;
        let mut committed = self.log.committed.write().unwrap_or_else(PoisonError::into_inner);
        let Committed { segments, index, tail, next } = &mut *committed;
        segments.insert(self.next, Part { segment: self.segment.clone(), end: self.end, last: position });
        if let Some(vector) = leap {
            index.leap(self.next, vector);
            tail.clear();
        }
        *next = self.next;
        Ok(())
    }

    /// Whether there is something behind `position` on disk.
    pub(super) fn may_have_gone_on(&self, position: u64) -> bool {
        !matches!(Segment::path(&self.directory, position + 1).try_exists(), Ok(false))
    }

    /// Closes the segment and goes on in a new one.
    fn begin_segment(&mut self, first: u64, base: Option<Base>) -> Result<(), StorageError> {
        self.close().map_err(StorageError::Log)?;
        let segment = Segment::create(&self.directory, first, base).map_err(StorageError::Log)?;
        (self.end, self.filled) = (segment.start, segment.start);
        self.segment = Arc::new(segment);
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.segment.file.set_len(self.end)?;
        self.filled = self.end;
        self.segment.file.sync_all()?;
        let index = self.log.read_committed().index.of_last_segment(self.segment.first);
        summary::write(&self.segment, self.end, self.last_position(), index)
    }
}

/// An op of the log that is none.
pub(super) fn unreadable(position: u64, error: FormatError) -> StorageError {
    StorageError::damaged(format!("position {position} of the op log"), error)
}

fn broken(segment: &Segment, offset: u64) -> StorageError {
    StorageError::damaged("the op log", format!("{} is broken at byte {offset}", segment.path.display()))
}
