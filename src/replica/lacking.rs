//! What a peer lacks, worked out from its statement.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::effect::{LinkView, OpRange, View};
use super::message::Statement;
use super::protocol::Feature;
use crate::causality::{Ancestry, Dot, NodeId, Origin, VersionVector};

/// What is known of a peer's state: its newest statement, with what it said is implied by it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) statement: Statement,
    pub(super) implied: Vec<Dot>,
    /// Whether it has answered since it was started, so that `implied` says all that this node needed to know.
    answered: bool,
    /// What that was last worked out to lack. It may be tens of thousands of origins, and is asked for several times an
    /// answer.
    lacked: Option<Lacked>,
}

#[derive(Clone, Debug)]
struct Lacked {
    /// Of which state.
    vector: VersionVector,
    ancestry: Arc<Ancestry>,
    ranges: Arc<[OpRange]>,
}

impl Known {
    pub(super) fn new(statement: Statement, implied: Vec<Dot>, answered: bool) -> Self {
        Self { statement, implied, answered, lacked: None }
    }

    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    /// The nodes of whom the peer has ops that this node knows nothing of, until it answers and says what they imply. By
    /// the vectors alone it lacks all of their earlier lives, which may be a hundred thousand: after each start of a node
    /// that would be worked out for nothing.
    pub(super) fn unclear(&self, vector: &VersionVector, ancestry: &Ancestry) -> BTreeSet<NodeId> {
        let is_new = |last: &Dot| ancestry.covered_up_to(vector, last.origin) == 0;
        let new = self.statement.vector.entries().filter(|last| !self.answered && is_new(last));
        new.map(|last| last.origin.node).collect()
    }

    /// The ops that a state at `vector` includes and the peer does not, as far as that is clear: an entry an origin, in
    /// order.
    pub(super) fn lacks(&mut self, vector: &VersionVector, ancestry: &Arc<Ancestry>) -> Arc<[OpRange]> {
        let is_of = |lacked: &&Lacked| lacked.vector == *vector && Arc::ptr_eq(&lacked.ancestry, ancestry);
        if let Some(lacked) = self.lacked.as_ref().filter(is_of) {
            return lacked.ranges.clone();
        }
        let (theirs, unclear) = (&self.statement.vector, self.unclear(vector, ancestry));
        let open = vector.above(theirs).filter(|last| !unclear.contains(&last.origin.node)).collect();
        let ranges: Arc<[OpRange]> = walk(theirs, &self.implied, open, ancestry).into();
        let (vector, ancestry) = (vector.clone(), ancestry.clone());
        self.lacked.insert(Lacked { vector, ancestry, ranges }).ranges.clone()
    }
}

impl View {
    /// The ops of this node's log that a peer lacks, by its newest statement.
    pub fn lacks(&self, link: &LinkView) -> Vec<OpRange> {
        self.lacks_of(link, &self.vector)
    }

    /// The ops that a state at `vector`, which this node's includes, has and a peer lacks, by its newest statement.
    pub fn lacks_of(&self, link: &LinkView, vector: &VersionVector) -> Vec<OpRange> {
        let Some(theirs) = &link.vector else { return Vec::new() };
        walk(theirs, &link.implied, vector.above(theirs).collect(), &self.ancestry)
    }

    /// What a peer that `lacks` these ops would have to understand to get them, and does not: an older version runs there.
    pub fn not_understood(&self, link: &LinkView, lacks: &[OpRange]) -> Option<Feature> {
        let has = |feature| link.protocol.is_none_or(|protocol| protocol.has(feature));
        let needs_state = || is_trimmed(lacks, &self.floor, &self.ancestry);
        (!has(Feature::StateTransfer) && needs_state()).then_some(Feature::StateTransfer)
    }
}

/// Whether a log that lacks what `floor` includes does not have all of these.
pub(super) fn is_trimmed(ops: &[OpRange], floor: &VersionVector, ancestry: &Ancestry) -> bool {
    ops.iter().any(|range| ancestry.covers(floor, range.origin.dot(range.first)))
}

/// Walks from entries that `theirs` does not reach down the ancestry, and no further than to incarnations that the peer
/// has something of: having the first op of one implies having its parents.
fn walk(theirs: &VersionVector, implied: &[Dot], mut open: Vec<Dot>, ancestry: &Ancestry) -> Vec<OpRange> {
    // They may be many: one an origin of what a peer just got.
    let implied: VersionVector = implied.iter().copied().collect();
    let mut ranges = Vec::new();
    let mut visited = BTreeSet::new();
    while let Some(last) = open.pop() {
        let have = have(theirs, &implied, last.origin, ancestry);
        if have < last.counter {
            ranges.push(OpRange { origin: last.origin, first: have + 1, last: last.counter });
        }
        if have == 0 && visited.insert(last.origin) {
            open.extend(ancestry.parents(last.origin));
        }
    }
    merge(ranges)
}

/// How far a peer at `theirs` has `origin`.
fn have(theirs: &VersionVector, implied: &VersionVector, origin: Origin, ancestry: &Ancestry) -> u64 {
    ancestry.covered_up_to(theirs, origin).max(implied.get(origin))
}

/// Of ranges in order, that of `origin`.
pub(super) fn of(ranges: &[OpRange], origin: Origin) -> Option<&OpRange> {
    ranges.binary_search_by_key(&origin, |range| range.origin).ok().map(|place| &ranges[place])
}

/// One range an origin, in order: two incarnations may name different last ops of a common parent.
fn merge(mut ranges: Vec<OpRange>) -> Vec<OpRange> {
    ranges.sort();
    ranges.dedup_by(|next, kept| {
        let same = next.origin == kept.origin;
        if same {
            kept.last = kept.last.max(next.last);
        }
        same
    });
    ranges
}

/// Whether some of an origin's ops came since these were lacking, although more still are.
pub(super) fn has_come(lacking: &OpRange, before: &[OpRange]) -> bool {
    of(before, lacking.origin).is_some_and(|before| before.first < lacking.first)
}

/// What of a range that was lacking is not lacking any more.
pub(super) fn less(range: &OpRange, lacks: &[OpRange]) -> Option<OpRange> {
    let last = match of(lacks, range.origin) {
        Some(still) => range.last.min(still.first - 1),
        None => range.last,
    };
    Some(OpRange { last, ..*range }).filter(|gained| gained.count() > 0)
}
