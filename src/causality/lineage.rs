//! The incarnations of one node, kept so that what one of them implies is found without walking through all of them.
//!
//! They lie in *chains*: each incarnation goes on with the chain that one of its parents ended, so a node that was only
//! ever restarted has one chain. Having an incarnation implies all before it in its chain, and, over *crossings*, the
//! beginnings of other chains. What is looked through is therefore chains, not incarnations.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::{Arc, OnceLock};

use super::sorted::Sorted;
use super::{Dot, Incarnation};

/// What is known of one node's incarnations.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    notes: Sorted<Incarnation, Named>,
    /// Follows from the notes. Made when it is first asked for after one came that should have come earlier: whoever
    /// reads many in the order of their names pays once.
    index: OnceLock<Index>,
}

/// The parents of one incarnation. Nearly always one, which then needs no room of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    One(Dot),
    More(Arc<[Dot]>),
}

impl Named {
    fn dots(&self) -> &[Dot] {
        match self {
            Named::One(dot) => slice::from_ref(dot),
            Named::More(dots) => dots,
        }
    }
}

impl From<&[Dot]> for Named {
    fn from(dots: &[Dot]) -> Self {
        if let [dot] = dots { Named::One(*dot) } else { Named::More(dots.into()) }
    }
}

impl Lineage {
    /// Notes the parents of an incarnation; there are some.
    pub(super) fn insert(&mut self, own: Incarnation, parents: &[Dot]) {
        let noted = self.parents(own);
        if noted == parents {
            return;
        }
        let has_others = !noted.is_empty();
        if self.notes.len() == 0 {
            self.index = OnceLock::from(Index::default());
        }
        // Known already: others named it, or it has other parents now. In causal order that does not happen.
        if has_others || self.index.get().is_some_and(|index| index.spot(own).is_some()) {
            self.index.take();
        }
        self.notes.insert(own, parents.into());
        if let Some(index) = self.index.get_mut() {
            index.add(own, parents);
        }
    }

    pub(super) fn parents(&self, own: Incarnation) -> &[Dot] {
        self.notes.get(own).map_or(&[], Named::dots)
    }

    /// In order of incarnation.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Incarnation, &[Dot])> {
        self.notes.iter().map(|(own, parents)| (own, parents.dots()))
    }

    /// How many incarnations are known, with those that are only named.
    pub(super) fn len(&self) -> usize {
        self.index().places.len()
    }

    /// Whether it is noted or named.
    pub(super) fn knows(&self, own: Incarnation) -> bool {
        self.index().spot(own).is_some()
    }

    /// The highest counter of `of` that having some ops of all in `from` implies.
    pub(super) fn implied_up_to(&self, from: impl Iterator<Item = Incarnation>, of: Incarnation) -> u64 {
        self.index().implied_up_to(from, of)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(self))
    }
}

impl PartialEq for Lineage {
    fn eq(&self, other: &Self) -> bool {
        self.notes.len() == other.notes.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Lineage {}

/// A place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    chain: u32,
    place: u32,
}

/// Where an incarnation is, and up to which op the next of its chain names it.
#[derive(Clone, Copy, Debug)]
struct Placed {
    spot: Spot,
    named: u64,
}

#[derive(Clone, Debug, Default)]
struct Index {
    places: Sorted<Incarnation, Placed>,
    /// The last incarnation of each chain.
    ends: Sorted<u32, Incarnation>,
    /// From a place of the first chain on, all up to a place of the second is implied: the chains and the one place, and
    /// the other. Both places rise.
    crossings: Sorted<(u32, u32, u32), u32>,
    /// Who names an incarnation besides the next of its chain, and up to which op.
    forks: Sorted<(Incarnation, Spot), u64>,
}

impl Index {
    fn of(lineage: &Lineage) -> Self {
        let mut index = Self::default();
        let mut entered = BTreeSet::new();
        for (own, _) in lineage.iter() {
            // Parents first: whoever comes back to one that was entered has added its parents.
            let mut open = vec![own];
            while let Some(next) = open.last().copied() {
                let parents = lineage.parents(next);
                if entered.insert(next) {
                    open.extend(parents.iter().map(|parent| parent.origin.incarnation));
                } else {
                    open.pop();
                    if index.spot(next).is_none() {
                        index.add(next, parents);
                    }
                }
            }
        }
        index
    }

