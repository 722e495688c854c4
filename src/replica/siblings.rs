//! Siblings: the values of one key whose writes did not know of each other (a dotted version vector set, in
//! the manner of Preguiça, Baquero et al., "Dotted Version Vectors", 2010; the version vector is the node's
//! one vector, not one a key, because delivery is causal).

use std::slice;

use super::op::{Entry, Value};
use crate::causality::{Dot, Hlc};

/// One of a key's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// The op that wrote it.
    pub dot: Dot,
    /// When that op was accepted.
    pub hlc: Hlc,
    /// Its place in this node's order of arrival (the position of its op in this node's log). Differs from
    /// node to node; everything else is the same everywhere.
    pub arrival: u64,
    /// The value.
    pub value: Value,
}

/// All values of one key, in order of arrival, the latest last. Empty: the key does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Siblings(Vec<Sibling>);

impl Siblings {
    /// The siblings given, in order of arrival.
    pub fn new(mut siblings: Vec<Sibling>) -> Self {
        siblings.sort_by_key(|sibling| (sibling.arrival, sibling.dot));
        Self(siblings)
    }

    /// One sibling of which only the dot is known (see [`KeyStates::outline`](super::KeyStates::outline)).
    pub fn outline(dot: Dot) -> Self {
        Self(vec![Sibling { dot, hlc: Hlc(0), arrival: 0, value: "".into() }])
    }

    /// The same dots, with all else made up.
    pub fn outlined(&self) -> Self {
        Self(self.0.iter().flat_map(|sibling| Self::outline(sibling.dot).0).collect())
    }

    /// In order of arrival, the latest last.
    pub fn iter(&self) -> slice::Iter<'_, Sibling> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the key has no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that reached this node last: what a plain read shows.
    pub fn latest(&self) -> Option<&Sibling> {
        self.0.last()
    }

    /// The one with the highest clock reading, then node, incarnation, counter: the same on every node.
    pub fn newest(&self) -> Option<&Sibling> {
        self.0.iter().max_by_key(|sibling| (sibling.hlc, sibling.dot))
    }

    /// Has the sibling that an op wrote, if it is there, at that place in the order of arrival.
    pub fn arrived(&mut self, dot: Dot, arrival: u64) {
        self.0.iter_mut().filter(|sibling| sibling.dot == dot).for_each(|sibling| sibling.arrival = arrival);
        self.0.sort_by_key(|sibling| (sibling.arrival, sibling.dot));
    }

    /// Applies one entry of the op `dot`: drops what it replaces, adds its value if it has one.
    pub fn apply(&mut self, dot: Dot, hlc: Hlc, arrival: u64, entry: &Entry) {
        self.0.retain(|sibling| !entry.replaces.contains(&sibling.dot));
        if let Some(value) = &entry.value {
            self.0.push(Sibling { dot, hlc, arrival, value: value.clone() });
        }
    }
}
