//! The keys and values of the engine's records.
//!
//! A key of a client is its bytes, with its siblings. The other records' keys begin with a byte that no UTF-8 has, so
//! they come behind all of those.

use crate::causality::{Dot, Incarnation, NodeId, Origin};
use crate::format;
use crate::replica::Siblings;
use crate::storage::StorageError;

/// Before the key of a client that has more than one sibling, in a record without content. Keys of clients end here.
pub(super) const CONFLICTS: &[u8] = &[0xfe];
pub(super) const CONFLICTS_END: &[u8] = &[0xff];
/// What the state is as of.
pub(super) const CHECKPOINT: &[u8] = b"\xffcheckpoint";
/// The origin follows, in big endian.
pub(super) const ANCESTRY: &[u8] = b"\xffancestry/";

/// The record of an incarnation's parents.
pub(super) fn ancestry(origin: Origin, parents: &[Dot]) -> (Vec<u8>, Option<Vec<u8>>) {
    (ancestry_key(origin), Some(format::ancestry::encode(parents)))
}

fn ancestry_key(origin: Origin) -> Vec<u8> {
    [ANCESTRY, &origin.node.0.to_be_bytes(), &origin.incarnation.0.to_be_bytes()].concat()
}

pub(super) fn read_ancestry_key(bytes: &[u8]) -> Result<Origin, StorageError> {
    let origin = bytes.strip_prefix(ANCESTRY).and_then(read_origin);
    origin.ok_or_else(|| StorageError::damaged("the ancestry", "a key in it is not an origin"))
}

fn read_origin(bytes: &[u8]) -> Option<Origin> {
    let (node, incarnation) = bytes.split_at_checked(4)?;
    let node = NodeId(u32::from_be_bytes(node.try_into().ok()?));
    Some(Origin::new(node, Incarnation(u64::from_be_bytes(incarnation.try_into().ok()?))))
}

/// The key of the record that says that a client's key has more than one sibling.
pub(super) fn conflict(key: &str) -> Vec<u8> {
    [CONFLICTS, key.as_bytes()].concat()
}

pub(super) fn decode_siblings(key: &str, bytes: &[u8]) -> Result<Siblings, StorageError> {
    format::siblings::decode(bytes).map_err(|error| StorageError::damaged(format!("key '{key}'"), error))
}