    fn spot(&self, own: Incarnation) -> Option<Spot> {
        self.places.get(own).map(|placed| placed.spot)
    }

    /// Adds one that has no spot yet.
    fn add(&mut self, own: Incarnation, parents: &[Dot]) {
        let parents: Vec<(Dot, Spot)> = parents.iter().map(|parent| (*parent, self.found(*parent))).collect();
        let ended =
            parents.iter().position(|(parent, spot)| self.ends.get(spot.chain) == Some(&parent.origin.incarnation));
        let spot = match ended.map(|parent| parents[parent]) {
            Some((parent, spot)) => {
                self.places.insert(parent.origin.incarnation, Placed { spot, named: parent.counter });
                Spot { place: spot.place + 1, ..spot }
            }
            None => self.next_chain(),
        };
        self.put(own, spot);
        for (number, (parent, to)) in parents.into_iter().enumerate() {
            if Some(number) != ended {
                self.forks.insert((parent.origin.incarnation, spot), parent.counter);
                self.cross(spot, to);
            }
        }
    }

    /// Where a parent is: if it is not known, at the beginning of a chain.
    fn found(&mut self, parent: Dot) -> Spot {
        let own = parent.origin.incarnation;
        self.spot(own).unwrap_or_else(|| {
            let spot = self.next_chain();
            self.put(own, spot);
            spot
        })
    }

    fn next_chain(&self) -> Spot {
        Spot { chain: self.ends.len() as u32, place: 0 }
    }

    /// Puts it at the end of its chain.
    fn put(&mut self, own: Incarnation, spot: Spot) {
        self.places.insert(own, Placed { spot, named: 0 });
        self.ends.insert(spot.chain, own);
    }

    /// From the last place of a chain, which is `from`, all up to a place of another is implied.
    fn cross(&mut self, from: Spot, to: Spot) {
        if self.crossed(Spot { place: u32::MAX, ..from }, to.chain).is_none_or(|before| before < to.place) {
            self.crossings.insert((from.chain, to.chain, from.place), to.place);
        }
    }

    /// Up to which place of the chain `to` the crossings that lie no further than `from` lead.
    fn crossed(&self, from: Spot, to: u32) -> Option<u32> {
        let last = self.crossings.last_up_to((from.chain, to, from.place));
        last.filter(|((chain, other, _), _)| (*chain, *other) == (from.chain, to)).map(|(_, place)| *place)
    }

    fn implied_up_to(&self, from: impl Iterator<Item = Incarnation>, of: Incarnation) -> u64 {
        let Some(Placed { spot, named }) = self.places.get(of).copied() else { return 0 };
        let reached = self.reached(from.filter_map(|own| self.spot(own)).collect());
        let is_reached = |spot: &Spot| reached.get(&spot.chain).is_some_and(|last| *last >= spot.place);
        let next = Spot { place: spot.place + 1, ..spot };
        let by_next = if is_reached(&next) { named } else { 0 };
        let forks = self.forks.from((of, Spot { chain: 0, place: 0 })).take_while(|((own, _), _)| *own == of);
        forks.filter(|((_, spot), _)| is_reached(spot)).map(|(_, counter)| *counter).fold(by_next, u64::max)
    }

    /// For each chain, the last place that those in `open` imply.
    fn reached(&self, mut open: Vec<Spot>) -> BTreeMap<u32, u32> {
        let mut reached: BTreeMap<u32, u32> = BTreeMap::new();
        while let Some(from) = open.pop() {
            if reached.get(&from.chain).is_some_and(|last| *last >= from.place) {
                continue;
            }
            reached.insert(from.chain, from.place);
            let mut least = 0;
            while let Some(((_, to, _), _)) =
                self.crossings.from((from.chain, least, 0)).next().filter(|((chain, ..), _)| *chain == from.chain)
            {
                open.extend(self.crossed(from, to).map(|place| Spot { chain: to, place }));
                least = to + 1;
            }
        }
        reached
    }
}
