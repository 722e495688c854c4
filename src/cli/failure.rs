//! Why a command did not do what it was called for: one sentence for people, one exit code for programs.

use std::io;
use std::path::PathBuf;

use reqwest::StatusCode;

/// A key that there can't be.
pub(super) const EMPTY_KEY: &str = "a key is empty, which no key can be";

/// Why a command ended early, or its answer is "no".
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It was done, and the answer is no: no such key, states that differ.
    #[error("{0}")]
    No(String),
    /// The command line, or what it names, is wrong.
    #[error("{0}")]
    Usage(String),
    /// It could not be done.
    #[error("{0}")]
    NotDone(String),
    /// A node gave no answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// A node refused.
    #[error("{url} answered {}: {why}", status.as_u16())]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        why: String,
    },
    /// A file named by the command line can't be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output can't be written.
    #[error("can't write the output: {0}")]
    Output(#[source] io::Error),
    /// Whoever reads the output has seen enough.
    #[error("the output was closed")]
    Closed,
}

/// A node gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {tried}{}", if *.asked { "" } else { "; is a node running there? --node or CAUSEWAY_NODE names another" })]
pub(super) struct NoAnswer {
    /// Who was tried, and why there was none.
    pub(super) tried: String,
    /// Whether the request may have reached a node.
    pub(super) asked: bool,
}

impl Failure {
    /// Whether it may go another way when it is tried again.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused { status, .. } => status.is_server_error(),
            _ => false,
        }
    }

    /// The exit code, as `--help` and `docs/commands.md` list them.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::No(_) => 1,
            Self::Usage(_) => 2,
            Self::NotDone(_) | Self::NoAnswer(_) | Self::Refused { .. } | Self::File { .. } | Self::Output(_) => 3,
        }
    }
}

impl From<io::Error> for Failure {
    /// Of a write to the output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Output(error),
        }
    }
}
