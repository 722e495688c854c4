//! Storage: what survives. An embedded engine behind a small trait.
//!
//! Promises: a commit is atomic over everything in it and durable before any reader sees it; a snapshot is
//! one instant of the whole state; a record that can't be read is an error, never "not found". Must not
//! decide anything about causality.

use std::io;
use std::path::PathBuf;

use crate::causality::{Dot, NodeId, VersionVector};
use crate::replica::{Append, Checkpoint, KeyStates, OpRange, Siblings, Unreadable};

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

    /// The whole state at one instant.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError>;

    /// Ops of these ranges, in order of their positions in the log, as many as `limit` allows (at least
    /// one, if there is any).
    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> Result<u64, StorageError>;
}

/// The state at one instant, with the version vector that goes with it.
pub trait Snapshot: std::marker::Send {
    /// All ops that the state includes.
    fn vector(&self) -> &VersionVector;

    /// The siblings of `key`; empty if there is no such key.
    fn siblings(&self, key: &str) -> Result<Siblings, StorageError>;

    /// Keys that start with `prefix` and come after `after`, in byte order, at most `limit`, with their
    /// siblings.
    fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Siblings)>, StorageError>;
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
    pub bytes: Vec<u8>,
}

/// Something that could not be read or written. Nothing changed, except after a failed commit.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The engine failed.
    #[error("storage engine: {0}")]
    Engine(String),
    /// A record does not read as what it should be.
    #[error("{record} is damaged: {problem}")]
    Damaged {
        /// Which record.
        record: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A directory that can't be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path} is in use by another process; one node, one directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to someone else.
    #[error("{path} holds the data of node {} of cluster '{}', not of node {} of cluster '{}'", found.node, found.cluster, expected.node, expected.cluster)]
    OtherIdentity {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: Identity,
        /// Whose it should be.
        expected: Identity,
    },
    /// It was written by a newer version.
    #[error("{path} has format {found}; this version reads up to {newest}: start it with a newer version")]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        newest: u32,
    },
    /// It exists, is not empty, and is not ours.
    #[error("{path} is not empty and holds no causeway data")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// What it holds does not fit together.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The engine failed.
    #[error("{path}: storage engine: {problem}")]
    Engine {
        /// The directory.
        path: PathBuf,
        /// What it said.
        problem: String,
    },
}

impl From<StorageError> for Unreadable {
    fn from(error: StorageError) -> Self {
        Unreadable(error.to_string())
    }
}
