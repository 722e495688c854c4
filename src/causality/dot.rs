//! Dots: the names of ops. A name is never used twice (see [`Incarnation`]).

use std::fmt;
use std::str::FromStr;

/// The integer id of a node, as its users configured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// One life of a node's counter, named by random bits.
///
/// A start opens a new one at its first write. It is never derived from a clock nor from anything stored,
/// because a restored copy of a volume would repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Where an op was accepted: a node in one of its incarnations. Each origin counts its ops from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The node that accepted the op.
    pub node: NodeId,
    /// The life of that node's counter.
    pub incarnation: Incarnation,
}

/// The name of one op. In text (API, logs, `/status`): `NODE.INCARNATION.COUNTER`, the incarnation as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Whose op it is.
    pub origin: Origin,
    /// Its number at that origin; starts at 1, without gaps.
    pub counter: u64,
}

impl Origin {
    /// The origin of `node` in `incarnation`.
    pub fn new(node: NodeId, incarnation: Incarnation) -> Self {
        Self { node, incarnation }
    }

    /// The dot of this origin's op number `counter`.
    pub fn dot(self, counter: u64) -> Dot {
        Dot { origin: self, counter }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.node, self.incarnation.0)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.origin, self.counter)
    }
}

/// A text that is not a dot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a dot (expected NODE.INCARNATION.COUNTER, for example 0.00c0ffee00c0ffee.7)")]
pub struct ParseDotError(String);

impl FromStr for Dot {
    type Err = ParseDotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split('.');
            let node = NodeId(parts.next()?.parse().ok()?);
            let incarnation = parts.next().filter(|hex| hex.len() == 16)?;
            let incarnation = Incarnation(u64::from_str_radix(incarnation, 16).ok()?);
            let counter = parts.next()?.parse().ok().filter(|counter| *counter > 0)?;
            parts.next().is_none().then(|| Origin::new(node, incarnation).dot(counter))
        };
        // Only the one canonical spelling: `+1`, leading zeros or capitals would give a dot several names.
        parse().filter(|dot| dot.to_string() == text).ok_or_else(|| ParseDotError(text.to_owned()))
    }
}
