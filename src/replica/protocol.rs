//! Which versions of the protocol a node speaks, and what came with which.
//!
//! Every [`Statement`](super::Statement) says it, so a node knows of each peer what it may use with it, and uses no more:
//! so nodes of different versions work together while a cluster is upgraded node by node. What only adds to a message
//! (fields that an older node skips) needs no version. What an older node would not understand is a [`Feature`], and the
//! next version has it. A version that is given up raises the oldest one spoken; nodes without a version in common
//! refuse each other.

use std::fmt;

/// The versions of the protocol that a node speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

/// Something that not every version of the protocol has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Catching a peer up by this node's whole state.
    StateTransfer,
}

impl Protocol {
    /// What this program speaks.
    pub const OWN: Self = Self { oldest: 1, newest: 2 };

    /// What a node speaks that does not say so: the program's version 0.1.0.
    pub const UNSAID: Self = Self { oldest: 1, newest: 1 };

    /// Whether nodes that speak these have a version in common.
    pub fn meets(self, other: Self) -> bool {
        self.oldest <= other.newest && other.oldest <= self.newest
    }

    /// Whether a node that speaks this understands `feature`.
    pub fn has(self, feature: Feature) -> bool {
        let since = match feature {
            Feature::StateTransfer => 2,
        };
        self.newest >= since
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oldest, newest } = self;
        if oldest == newest { write!(to, "version {oldest}") } else { write!(to, "versions {oldest} to {newest}") }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::StateTransfer => "state transfer",
        })
    }
}
