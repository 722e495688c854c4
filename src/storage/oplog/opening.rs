//! Opening a log: what its segments hold, and what to do with a last commit that is not whole.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

use super::index::{Index, Place};
use super::record::{self, Record};
use super::segment::{self, Segment, Step};
use super::summary::{self, Summary};
use super::tail::Tail;
use super::{Appender, Committed, OpLog, Part, broken, unreadable};
use crate::format;
use crate::storage::StorageError;
use crate::storage::damage::Found;

/// Opens a log whose segments get about so many bytes, and keeps about so many of its newest ops in memory. Nothing is
/// changed if there is an error.
pub(in crate::storage) fn open(
    directory: &Path,
    segment_bytes: u64,
    tail_bytes: usize,
    found: Found,
) -> Result<(Appender, Arc<OpLog>), StorageError> {
    let mut closed = open_segments(directory)?;
    let last = closed.pop().ok_or_else(|| StorageError::damaged("the op log", "it has no files"))?;
    let mut segments = BTreeMap::new();
    let mut index = Index::default();
    let mut next = None;
    for segment in closed {
        begin(&segment, next, &mut index)?;
        let Summary { end, last, index: of_segment } = match summary::read(&segment).map_err(StorageError::Log)? {
            Some(summary) => summary,
            None => scan_whole(&segment)?,
        };
        index.extend(of_segment)?;
        segments.insert(segment.first, Part { segment, end, last });
        next = Some(last + 1);
    }
    let segment = last;
    begin(&segment, next, &mut index)?;
    let (Scan { begin, end, next, index: of_segment, .. }, rest) = scan_last(&segment)?;
    index.extend(of_segment)?;
    let filled = settle(&segment, begin, end, &rest).map_err(StorageError::Log)?;
    segments.insert(segment.first, Part { segment: segment.clone(), end, last: next - 1 });
    let committed = Committed { segments, index, tail: Tail::new(tail_bytes), next };
    let log = Arc::new(OpLog { committed: RwLock::new(committed), damaged: AtomicU64::new(0), found });
    let (directory, buffer) = (directory.to_owned(), Vec::new());
    let appender = Appender { directory, log: log.clone(), segment, end, filled, next, buffer, segment_bytes };
    Ok((appender, log))
}

fn open_segment(path: &Path, first: u64) -> Result<Segment, StorageError> {
    let segment = Segment::open(path, first).map_err(StorageError::Log)?;
    segment.ok_or_else(|| StorageError::damaged("the op log", format!("{} is none of its files", path.display())))
}

/// All segments, in order, without what a trim has left that was cut off.
fn open_segments(directory: &Path) -> Result<Vec<Arc<Segment>>, StorageError> {
    let mut segments = Vec::new();
    for (first, path) in segment::list(directory).map_err(StorageError::Log)? {
        segments.push(Arc::new(open_segment(&path, first)?));
    }
    // Nobody knows what came before a segment without a base, but for the very first.
    if segments.first().is_some_and(|segment| segment.base.is_none() && segment.first > 1) {
        let based = segments.iter().position(|segment| segment.base.is_some());
        let based = based.ok_or_else(|| StorageError::damaged("the op log", "its beginning is missing"))?;
        for segment in segments.drain(..based) {
            segment.delete().map_err(StorageError::Log)?;
        }
    }
    Ok(segments)
}

/// Whether a segment can be the next, which should begin at `expected`.
fn begin(segment: &Segment, expected: Option<u64>, index: &mut Index) -> Result<(), StorageError> {
    let (first, leaped) = (segment.first, segment.base.as_ref().filter(|base| base.leaped));
    if let Some(base) = leaped {
        index.leap(first, base.vector.clone());
    }
    match expected {
        Some(expected) if first != expected && (first < expected || leaped.is_none()) => {
            let problem = format!("position {expected} is missing: the next file begins at {first}");
            Err(StorageError::damaged("the op log", problem))
        }
        _ => Ok(()),
    }
}

/// What the whole commits from a segment's start on hold.
struct Scan {
    /// Where the last of them begins, and where it ends.
    begin: u64,
    end: u64,
    /// The position that comes after it.
    next: u64,
    index: Index,
    /// Where the first record is that is none, behind a commit that may have been interrupted.
    broken: Option<u64>,
}

fn scan(segment: &Arc<Segment>, until: u64) -> Result<Scan, StorageError> {
    let mut scan =
        Scan { begin: segment.start, end: segment.start, next: segment.first, index: Index::default(), broken: None };
    let mut walk = segment.walk(segment.start, until);
    let mut open = Vec::new();
    loop {
        match walk.step().map_err(StorageError::Log)? {
            Step::Record(offset, Record::Op { position, bytes }) => {
                if position != scan.next + open.len() as u64 {
                    return Err(broken(segment, offset));
                }
                let dot = format::op::dot(bytes).map_err(|error| unreadable(position, error))?;
                open.push((dot, position, offset, bytes.len() as u64));
            }
            Step::Record(offset, Record::Commit(commit)) => {
                let next = scan.next + open.len() as u64;
                if commit.start != scan.end || commit.position + 1 != next {
                    return Err(broken(segment, offset));
                }
                for (dot, position, offset, bytes) in open.drain(..) {
                    scan.index.note(dot, position, Place { segment: segment.first, offset }, bytes)?;
                }
                (scan.begin, scan.end, scan.next) = (scan.end, walk.offset(), next);
            }
            Step::Record(offset, Record::Base(_)) => return Err(broken(segment, offset)),
            Step::End => return Ok(scan),
            Step::Broken => return Ok(Scan { broken: Some(walk.offset()), ..scan }),
        }
    }
}

/// A segment that was closed, and whose summary is not there.
fn scan_whole(segment: &Arc<Segment>) -> Result<Summary, StorageError> {
    let bytes = segment.file_bytes().map_err(StorageError::Log)?;
    let Scan { end, next, index, .. } = scan(segment, bytes)?;
    // Its last commit was followed by others, in the next segment.
    if end == bytes { Ok(Summary { end, last: next - 1, index }) } else { Err(broken(segment, end)) }
}

/// The segment that is appended to, and what is behind its last commit: one that was interrupted, zeros.
fn scan_last(segment: &Arc<Segment>) -> Result<(Scan, Vec<u8>), StorageError> {
    let bytes = segment.file_bytes().map_err(StorageError::Log)?;
    let scan = scan(segment, bytes)?;
    let rest = segment.read(scan.end, bytes).map_err(StorageError::Log)?;
    match scan.broken {
        Some(at) if record::has_commit_from_behind(scan.end, &rest, segment.salt) => Err(broken(segment, at)),
        _ => Ok((scan, rest)),
    }
}

/// Cuts off the rest behind the last commit, which begins and ends there, unless it is zeros; how far the file goes then. All
/// that was read is durable afterwards: a process that was killed may have left what only the system's memory has.
///
/// So may one whose sync failed, and then to sync again is not enough: Linux takes what it could not write for written. That
/// can only be the last commit, which is why that one is written again.
fn settle(segment: &Segment, begin: u64, end: u64, rest: &[u8]) -> io::Result<u64> {
    segment.file.write_all_at(&segment.read(begin, end)?, begin)?;
    if rest.iter().all(|byte| *byte == 0) {
        segment.file.sync_data()?;
        return Ok(end + rest.len() as u64);
    }
    tracing::warn!(segment = %segment.path.display(), bytes = rest.len(), "cutting off an unfinished commit");
    segment.file.set_len(end)?;
    segment.file.sync_all()?;
    Ok(end)
}
