//! Version vectors: which ops a state holds, as one number an origin.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Dot, NodeId, Origin};

/// Origin → highest counter such that all ops up to it are included.
///
/// Whether a vector covers a dot of an *earlier incarnation* is not for the vector alone to say: ask
/// [`Ancestry`](super::Ancestry), which also keeps vectors in their one normal form. The methods here look
/// at the entries as they are.
///
/// A clone shares the entries until one of the two is changed: vectors are handed out far more often than that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionVector(Arc<BTreeMap<Origin, u64>>);

impl VersionVector {
    /// The vector of an empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry of `origin`; 0 when there is none.
    pub fn get(&self, origin: Origin) -> u64 {
        self.0.get(&origin).copied().unwrap_or(0)
    }

    /// Raises the entry of the dot's origin to its counter; never lowers it.
    pub fn raise(&mut self, dot: Dot) {
        raise(Arc::make_mut(&mut self.0), dot);
    }

    /// Drops the entry of `origin`.
    pub(super) fn remove(&mut self, origin: Origin) {
        Arc::make_mut(&mut self.0).remove(&origin);
    }

    /// The entries in order of origin, each as the dot of the last op included.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Dot> + '_ {
        self.0.iter().map(|(origin, counter)| origin.dot(*counter))
    }

    /// The entries that are higher than `other`'s of the same origin, or that it does not have. One walk over both.
    pub fn above<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        let mut others = other.entries().peekable();
        self.entries().filter(move |dot| {
            while others.next_if(|theirs| theirs.origin < dot.origin).is_some() {}
            others.peek().is_none_or(|theirs| theirs.origin != dot.origin || theirs.counter < dot.counter)
        })
    }

    /// The entries of one node, in order of incarnation.
    pub fn entries_of(&self, node: NodeId) -> impl Iterator<Item = Dot> + '_ {
        let first = Origin::new(node, super::Incarnation(0));
        let last = Origin::new(node, super::Incarnation(u64::MAX));
        self.0.range(first..=last).map(|(origin, counter)| origin.dot(*counter))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is the vector of an empty state.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn raise(entries: &mut BTreeMap<Origin, u64>, dot: Dot) {
    if dot.counter > 0 {
        let entry = entries.entry(dot.origin).or_insert(0);
        *entry = (*entry).max(dot.counter);
    }
}

impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut entries = BTreeMap::new();
        for dot in dots {
            raise(&mut entries, dot);
        }
        Self(Arc::new(entries))
    }
}

impl fmt::Display for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, dot) in self.entries().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}:{}", dot.origin, dot.counter)?;
        }
        f.write_str("}")
    }
}
