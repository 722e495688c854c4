//! The keys and values of the engine's records. Numbers in keys are big endian, so that bytes sort as they do.

use crate::causality::{Dot, Incarnation, NodeId, Origin};
use crate::format::{self, frame};
use crate::replica::Siblings;
use crate::storage::{StorageError, StoredOp};

/// In `meta`.
pub(super) const CHECKPOINT: &[u8] = b"checkpoint";
/// In `meta`; the origin follows.
pub(super) const ANCESTRY: &[u8] = b"ancestry/";
/// In `keys`: the position that they are as of. Behind all keys, because no UTF-8 has this byte.
pub(super) const KEYS_POSITION: [u8; 1] = [0xff];

/// The version of the records that have no format module of their own.
const VERSION: u8 = 1;

const ORIGIN_BYTES: usize = 12;
const DOT_BYTES: usize = ORIGIN_BYTES + 8;

/// An op in the log.
pub(super) struct LogRecord {
    pub(super) op: StoredOp,
    /// The bytes of its origin's ops up to and with this one: the bytes of a range follow from its ends.
    pub(super) total_bytes: u64,
}

pub(super) fn dot_key(dot: Dot) -> [u8; DOT_BYTES] {
    let mut key = [0; DOT_BYTES];
    key[..ORIGIN_BYTES].copy_from_slice(&origin_bytes(dot.origin));
    key[ORIGIN_BYTES..].copy_from_slice(&dot.counter.to_be_bytes());
    key
}

pub(super) fn read_dot_key(bytes: &[u8]) -> Result<Dot, StorageError> {
    read_dot(bytes).ok_or_else(|| StorageError::damaged("the op log", "a key in it is not a dot"))
}

fn read_dot(bytes: &[u8]) -> Option<Dot> {
    let (origin, counter) = bytes.split_at_checked(ORIGIN_BYTES)?;
    Some(read_origin(origin)?.dot(u64::from_be_bytes(counter.try_into().ok()?)))
}

pub(super) fn ancestry_key(origin: Origin) -> Vec<u8> {
    [ANCESTRY, &origin_bytes(origin)].concat()
}

pub(super) fn read_ancestry_key(bytes: &[u8]) -> Result<Origin, StorageError> {
    let origin = bytes.strip_prefix(ANCESTRY).and_then(read_origin);
    origin.ok_or_else(|| StorageError::damaged("the ancestry", "a key in it is not an origin"))
}

fn origin_bytes(origin: Origin) -> [u8; ORIGIN_BYTES] {
    let mut bytes = [0; ORIGIN_BYTES];
    bytes[..4].copy_from_slice(&origin.node.0.to_be_bytes());
    bytes[4..].copy_from_slice(&origin.incarnation.0.to_be_bytes());
    bytes
}

fn read_origin(bytes: &[u8]) -> Option<Origin> {
    let (node, incarnation) = bytes.split_at_checked(4)?;
    let node = NodeId(u32::from_be_bytes(node.try_into().ok()?));
    Some(Origin::new(node, Incarnation(u64::from_be_bytes(incarnation.try_into().ok()?))))
}

pub(super) fn encode_op(position: u64, total_bytes: u64, op: &[u8]) -> Vec<u8> {
    frame::seal(VERSION, |bytes| {
        bytes.extend_from_slice(&position.to_be_bytes());
        bytes.extend_from_slice(&total_bytes.to_be_bytes());
        bytes.extend_from_slice(op);
    })
}

pub(super) fn decode_op(dot: Dot, bytes: &[u8]) -> Result<LogRecord, StorageError> {
    let damaged = |problem: String| StorageError::damaged(format!("op {dot}"), problem);
    let payload = frame::open("log record", VERSION, bytes).map_err(|error| damaged(error.to_string()))?;
    let short = || damaged("it is cut short".to_owned());
    let (position, rest) = payload.split_first_chunk().ok_or_else(short)?;
    let (total_bytes, op) = rest.split_first_chunk().ok_or_else(short)?;
    let op = StoredOp { position: u64::from_be_bytes(*position), dot, bytes: op.to_vec() };
    Ok(LogRecord { op, total_bytes: u64::from_be_bytes(*total_bytes) })
}

pub(super) fn encode_order(dot: Dot) -> Vec<u8> {
    frame::seal(VERSION, |bytes| bytes.extend_from_slice(&dot_key(dot)))
}

pub(super) fn decode_order(position: u64, bytes: &[u8]) -> Result<Dot, StorageError> {
    let damaged = |problem: String| StorageError::damaged(format!("position {position} of the log"), problem);
    let payload = frame::open("order record", VERSION, bytes).map_err(|error| damaged(error.to_string()))?;
    read_dot(payload).ok_or_else(|| damaged("it is not a dot".to_owned()))
}

pub(super) fn encode_position(position: u64) -> Vec<u8> {
    frame::seal(VERSION, |bytes| bytes.extend_from_slice(&position.to_be_bytes()))
}

pub(super) fn decode_position(bytes: &[u8]) -> Result<u64, StorageError> {
    let damaged = |problem: String| StorageError::damaged("the position of the keys", problem);
    let payload = frame::open("position record", VERSION, bytes).map_err(|error| damaged(error.to_string()))?;
    read_position(payload).ok_or_else(|| damaged("it is not a position".to_owned()))
}

pub(super) fn read_position(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn decode_siblings(key: &str, bytes: &[u8]) -> Result<Siblings, StorageError> {
    format::siblings::decode(bytes).map_err(|error| StorageError::damaged(format!("key '{key}'"), error))
}
