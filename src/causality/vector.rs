//! Version vectors: which ops a state holds, as one number an origin.

use std::fmt;
use std::sync::Arc;

use super::{Dot, NodeId, Origin};

/// Origin → highest counter such that all ops up to it are included.
///
/// Whether a vector covers a dot of an *earlier incarnation* is not for the vector alone to say: ask
/// [`Ancestry`](super::Ancestry), which also keeps vectors in their one normal form. The methods here look
/// at the entries as they are.
///
/// A clone shares the entries until one of the two is changed. They lie in a row, because vectors are handed out,
/// compared and written down far more often than they get an entry more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionVector(
    /// In order of origin, one an origin, each the last op included; no counter is 0.
    Arc<Vec<Dot>>,
);

impl VersionVector {
    /// The vector of an empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry of `origin`; 0 when there is none.
    pub fn get(&self, origin: Origin) -> u64 {
        self.place(origin).map_or(0, |place| self.0[place].counter)
    }

    /// Raises the entry of the dot's origin to its counter; never lowers it.
    pub fn raise(&mut self, dot: Dot) {
        match self.place(dot.origin) {
            Ok(place) if self.0[place].counter < dot.counter => Arc::make_mut(&mut self.0)[place] = dot,
            Err(place) if dot.counter > 0 => Arc::make_mut(&mut self.0).insert(place, dot),
            Ok(_) | Err(_) => {}
        }
    }

    /// Drops the entry of `origin`.
    pub(super) fn remove(&mut self, origin: Origin) {
        if let Ok(place) = self.place(origin) {
            Arc::make_mut(&mut self.0).remove(place);
        }
    }

    /// Where the entry of `origin` is, or would be.
    fn place(&self, origin: Origin) -> Result<usize, usize> {
        self.0.binary_search_by_key(&origin, |dot| dot.origin)
    }

    /// The entries in order of origin, each as the dot of the last op included.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = Dot> + '_ {
        self.0.iter().copied()
    }

    /// The entries that are higher than `other`'s of the same origin, or that it does not have. One walk over both.
    pub fn above<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        let mut others: &[Dot] = &other.0;
        self.entries().filter(move |dot| {
            while let [theirs, rest @ ..] = others
                && theirs.origin < dot.origin
            {
                others = rest;
            }
            others.first().is_none_or(|theirs| theirs.origin != dot.origin || theirs.counter < dot.counter)
        })
    }

    /// The entries of one node, in order of incarnation.
    pub fn entries_of(&self, node: NodeId) -> impl Iterator<Item = Dot> + '_ {
        let first = self.0.partition_point(|dot| dot.origin.node < node);
        self.0[first..].iter().copied().take_while(move |dot| dot.origin.node == node)
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

impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut entries: Vec<Dot> = dots.into_iter().filter(|dot| dot.counter > 0).collect();
        // Of an origin's dots the highest comes first, and stays.
        entries.sort_unstable_by(|left, right| left.origin.cmp(&right.origin).then(right.counter.cmp(&left.counter)));
        entries.dedup_by_key(|dot| dot.origin);
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
