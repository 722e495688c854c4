//! The summary of a segment that is full: its part of the index, so that a start need not read the segment. One that is
//! missing or can't be read is only slower.

use std::fs;
use std::io;

use super::index::{Index, Mark, OfOrigin, Place};
use super::segment::Segment;
use crate::causality::{Incarnation, NodeId, Origin};
use crate::format::frame;

/// Version 1 had marks without positions.
const VERSION: u8 = 2;

/// What a full segment holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Where its last commit ends: the length of the file.
    pub(super) end: u64,
    /// The position of its last op.
    pub(super) last: u64,
    /// Where its ops are.
    pub(super) index: Index,
}

/// Written without a sync: what a power cut leaves of it is told from a whole one.
pub(super) fn write(segment: &Segment, end: u64, last: u64, index: Index) -> io::Result<()> {
    fs::write(segment.summary_path(), encode(segment, &Summary { end, last, index }))
}

/// `None` when there is none that belongs to the segment as it is.
pub(super) fn read(segment: &Segment) -> io::Result<Option<Summary>> {
    let bytes = match fs::read(segment.summary_path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let summary = decode(segment, &bytes);
    let length = segment.file_bytes()?;
    Ok(summary.filter(|summary| summary.end == length))
}

/// Numbers of 8 bytes: the segment's salt, its end, its last position; then for each origin node, incarnation, last
/// counter, bytes, how many marks, and for each of them counter, position, offset and bytes before.
fn encode(segment: &Segment, summary: &Summary) -> Vec<u8> {
    frame::seal(VERSION, |bytes| {
        let mut write =
            |numbers: &[u64]| numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        write(&[u64::from(segment.salt), summary.end, summary.last]);
        for (origin, OfOrigin { marks, last, bytes }) in &summary.index.origins {
            write(&[u64::from(origin.node.0), origin.incarnation.0, *last, *bytes, marks.len() as u64]);
            for mark in marks {
                write(&[mark.counter, mark.position, mark.place.offset, mark.before]);
            }
        }
    })
}

fn decode(segment: &Segment, bytes: &[u8]) -> Option<Summary> {
    let payload = frame::open("summary", VERSION, bytes).ok()?;
    let (numbers, []) = payload.as_chunks::<8>() else { return None };
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    if numbers.next()? != u64::from(segment.salt) {
        return None;
    }
    let (end, last) = (numbers.next()?, numbers.next()?);
    let mut origins = Vec::new();
    while let Some(node) = numbers.next() {
        let origin = Origin::new(NodeId(u32::try_from(node).ok()?), Incarnation(numbers.next()?));
        let (last, bytes) = (numbers.next()?, numbers.next()?);
        let mut marks = Vec::new();
        for _ in 0..numbers.next()? {
            let (counter, position) = (numbers.next()?, numbers.next()?);
            let (offset, before) = (numbers.next()?, numbers.next()?);
            marks.push(Mark { counter, position, place: Place { segment: segment.first, offset }, before });
        }
        origins.push((origin, OfOrigin { marks, last, bytes }));
    }
    Some(Summary { end, last, index: origins.into_iter().collect() })
}
