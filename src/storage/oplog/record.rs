//! The records of the op log, byte by byte.
//!
//! `[length: 4][CRC-32: 4][kind: 1][payload]`, numbers little endian; the length is that of kind and payload, and the
//! checksum, which starts from the segment's salt, is over the length and them. The salt is random, so nothing that a
//! client writes can look like a record.

use crate::causality::Hlc;
use crate::replica::Totals;

/// What comes before kind and payload.
pub(super) const HEADER_BYTES: usize = 8;
const OP: u8 = 1;
const COMMIT: u8 = 2;
const BASE: u8 = 3;
const COMMIT_BYTES: usize = 1 + 6 * 8;

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// An op and its place.
    Op {
        /// Its position in the log.
        position: u64,
        /// `format::op` bytes.
        bytes: &'a [u8],
    },
    /// The ops since the last such record are a commit. Without it they are not there.
    Commit(Commit),
    /// What comes before the segment, `format::base` bytes. Its first record, and nowhere else.
    Base(&'a [u8]),
}

/// The end of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Commit {
    /// Where in the segment its first op is.
    pub(super) start: u64,
    /// The position of its last op.
    pub(in crate::storage) position: u64,
    /// The highest clock reading after it.
    pub(in crate::storage) hlc: Hlc,
    /// The counts after it.
    pub(in crate::storage) totals: Totals,
}

pub(super) fn write_op(buffer: &mut Vec<u8>, salt: u32, position: u64, op: &[u8]) {
    write(buffer, salt, |buffer| {
        buffer.push(OP);
        buffer.extend_from_slice(&position.to_le_bytes());
        buffer.extend_from_slice(op);
    });
}

pub(super) fn write_base(buffer: &mut Vec<u8>, salt: u32, base: &[u8]) {
    write(buffer, salt, |buffer| {
        buffer.push(BASE);
        buffer.extend_from_slice(base);
    });
}

pub(super) fn write_commit(buffer: &mut Vec<u8>, salt: u32, commit: &Commit) {
    let Totals { keys, conflicts, siblings } = commit.totals;
    write(buffer, salt, |buffer| {
        buffer.push(COMMIT);
        for number in [commit.start, commit.position, commit.hlc.0, keys, conflicts, siblings] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
    });
}

fn write(buffer: &mut Vec<u8>, salt: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    body(buffer);
    let length = u32::try_from(buffer.len() - start - HEADER_BYTES).expect("a request is much smaller than 4 GiB");
    let checksum = checksum(salt, length, &buffer[start + HEADER_BYTES..]);
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// How many bytes the record takes that starts with these.
pub(super) fn length(header: &[u8; HEADER_BYTES]) -> usize {
    let [l0, l1, l2, l3, ..] = *header;
    HEADER_BYTES + u32::from_le_bytes([l0, l1, l2, l3]) as usize
}

/// The record that `bytes` are, if they are one.
pub(super) fn parse(bytes: &[u8], salt: u32) -> Option<Record<'_>> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let is_whole =
        length as usize == body.len() && checksum(salt, length, body) == u32::from_le_bytes([c0, c1, c2, c3]);
    if is_whole { read(body) } else { None }
}

fn read(body: &[u8]) -> Option<Record<'_>> {
    let (kind, payload) = body.split_first()?;
    match *kind {
        OP => {
            let (position, bytes) = payload.split_first_chunk()?;
            Some(Record::Op { position: u64::from_le_bytes(*position), bytes })
        }
        BASE => Some(Record::Base(payload)),
        COMMIT => {
            let (numbers, []) = payload.as_chunks::<8>() else { return None };
            let [start, position, hlc, keys, conflicts, siblings] =
                <[[u8; 8]; 6]>::try_from(numbers).ok()?.map(u64::from_le_bytes);
            Some(Record::Commit(Commit {
                start,
                position,
                hlc: Hlc(hlc),
                totals: Totals { keys, conflicts, siblings },
            }))
        }
        _ => None,
    }
}

/// Whether a commit that began behind `start` of the segment ends in `bytes`.
pub(super) fn has_commit_from_behind(start: u64, bytes: &[u8], salt: u32) -> bool {
    bytes.windows(HEADER_BYTES + COMMIT_BYTES).any(|window| {
        let may_be = window[..4] == (COMMIT_BYTES as u32).to_le_bytes() && window[HEADER_BYTES] == COMMIT;
        may_be && matches!(parse(window, salt), Some(Record::Commit(commit)) if commit.start > start)
    })
}

fn checksum(salt: u32, length: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&length.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}
