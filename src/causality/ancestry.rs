//! Ancestry: how the entries of a node's earlier incarnations leave the version vector ("folding").
//!
//! The first op of an incarnation names as *parents* every entry of its own node in the writer's version
//! vector. It depends on them, so having that op implies having those: their entries carry no information
//! any more and are dropped, by each node for itself, with no agreement needed. An op of an old incarnation
//! that lies *above* the parents' counters (its node was restored from an older copy) is not implied; its
//! entry stays until a later incarnation names it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::lineage::Lineage;
use super::{Dot, NodeId, Origin, VersionVector};

/// How many incarnations a node may have had. A node that is restarted every minute, and written to each time, gets there
/// after half a year; one that is restarted every day never does. In memory an incarnation takes some 90 bytes, on disk
/// 60, on each node of the cluster: so one node's take 23 MB and 16 MB at most.
pub const MAX_INCARNATIONS: usize = 262_144;

/// The parents of one incarnation: for each, the last op that is implied. All are of the same node.
pub type Parents = Vec<Dot>;

/// The parents of every incarnation whose first op is known, also of those long folded away.
///
/// It may know more incarnations than a vector it is asked about: an incarnation that the vector does not
/// reach says nothing about that vector.
///
/// None is ever dropped: a client's token, a sibling, a restored copy or a peer that was away may name any of them. So a
/// start with a write costs some bytes for ever, and a node has at most [`MAX_INCARNATIONS`] of them. What is asked
/// costs the same however many there are. A clone shares all but the chunks in which one of the two has learned more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancestry(BTreeMap<NodeId, Arc<Lineage>>);

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
            Arc::make_mut(self.0.entry(origin.node).or_default()).insert(origin.incarnation, parents);
        }
    }

    /// The parents of `origin`; none for a node's very first incarnation or one that is not known.
    pub fn parents(&self, origin: Origin) -> &[Dot] {
        self.0.get(&origin.node).map_or(&[], |lineage| lineage.parents(origin.incarnation))
    }

    /// All incarnations that have parents, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, &[Dot])> {
        self.0.iter().flat_map(|(node, lineage)| {
            lineage.iter().map(|(incarnation, parents)| (Origin::new(*node, incarnation), parents))
        })
    }

    /// Incarnations that have parents, at most `limit` of each node: those that are nearest to what `vector` names.
    pub fn nearest(&self, vector: &VersionVector, limit: usize) -> BTreeMap<Origin, &[Dot]> {
        let mut nearest = BTreeMap::new();
        for (node, lineage) in &self.0 {
            let mut left = limit;
            let mut open: VecDeque<Origin> = vector.entries_of(*node).map(|last| last.origin).collect();
            while let Some(origin) = open.pop_front().filter(|_| left > 0) {
                let parents = lineage.parents(origin.incarnation);
                if !parents.is_empty() && nearest.insert(origin, parents).is_none() {
                    left -= 1;
                    open.extend(parents.iter().map(|parent| parent.origin));
                }
            }
        }
        nearest
    }

    /// How many incarnations a node has had, of those that a state at `vector` knows of.
    pub fn incarnations(&self, vector: &VersionVector, node: NodeId) -> usize {
        let lineage = self.0.get(&node);
        let is_new = |last: &Dot| lineage.is_none_or(|lineage| !lineage.knows(last.origin.incarnation));
        lineage.map_or(0, |lineage| lineage.len()) + vector.entries_of(node).filter(is_new).count()
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
        let others = vector.entries_of(origin.node).map(|last| last.origin.incarnation);
        let mut others = others.filter(|other| *other != origin.incarnation).peekable();
        match self.0.get(&origin.node) {
            Some(lineage) if others.peek().is_some() => lineage.implied_up_to(others, origin.incarnation),
            _ => 0,
        }
    }
}
