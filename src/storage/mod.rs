//! Storage: what survives. An op log and an embedded engine behind a small trait.
//!
//! Promises: a commit is atomic over everything in it and durable before any reader sees it; a snapshot is
//! one instant of the whole state; a record that can't be read is an error, never "not found". Must not
//! decide anything about causality.

#[cfg(test)]
mod conformance;
mod disk;
mod error;
mod files;
mod memory;
mod oplog;

pub use disk::{DiskOptions, DiskStorage};
pub use error::{OpenError, StorageError};

pub use memory::MemoryStorage;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::causality::{Dot, NodeId, VersionVector};
use crate::replica::{Append, Checkpoint, KeyStates, OpRange, Siblings};

/// Whose data a directory holds. Checked at every start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The node's id.
    pub node: NodeId,
}

/// A store of one node's data. `&self` everywhere: reads never wait for a commit.
pub trait Storage: KeyStates + std::marker::Send + Sync + 'static {
    /// Makes the appends (in order of position, following on from the last commit) and the checkpoint
    /// durable, all or nothing, and only then visible to readers. After an error nothing of it is visible
    /// and every later commit fails too; what is on disk is unknown until the store is opened again.
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError>;

    /// The whole state as of the last commit.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError>;

    /// Ops of these ranges, in order of their positions in the log, as many as `limit` allows (at least
    /// one, if there is any). Of an origin there is one range at most. What the log has not yet, or no longer,
    /// is left out; an op that is missing between others is an error.
    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError>;

    /// All ops behind a position of the log, in order and without a gap, as many as `limit` allows (at least one, if there
    /// is any). Where the log begins later, from its first on.
    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError>;

    /// Which log it is.
    fn log_id(&self) -> LogId;

    /// The encoded bytes of the ops of these ranges that are in the log.
    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError>;

    /// How much is in the log.
    fn log_size(&self) -> Result<LogSize, StorageError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> Result<u64, StorageError>;

    /// Room on the disk.
    fn disk_space(&self) -> Result<DiskSpace, StorageError>;
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub size: u64,
    /// What is free, for who has no privileges.
    pub free: u64,
}

/// What tells a log from those of all other nodes and of other data directories: drawn when it is made, kept for good.
/// A copy of a directory has that of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub u64);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How much a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Ops.
    pub ops: u64,
    /// Their encoded bytes.
    pub bytes: u64,
}

/// The state at one instant, with the version vector that goes with it.
pub trait Snapshot: std::marker::Send + Sync {
    /// All ops that the state includes.
    fn vector(&self) -> &VersionVector;

    /// The siblings of `key`; empty if there is no such key.
    fn siblings(&self, key: &str) -> Result<Siblings, StorageError>;

    /// Keys that start with `prefix` and come after `after`, in byte order, at most `limit`, with their
    /// siblings.
    fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Siblings)>, StorageError>;

    /// The same of the keys that have more than one sibling. Takes no longer when there are many others.
    fn conflicts(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Siblings)>, StorageError>;
}

/// How much one batch may hold; a single op may exceed the bytes.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimit {
    /// Ops.
    pub ops: usize,
    /// Encoded bytes.
    pub bytes: usize,
}

/// An op of the log as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOp {
    /// Its place in this node's log.
    pub position: u64,
    /// Its name.
    pub dot: Dot,
    /// `format::op` bytes.
    pub bytes: Bytes,
}

/// Whether a commit goes on from position `last`, op by op.
fn check_order(last: u64, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
    let mut expected = last;
    for append in appends {
        expected += 1;
        if append.position != expected {
            let found = append.position;
            return Err(StorageError::Engine(format!("a commit has position {found} where {expected} should be")));
        }
    }
    if checkpoint.position != expected {
        let found = checkpoint.position;
        return Err(StorageError::Engine(format!("a commit up to position {expected} has the checkpoint of {found}")));
    }
    Ok(())
}
