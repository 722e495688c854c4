//! Storage: what survives. An op log and an embedded engine behind a small trait.
//!
//! Promises: a commit is atomic over everything in it and durable before any reader sees it; a snapshot is
//! one instant of the whole state; a record that can't be read is an error, never "not found". Must not
//! decide anything about causality.

#[cfg(test)]
mod conformance;
mod damage;
mod disk;
mod error;
mod files;
mod memory;
mod oplog;

pub use damage::Damage;
pub use disk::{DiskOptions, DiskStorage, Restoring};
pub use error::{OpenError, StorageError};

pub use memory::MemoryStorage;

pub use crate::replica::PeerState;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::causality::{Dot, Hlc, NodeId, VersionVector};
use crate::replica::{Adopted, Append, Checkpoint, Key, KeyStates, OpRange, Siblings};

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
    /// is any). Before the [start of the log](Self::log_start): from there on.
    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError>;

    /// The position behind which the log can be read without a gap: that of the op before its first, or where it went on
    /// after the last state that was adopted.
    fn log_start(&self) -> u64;

    /// The parts of the log that can be dropped, oldest first: all but the one that is appended to.
    fn log_runs(&self) -> Vec<LogRun>;

    /// Drops the runs of the log that end at or before `through`, except what a hold or a fill needs. Only between commits.
    /// What the log does not have afterwards, although the state includes it.
    fn trim(&self, through: u64) -> Result<VersionVector, StorageError>;

    /// Drops what of the log is damaged, and all before it, whoever still needs it: what it does not have afterwards can only be
    /// had from the keys, which are on disk before. Only between commits. What the log does not have then, although the
    /// state includes it.
    fn give_up_log(&self) -> Result<VersionVector, StorageError>;

    /// What is known to be damaged. Costs next to nothing.
    fn damage(&self) -> Damage;

    /// Keeps in the log what comes from now on, for as long as the hold lives.
    fn hold_log(&self) -> LogHold;

    /// Begins to build a new state beside the present one, from that of a peer, to which a commit and a reader see nothing
    /// before it is adopted. What was begun before is dropped.
    fn begin_fill(&self, peer: PeerState, basis: Basis) -> Result<Box<dyn Fill>, StorageError>;

    /// Puts what was filled in the place of the state, brought up to the end of the log. At once, also on disk: a
    /// start before it finds the old state, one after it the new. Only between commits. After an error in
    /// [`StorageError`] the old state stays, unless a later commit fails too.
    fn adopt(&self, fill: Box<dyn Fill>) -> Result<Adopted, StorageError>;

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

/// What a peer's state is merged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The state that this node has.
    State,
    /// What this node's log has, because its keys can't all be read. What the log does not have any more the peer's state must
    /// include: else it is [unfit](StorageError::Unfit).
    Log,
}

/// A state being built, of which nothing is visible. Dropped before it is adopted, it leaves nothing behind. The store that
/// made it knows it again by its type.
pub trait Fill: Any + std::marker::Send {
    /// Takes the next keys of the peer's state, in byte order. Keys up to `through` that are not among them the peer does not
    /// have; `None`: up to the last there can be. Not behind a call with that.
    fn put(&mut self, keys: Vec<(Key, Siblings)>, through: Option<&str>) -> Result<(), StorageError>;

    /// Brings it up to the end of the log, once all keys are there; what is committed meanwhile may be left. How many ops
    /// were brought in: few, when it has just been done.
    fn catch_up(&mut self) -> Result<u64, StorageError>;
}

/// A part of the log, closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRun {
    /// The position of its last op.
    pub last: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The highest clock reading of its ops or before them.
    pub ended: Hlc,
    /// All ops up to its end.
    pub vector: VersionVector,
}

/// Positions of the log behind which nothing may be dropped, each with how many want it so.
#[derive(Clone, Debug, Default)]
struct LogHolds(Arc<Mutex<BTreeMap<u64, usize>>>);

/// See [`Storage::hold_log`].
#[derive(Debug)]
pub struct LogHold {
    position: u64,
    holds: LogHolds,
}

impl LogHolds {
    /// Keeps what comes behind a position, which is asked for while nobody asks what is held.
    fn hold(&self, position: impl FnOnce() -> u64) -> LogHold {
        let mut held = self.held();
        let position = position();
        *held.entry(position).or_default() += 1;
        LogHold { position, holds: self.clone() }
    }

    /// The lowest position that is held.
    fn lowest(&self) -> Option<u64> {
        self.held().keys().next().copied()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        // Each step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogHold {
    fn drop(&mut self) {
        let mut held = self.holds.held();
        if let Some(holders) = held.get_mut(&self.position) {
            *holders -= 1;
            if *holders == 0 {
                held.remove(&self.position);
            }
        }
    }
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

    /// The keys that come after `after`, in byte order, each with its siblings as `format::siblings` bytes: as many as `limit`
    /// allows (counting keys for ops), at least one, if there is any.
    fn piece(&self, after: Option<&str>, limit: BatchLimit) -> Result<Piece, StorageError>;

    /// The same of the keys that have more than one sibling. Takes no longer when there are many others.
    fn conflicts(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Siblings)>, StorageError>;
}

/// A part of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// In byte order.
    pub keys: Vec<(String, Bytes)>,
    /// Whether no key comes behind.
    pub is_last: bool,
}

/// How much one batch may hold; a single op may exceed the bytes.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimit {
    /// Ops.
    pub ops: usize,
    /// Encoded bytes.
    pub bytes: usize,
}

impl BatchLimit {
    /// For a batch that is empty.
    fn room(self) -> Room {
        Room { limit: self, items: 0, bytes: 0 }
    }
}

/// What a batch has room for.
struct Room {
    limit: BatchLimit,
    items: usize,
    bytes: usize,
}

impl Room {
    /// Takes one more with so many bytes, if it fits; the first always does.
    fn takes(&mut self, bytes: usize) -> bool {
        let with_it = self.bytes.saturating_add(bytes);
        let fits = self.items == 0 || (self.items < self.limit.ops && with_it <= self.limit.bytes);
        if fits {
            (self.items, self.bytes) = (self.items + 1, with_it);
        }
        fits
    }
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
