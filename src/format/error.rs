//! What can be wrong with bytes.

use crate::causality::{Dot, NodeId};
use crate::replica::Protocol;

/// The highest counter that is taken from outside: far beyond any use, and far enough from the end of the
/// integer that nothing which adds to a counter can overflow.
pub const MAX_COUNTER: u64 = i64::MAX as u64;

/// Bytes that are not what they should be. Nothing was taken from them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Too few bytes for a frame.
    #[error("{what} is cut short: {bytes} bytes")]
    Short {
        /// What it should be.
        what: &'static str,
        /// How many there are.
        bytes: usize,
    },
    /// The checksum is another one: something was altered or cut off.
    #[error("{what} does not match its checksum")]
    Checksum {
        /// What it should be.
        what: &'static str,
    },
    /// Whole, but of a version that is not known here.
    #[error("{what} has version {found}, {}", known(*found, *oldest, *newest))]
    Version {
        /// What it should be.
        what: &'static str,
        /// Its version.
        found: u8,
        /// The oldest that is known.
        oldest: u8,
        /// The newest that is known.
        newest: u8,
    },
    /// From a node that speaks no version of the protocol that is spoken here.
    #[error("node {node} speaks {found} of the protocol, this node {}: upgrade the older of them", Protocol::OWN)]
    Protocol {
        /// Who.
        node: NodeId,
        /// What it speaks.
        found: Protocol,
    },
    /// Whole, but it does not read as what it should be.
    #[error("{what} does not read as one: {problem}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It reads as an op that can't be.
    #[error("op {dot} is not well formed: {problem}")]
    IllFormedOp {
        /// The op, as it names itself.
        dot: Dot,
        /// What is wrong.
        problem: &'static str,
    },
}

/// What would have been read instead of `found`.
fn known(found: u8, oldest: u8, newest: u8) -> String {
    if found > newest {
        format!("the newest known here is {newest}")
    } else {
        format!("the oldest known here is {oldest}")
    }
}

impl FormatError {
    /// Whether another version wrote this, so that it can be read nowhere but there.
    pub fn is_of_another_version(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Protocol { .. })
    }

    pub(super) fn malformed(what: &'static str, problem: impl ToString) -> Self {
        Self::Malformed { what, problem: problem.to_string() }
    }
}
