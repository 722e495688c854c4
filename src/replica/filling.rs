//! Filling: what the keys of a merged state hold, and what belongs to it besides the keys. The same for every store; where
//! the keys are kept, and how, is the store's.

use std::cmp::Ordering;

use super::effect::{Adopted, Checkpoint, Totals};
use super::merging::Merging;
use super::op::{Entry, Key, Op};
use super::siblings::Siblings;
use crate::causality::{Ancestry, Dot, Hlc, VersionVector};

/// A peer's state that is to be merged into this node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// All ops that it includes.
    pub vector: VersionVector,
    /// What the peer knows of incarnations.
    pub ancestry: Ancestry,
}

/// A peer's state, or a part of it, that is not what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAState {
    /// One after the last.
    #[error("a part of a peer's state comes behind its end")]
    BehindTheEnd,
    /// One that does not go on where the one before ended, or is not sorted.
    #[error("a part of a peer's state is out of order")]
    OutOfOrder,
    /// One with a key that has no name or no siblings.
    #[error("a part of a peer's state has a key that can't be")]
    NoSuchKey,
    /// The last has not come yet.
    #[error("a state is not whole: keys of the peer are missing")]
    NotWhole,
    /// This node has nothing but its log, and neither that nor the state has all that it had.
    #[error("it lacks ops that this node's log does not have any more")]
    Lacks,
    /// The same of one op, when the log lost more since.
    #[error("the log does not have op {0} any more")]
    Gap(Dot),
}

/// A state between its begin and its adoption, without its keys.
#[derive(Debug)]
pub struct Filling {
    merging: Merging,
    theirs: VersionVector,
    /// All that the merged state includes, and what was brought in since.
    vector: VersionVector,
    ancestry: Ancestry,
    totals: Totals,
    /// The highest clock reading of the peer's siblings.
    heard: Hlc,
    through: Through,
    /// How far it has this node's log.
    position: u64,
}

/// How far the keys are.
#[derive(Debug, PartialEq, Eq)]
enum Through {
    Nothing,
    Key(Box<str>),
    All,
}

impl Filling {
    /// This node's state has that vector, and was taken at `position` of its log.
    pub fn new(own: &VersionVector, position: u64, mut ancestry: Ancestry, peer: PeerState) -> Self {
        for (origin, parents) in peer.ancestry.iter() {
            ancestry.insert(origin, parents);
        }
        let theirs = peer.vector;
        let merging = Merging::new(own, position, &theirs, &ancestry);
        Self {
            vector: merging.vector().clone(),
            merging,
            theirs,
            ancestry,
            totals: Totals::default(),
            heard: Hlc(0),
            through: Through::Nothing,
            position,
        }
    }

    /// The same when this node has nothing but its log, which goes to `position` and lacks what `floor` includes.
    pub fn on_log(
        floor: &VersionVector,
        position: u64,
        ancestry: Ancestry,
        peer: PeerState,
    ) -> Result<Self, NotAState> {
        let filling = Self::new(&VersionVector::new(), position, ancestry, peer);
        if !filling.ancestry.includes(&filling.theirs, floor) {
            return Err(NotAState::Lacks);
        }
        Ok(Self { position: 0, ..filling })
    }

    /// Behind which key the next begin.
    pub fn through(&self) -> Option<&str> {
        match &self.through {
            Through::Key(key) => Some(key),
            Through::Nothing | Through::All => None,
        }
    }

    /// How far it has this node's log.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What both nodes know of incarnations.
    pub fn ancestry(&self) -> &Ancestry {
        &self.ancestry
    }

    /// Whether the peer's next keys can be these, up to `through`.
    pub fn check(&self, keys: &[(Key, Siblings)], through: Option<&str>) -> Result<(), NotAState> {
        if self.through == Through::All {
            return Err(NotAState::BehindTheEnd);
        }
        let (first, last) = (keys.first().map(|(key, _)| &**key), keys.last().map(|(key, _)| &**key));
        let is_in_order = keys.is_sorted_by(|(left, _), (right, _)| left < right)
            && (self.through().is_none() || first.is_none_or(|first| self.through() < Some(first)))
            && through.is_none_or(|through| last <= Some(through) && self.through() <= Some(through));
        if !is_in_order {
            return Err(NotAState::OutOfOrder);
        }
        if keys.iter().any(|(key, siblings)| key.is_empty() || siblings.is_empty()) {
            return Err(NotAState::NoSuchKey);
        }
        Ok(())
    }

    /// Merges this node's keys of a part and the peer's, both in order; tells `found` all that have siblings then.
    pub fn merge<E>(
        &mut self,
        own: impl Iterator<Item = Result<(Key, Siblings), E>>,
        theirs: Vec<(Key, Siblings)>,
        through: Option<&str>,
        mut found: impl FnMut(Key, Siblings) -> Result<(), E>,
    ) -> Result<(), E> {
        let none = Siblings::default();
        let (mut own, mut theirs) = (own.peekable(), theirs.into_iter().peekable());
        while let Some(side) = next_side(own.peek(), theirs.peek()) {
            let mine = if side.is_le() { own.next().transpose()? } else { None };
            let other = if side.is_ge() { theirs.next() } else { None };
            let (mine, other) = (mine.as_ref(), other.as_ref());
            let merged =
                self.merging.merge(mine.map_or(&none, |(_, own)| own), other.map_or(&none, |(_, theirs)| theirs));
            let Some((key, _)) = mine.or(other) else { break };
            let heard = other.into_iter().flat_map(|(_, siblings)| siblings.iter().map(|sibling| sibling.hlc)).max();
            self.heard = self.heard.max(heard.unwrap_or(Hlc(0)));
            self.totals.add(&merged);
            if !merged.is_empty() {
                found(key.clone(), merged)?;
            }
        }
        self.through = through.map_or(Through::All, |through| Through::Key(through.into()));
        Ok(())
    }

