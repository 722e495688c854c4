//! Merging: what a key holds after another node's whole state was merged into this node's.
//!
//! The rule is that of dotted version vector sets: a sibling stays that both states have, or that the other state's version
//! vector does not cover (if it covers it without having it, it was replaced there).
//!
//! Siblings that this node held keep their place in its order of arrival. Those that come with the state arrive when it
//! is adopted, in the order in which they arrived at the other node: behind all ops that come meanwhile, of whom nobody
//! knows yet how many there will be. So they get positions that are [`LEAP`] ahead, and the log goes on behind these.

use super::siblings::{Sibling, Siblings};
use crate::causality::{Ancestry, Coverage, Dot, VersionVector};

/// How far the log's positions leap when a state is adopted. Far fewer ops come while one is being received, and no key
/// has half as many siblings.
pub const LEAP: u64 = 1 << 32;

/// Merges another node's state into this node's, key by key.
#[derive(Clone, Debug)]
pub struct Merging {
    own: Coverage,
    theirs: Coverage,
    vector: VersionVector,
    /// The first position of those that arrive with the state.
    arrival: u64,
}

impl Merging {
    /// This node's state has the vector `own` and was taken at `position` of its log, the other node's has `theirs`.
    /// `ancestry` is what both nodes know.
    pub fn new(own: &VersionVector, position: u64, theirs: &VersionVector, ancestry: &Ancestry) -> Self {
        let mut vector = own.clone();
        ancestry.join(&mut vector, theirs);
        let (own, theirs) = (ancestry.coverage(own), ancestry.coverage(theirs));
        Self { own, theirs, vector, arrival: position + LEAP }
    }

    /// The vector of the merged state.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// Whether the merged state includes the op named by `dot`.
    pub(super) fn covers(&self, dot: Dot) -> bool {
        self.own.covers(dot) || self.theirs.covers(dot)
    }

    /// Where the log goes on: behind all siblings that came with the state.
    pub fn position(&self) -> u64 {
        self.arrival + LEAP / 2
    }

    /// What a key holds of which the states have these.
    pub fn merge(&self, own: &Siblings, theirs: &Siblings) -> Siblings {
        let has = |siblings: &Siblings, wanted: &Sibling| siblings.iter().any(|sibling| sibling.dot == wanted.dot);
        let kept = own.iter().filter(|sibling| has(theirs, sibling) || !self.theirs.covers(sibling.dot)).cloned();
        let added = theirs.iter().filter(|sibling| !has(own, sibling) && !self.own.covers(sibling.dot));
        let arrivals = self.arrival..self.position();
        let added = added.zip(arrivals).map(|(sibling, arrival)| Sibling { arrival, ..sibling.clone() });
        Siblings::new(kept.chain(added).collect())
    }
}
