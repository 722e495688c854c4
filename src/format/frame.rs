//! The frame around everything stored or sent: `[version][payload][CRC-32 of all before, little endian]`.
//!
//! This layout is the same for every version there will ever be, so that a record of a newer version is told
//! from a damaged one.

use std::ops::RangeInclusive;

use super::FormatError;

/// Bytes of the checksum behind a payload.
pub const CHECKSUM_BYTES: usize = 4;

/// Bytes that a frame has besides its payload.
pub const OVERHEAD_BYTES: usize = 1 + CHECKSUM_BYTES;

/// Most frames fit in so many bytes, so that what is written to them never has to move.
const USUAL_BYTES: usize = 256;

/// A frame of `version` around what `write` appends.
pub fn seal(version: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(version);
    write(&mut bytes);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The payload of a frame, which must be of version `known`, the only one so far. `what` names it in errors.
pub fn open<'a>(what: &'static str, known: u8, bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
    open_any(what, known..=known, bytes).map(|(_, payload)| payload)
}

/// The version of a frame, which must be one of those `known`, and its payload.
pub fn open_any<'a>(
    what: &'static str,
    known: RangeInclusive<u8>,
    bytes: &'a [u8],
) -> Result<(u8, &'a [u8]), FormatError> {
    let short = || FormatError::Short { what, bytes: bytes.len() };
    let (sealed, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(short)?;
    let (version, payload) = sealed.split_first().ok_or_else(short)?;
    if crc32fast::hash(sealed) != u32::from_le_bytes(*checksum) {
        return Err(FormatError::Checksum { what });
    }
    if !known.contains(version) {
        return Err(FormatError::Version { what, found: *version, oldest: *known.start(), newest: *known.end() });
    }
    Ok((*version, payload))
}
