//! What can go wrong with a store.

use std::io;
use std::path::PathBuf;

use super::Identity;
use crate::replica::{NotAState, Unreadable};

/// Something that could not be read or written. Nothing changed, except after a failed commit.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The engine failed.
    #[error("storage engine: {0}")]
    Engine(String),
    /// The op log could not be read or written.
    #[error("op log: {0}")]
    Log(#[source] io::Error),
    /// A record does not read as what it should be.
    #[error("{record} is damaged: {problem}")]
    Damaged {
        /// Which record.
        record: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A peer's state can't be used: this node's could not be brought up to where it is.
    #[error("the peer's state is of no use: {0}")]
    Unfit(String),
}

impl From<NotAState> for StorageError {
    fn from(error: NotAState) -> Self {
        match error {
            NotAState::Lacks | NotAState::Gap(_) => Self::Unfit(error.to_string()),
            other => Self::Engine(other.to_string()),
        }
    }
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
    /// It was written by a version that is too old.
    #[error("{path} has format {found}; this version reads formats from {oldest} on")]
    OldFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The oldest format that is read here.
        oldest: u32,
    },
    /// It exists, is not empty, and is not ours.
    #[error("{path} is not empty and holds no causeway data")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A backup is to be restored there, and it holds data.
    #[error("{path} holds data already; a backup is restored into an empty directory")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A backup is being restored there, or that was cut off.
    #[error("{path} holds a backup that is not restored as a whole; wait for `causeway restore`, or run it again")]
    Restoring {
        /// The directory.
        path: PathBuf,
    },
    /// What it holds does not fit together.
    #[error(
        "{path} is damaged: {problem}; move the directory away and start with an empty one (this node's peers fill it, and what \
         only this node had is lost), or put back a backup"
    )]
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

impl StorageError {
    /// A record that was read and is not what it should be.
    pub(crate) fn damaged(record: impl ToString, problem: impl ToString) -> Self {
        Self::Damaged { record: record.to_string(), problem: problem.to_string() }
    }
}