    /// That all keys are there.
    pub fn check_whole(&self) -> Result<(), NotAState> {
        if self.through == Through::All { Ok(()) } else { Err(NotAState::NotWhole) }
    }

    /// Makes sure that all that an op needs is there: some of the log may have been given up since this was begun.
    pub fn check_follows(&self, op: &Op) -> Result<(), NotAState> {
        let missing = op.needs().find(|dot| !self.ancestry.covers(&self.vector, *dot));
        missing.map_or(Ok(()), |missing| Err(NotAState::Gap(missing)))
    }

    /// Does with a key what an op of this node's log did. What one did that the merged state has is there already.
    pub fn apply(&mut self, position: u64, op: &Op, entry: &Entry, siblings: &mut Siblings) {
        if !self.merging.covers(op.dot) {
            self.totals.remove(siblings);
            siblings.apply(op.dot, op.hlc, position, entry);
            self.totals.add(siblings);
        }
        // Either way its place is that at which it came here: before all that came with the state.
        siblings.arrived(op.dot, position);
    }

    /// Takes note of an op of this node's log, once its entries are applied.
    pub fn advance(&mut self, op: &Op) {
        if !self.merging.covers(op.dot) {
            self.ancestry.insert(op.dot.origin, &op.parents);
            self.ancestry.advance(&mut self.vector, op.dot);
        }
    }

    /// It has this node's log up to there.
    pub fn reached(&mut self, position: u64) {
        self.position = position;
    }

    /// What is adopted with it by a node whose own state is `own` and whose log does not have what `floor` includes.
    pub fn adopted(&self, own: &Checkpoint, floor: &VersionVector) -> Result<Adopted, NotAState> {
        if !self.ancestry.includes(&self.vector, &own.vector) {
            return Err(NotAState::Lacks);
        }
        let missed = self.theirs.entries().filter(|dot| !self.ancestry.covers(&own.vector, *dot)).collect();
        let mut floor = floor.clone();
        self.ancestry.join(&mut floor, &missed);
        let checkpoint = Checkpoint {
            vector: self.vector.clone(),
            position: self.merging.position(),
            hlc: own.hlc.max(self.heard),
            totals: self.totals,
        };
        Ok(Adopted { checkpoint, ancestry: self.ancestry.clone(), floor })
    }
}

/// Whether the next key is this node's, the peer's, or both nodes'.
fn next_side<E>(own: Option<&Result<(Key, Siblings), E>>, theirs: Option<&(Key, Siblings)>) -> Option<Ordering> {
    match (own, theirs) {
        (None, None) => None,
        (Some(_), None) | (Some(Err(_)), _) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(Ok((own, _))), Some((theirs, _))) => Some(own.cmp(theirs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Incarnation, NodeId, Origin};
    use crate::replica::Sibling;

    #[test]
    fn what_the_peer_has_too_and_came_meanwhile_keeps_its_place_here() {
        let dot = Origin::new(NodeId(1), Incarnation(7)).dot(1);
        let (key, hlc): (Key, Hlc) = ("k".into(), Hlc(5));
        let theirs = VersionVector::from_iter([dot]);
        let peer = PeerState { vector: theirs.clone(), ancestry: Ancestry::new() };
        let mut filling = Filling::new(&VersionVector::new(), 3, Ancestry::new(), peer);
        let held = Siblings::new(vec![Sibling { dot, hlc, arrival: 9, value: "v".into() }]);
        let none = std::iter::empty::<Result<(Key, Siblings), NotAState>>();
        let mut found = Vec::new();
        let keep = |key, siblings| {
            found.push((key, siblings));
            Ok(())
        };
        filling.merge(none, vec![(key.clone(), held)], None, keep).expect("what is merged is whole");
        let (_, mut siblings) = found.pop().expect("it was merged");
        let entry = Entry { key, value: Some("v".into()), replaces: Vec::new() };
        let (parents, deps, entries) = (Vec::new(), Vec::new(), vec![entry.clone()]);
        let op = Op { dot, parents, deps, hlc, entries, trace: None, idempotency_key: None };
        filling.apply(4, &op, &entry, &mut siblings);
        filling.advance(&op);
        let arrivals: Vec<u64> = siblings.iter().map(|sibling| sibling.arrival).collect();
        assert_eq!(arrivals, [4]);
        let adopted =
            filling.adopted(&Checkpoint { vector: theirs.clone(), ..Checkpoint::default() }, &VersionVector::new());
        let adopted = adopted.expect("the log has lost nothing");
        assert_eq!(adopted.checkpoint.totals, Totals { keys: 1, conflicts: 0, siblings: 1 });
        assert_eq!((adopted.checkpoint.vector, adopted.floor), (theirs, VersionVector::new()));
    }
}
