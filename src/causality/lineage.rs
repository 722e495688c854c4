//! The incarnations of one node, kept so that what one of them implies is found without walking through all of them.
//!
//! They lie in *chains*: each incarnation goes on with the chain that one of its parents ended, so a node that was only
//! ever restarted has one chain. Having an incarnation implies all before it in its chain, and, over *crossings*, the
//! beginnings of other chains. What is looked through is therefore chains, not incarnations.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::{Arc, OnceLock};

use super::{Dot, Incarnation};

/// What is known of one node's incarnations.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    /// In order of incarnation.
    notes: Vec<(Incarnation, Named)>,
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
        match self.note(own) {
            Ok(place) if self.notes[place].1.dots() == parents => {}
            Ok(place) => {
                self.notes[place].1 = parents.into();
                self.index.take();
            }
            Err(place) => {
                if self.notes.is_empty() {
                    self.index = OnceLock::from(Index::default());
                }
                self.notes.insert(place, (own, parents.into()));
                // Known already: others named it. In causal order that does not happen.
                if self.index.get().is_some_and(|index| index.spot(own).is_some()) {
                    self.index.take();
                }
                if let Some(index) = self.index.get_mut() {
                    index.add(own, parents);
                }
            }
        }
    }

    pub(super) fn parents(&self, own: Incarnation) -> &[Dot] {
        self.note(own).map_or(&[], |place| self.notes[place].1.dots())
    }

    /// In order of incarnation.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Incarnation, &[Dot])> {
        self.notes.iter().map(|(own, parents)| (*own, parents.dots()))
    }

    /// How many incarnations are known, with those that are only named.
    pub(super) fn len(&self) -> usize {
        self.index().spots.len()
    }

    /// Whether it is noted or named.
    pub(super) fn knows(&self, own: Incarnation) -> bool {
        self.index().spot(own).is_some()
    }

    /// The highest counter of `of` that having some ops of all in `from` implies.
    pub(super) fn implied_up_to(&self, from: impl Iterator<Item = Incarnation>, of: Incarnation) -> u64 {
        self.index().implied_up_to(from, of)
    }

    fn note(&self, own: Incarnation) -> Result<usize, usize> {
        self.notes.binary_search_by_key(&own, |(incarnation, _)| *incarnation)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(self))
    }
}

impl PartialEq for Lineage {
    fn eq(&self, other: &Self) -> bool {
        self.notes == other.notes
    }
}

impl Eq for Lineage {}

/// A place in a chain.
#[derive(Clone, Copy, Debug)]
struct Spot {
    chain: u32,
    place: u32,
}

#[derive(Clone, Debug, Default)]
struct Index {
    /// In order of incarnation. Without a spot only while the index is being made.
    spots: Vec<(Incarnation, Option<Spot>)>,
    chains: Vec<Chain>,
    /// Who names an incarnation besides the next of its chain, and up to which op.
    forks: BTreeMap<Incarnation, Vec<(Spot, u64)>>,
}

#[derive(Clone, Debug, Default)]
struct Chain {
    /// For each but the last: up to which op the next one names it.
    named: Vec<u64>,
    /// To other chains: from the place on that is given first, all up to the other is implied. Both rise.
    crossings: BTreeMap<u32, Vec<(u32, u32)>>,
}

impl Index {
    fn of(lineage: &Lineage) -> Self {
        let named = lineage.iter().flat_map(|(_, parents)| parents).map(|parent| parent.origin.incarnation);
        let mut all: Vec<Incarnation> = lineage.iter().map(|(own, _)| own).chain(named).collect();
        all.sort_unstable();
        all.dedup();
        let mut index = Self { spots: all.into_iter().map(|own| (own, None)).collect(), ..Self::default() };
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
        self.place(own).ok().and_then(|place| self.spots[place].1)
    }

    fn place(&self, own: Incarnation) -> Result<usize, usize> {
        self.spots.binary_search_by_key(&own, |(incarnation, _)| *incarnation)
    }

    /// Adds one that has no spot yet.
    fn add(&mut self, own: Incarnation, parents: &[Dot]) {
        let parents: Vec<(Dot, Spot)> = parents.iter().map(|parent| (*parent, self.found(*parent))).collect();
        let ended =
            parents.iter().position(|(_, spot)| self.chains[spot.chain as usize].named.len() == spot.place as usize);
        let spot = match ended.map(|parent| parents[parent]) {
            Some((parent, Spot { chain, place })) => {
                self.chains[chain as usize].named.push(parent.counter);
                Spot { chain, place: place + 1 }
            }
            None => self.begin(),
        };
        self.put(own, spot);
        for (number, (parent, to)) in parents.into_iter().enumerate() {
            if Some(number) != ended {
                self.forks.entry(parent.origin.incarnation).or_default().push((spot, parent.counter));
                self.chains[spot.chain as usize].cross(spot.place, to);
            }
        }
    }

    /// Where a parent is: if it is not known, at the beginning of a chain.
    fn found(&mut self, parent: Dot) -> Spot {
        let own = parent.origin.incarnation;
        self.spot(own).unwrap_or_else(|| {
            let spot = self.begin();
            self.put(own, spot);
            spot
        })
    }

    fn begin(&mut self) -> Spot {
        self.chains.push(Chain::default());
        Spot { chain: self.chains.len() as u32 - 1, place: 0 }
    }

    fn put(&mut self, own: Incarnation, spot: Spot) {
        match self.place(own) {
            Ok(place) => self.spots[place].1 = Some(spot),
            Err(place) => self.spots.insert(place, (own, Some(spot))),
        }
    }

    fn implied_up_to(&self, from: impl Iterator<Item = Incarnation>, of: Incarnation) -> u64 {
        let Some(spot) = self.spot(of) else { return 0 };
        let reached = self.reached(from.filter_map(|own| self.spot(own)).collect());
        let is_reached = |spot: &Spot| reached.get(&spot.chain).is_some_and(|last| *last >= spot.place);
        let next = Spot { place: spot.place + 1, ..spot };
        let by_next = if is_reached(&next) { self.chains[spot.chain as usize].named[spot.place as usize] } else { 0 };
        let forks = self.forks.get(&of).into_iter().flatten();
        forks.filter(|(spot, _)| is_reached(spot)).map(|(_, counter)| *counter).fold(by_next, u64::max)
    }

    /// For each chain, the last place that those in `open` imply.
    fn reached(&self, mut open: Vec<Spot>) -> BTreeMap<u32, u32> {
        let mut reached: BTreeMap<u32, u32> = BTreeMap::new();
        while let Some(Spot { chain, place }) = open.pop() {
            if reached.get(&chain).is_some_and(|last| *last >= place) {
                continue;
            }
            reached.insert(chain, place);
            for (chain, crossings) in &self.chains[chain as usize].crossings {
                let behind = crossings.partition_point(|(from, _)| *from <= place);
                open.extend(crossings[..behind].last().map(|(_, to)| Spot { chain: *chain, place: *to }));
            }
        }
        reached
    }
}

impl Chain {
    /// From its last place, which is `from`, all up to a place of another chain is implied.
    fn cross(&mut self, from: u32, to: Spot) {
        let crossings = self.crossings.entry(to.chain).or_default();
        if crossings.last().is_none_or(|(_, before)| *before < to.place) {
            crossings.push((from, to.place));
        }
    }
}
