//! Ancestry: how the entries of a node's earlier incarnations leave the version vector ("folding").
//!
//! The first op of an incarnation names as *parents* every entry of its own node in the writer's version
//! vector. It depends on them, so having that op implies having those: their entries carry no information
//! any more and are dropped, by each node for itself, with no agreement needed. An op of an old incarnation
//! that lies *above* the parents' counters (its node was restored from an older copy) is not implied; its
//! entry stays until a later incarnation names it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dot, Origin, VersionVector};

/// The parents of one incarnation: for each, the last op that is implied. All are of the same node.
pub type Parents = Vec<Dot>;

/// The parents of every incarnation whose first op is known, also of those long folded away.
///
/// It may know more incarnations than a vector it is asked about: an incarnation that the vector does not
/// reach says nothing about that vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancestry(BTreeMap<Origin, Parents>);

/// All that a vector includes: for every origin, also of those folded away, up to which op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<Origin, u64>);

impl Coverage {
    /// Whether the op named by `dot` is included.
    pub fn covers(&self, dot: Dot) -> bool {
        self.0.get(&dot.origin).is_some_and(|counter| *counter >= dot.counter)
    }
}

impl Ancestry {
    /// No incarnation known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the parents of `origin`. An incarnation without parents needs no note.
    pub fn insert(&mut self, origin: Origin, parents: &[Dot]) {
        if !parents.is_empty() {
            self.0.insert(origin, parents.to_vec());
        }
    }

    /// The parents of `origin`; none for a node's very first incarnation or one that is not known.
    pub fn parents(&self, origin: Origin) -> &[Dot] {
        self.0.get(&origin).map_or(&[], Vec::as_slice)
    }

    /// All incarnations that have parents, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, &[Dot])> {
        self.0.iter().map(|(origin, parents)| (*origin, parents.as_slice()))
    }

    /// The highest counter of `origin` that `vector` includes, by its own entry or by implication; 0 for none.
    pub fn covered_up_to(&self, vector: &VersionVector, origin: Origin) -> u64 {
        // In normal form an entry is above everything that others imply, so it is the answer.
        match vector.get(origin) {
            0 => self.implied_up_to(vector, origin),
            counter => counter,
        }
    }

    /// Whether `vector` includes the op named by `dot`.
    pub fn covers(&self, vector: &VersionVector, dot: Dot) -> bool {
        self.covered_up_to(vector, dot.origin) >= dot.counter
    }

    /// All that `vector` includes, worked out once: for who asks about many ops.
    pub fn coverage(&self, vector: &VersionVector) -> Coverage {
        let mut covered: BTreeMap<Origin, u64> = BTreeMap::new();
        let mut open: Vec<Dot> = vector.entries().collect();
        while let Some(Dot { origin, counter }) = open.pop() {
            let known = covered.insert(origin, counter.max(covered.get(&origin).copied().unwrap_or(0)));
            if known.is_none() {
                open.extend(self.parents(origin));
            }
        }
        Coverage(covered)
    }

    /// Whether `vector` includes all that `other` includes.
    pub fn includes(&self, vector: &VersionVector, other: &VersionVector) -> bool {
        other.entries().all(|dot| self.covers(vector, dot))
    }

    /// Adds an op to `vector` whose predecessors it includes, and folds what the op implies.
    pub fn advance(&self, vector: &mut VersionVector, dot: Dot) {
        vector.raise(dot);
        if dot.counter == 1 {
            self.fold(vector);
        }
    }

    /// Makes `vector` include all that `other` includes.
    pub fn join(&self, vector: &mut VersionVector, other: &VersionVector) {
        for dot in other.entries() {
            if !self.covers(vector, dot) {
                vector.raise(dot);
            }
        }
        self.fold(vector);
    }

    /// Drops every entry that the others imply: the one normal form of the set of ops.
    fn fold(&self, vector: &mut VersionVector) {
        let implied: Vec<Dot> =
            vector.entries().filter(|dot| self.implied_up_to(vector, dot.origin) >= dot.counter).collect();
        for dot in implied {
            vector.remove(dot.origin);
        }
    }

    /// The highest counter of `origin` that the *other* entries of its node imply.
    fn implied_up_to(&self, vector: &VersionVector, origin: Origin) -> u64 {
        let mut highest = 0;
        let mut seen = BTreeSet::new();
        let mut open: Vec<Origin> =
            vector.entries_of(origin.node).map(|dot| dot.origin).filter(|other| *other != origin).collect();
        while let Some(next) = open.pop() {
            for parent in self.parents(next) {
                if parent.origin == origin {
                    highest = highest.max(parent.counter);
                } else if seen.insert(parent.origin) {
                    open.push(parent.origin);
                }
            }
        }
        highest
    }
}
