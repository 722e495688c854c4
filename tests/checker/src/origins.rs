//! Origins by small numbers, and what version vectors include: by their entries, and through ancestry.
//!
//! A node's incarnation names as parents what its node had at its first write; having that write implies having those.
//! What an incarnation implies concerns its own node only, so it is a short row of numbers, worked out once.

use crate::hash::QuickMap;
use crate::history::{Dot, Origin};

/// An origin's place in the order of all origins of the history: those of one node stand together.
pub(crate) type OriginIndex = u32;

/// All writes of one origin up to a counter; also the name of the last one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) origin: OriginIndex,
    pub(crate) counter: u64,
}

/// Numbers origins as they are met; [`Interner::finish`] puts them in order.
#[derive(Default)]
pub(crate) struct Interner {
    numbers: QuickMap<Origin, u32>,
    origins: Vec<Origin>,
    /// What was met last at each place of a vector: most vectors have the origins of the one before.
    hints: Vec<Option<(Origin, u32)>>,
}

impl Interner {
    /// The number of the origin of a dot that stands at `place` of a vector.
    pub(crate) fn entry(&mut self, place: usize, dot: Dot) -> Entry {
        if let Some(Some((origin, number))) = self.hints.get(place)
            && *origin == dot.origin
        {
            return Entry { origin: *number, counter: dot.counter };
        }
        let number = self.number(dot.origin);
        if self.hints.len() <= place {
            self.hints.resize(place + 1, None);
        }
        self.hints[place] = Some((dot.origin, number));
        Entry { origin: number, counter: dot.counter }
    }

    pub(crate) fn number(&mut self, origin: Origin) -> u32 {
        *self.numbers.entry(origin).or_insert_with(|| {
            self.origins.push(origin);
            self.origins.len() as u32 - 1
        })
    }

    /// The origins in order, and the place in it of each number given so far.
    pub(crate) fn finish(mut self) -> (Origins, Vec<OriginIndex>) {
        let mut places = vec![0; self.origins.len()];
        self.origins.sort_unstable();
        for (place, origin) in self.origins.iter().enumerate() {
            let number = self.numbers.get_mut(origin).expect("every origin has a number");
            places[*number as usize] = place as u32;
            *number = place as u32;
        }
        let mut siblings = Vec::with_capacity(self.origins.len());
        for node in self.origins.chunk_by(|a, b| a.node == b.node) {
            let first = siblings.len() as u32;
            siblings.resize(siblings.len() + node.len(), (first, first + node.len() as u32));
        }
        let mut offsets = Vec::with_capacity(self.origins.len());
        let mut length = 0;
        for (first, end) in &siblings {
            offsets.push(length);
            length += (end - first) as usize;
        }
        let unsure = vec![false; self.origins.len()];
        let (places_of, names) = (self.numbers, self.origins);
        (Origins { names, places_of, siblings, offsets, implied: vec![0; length], unsure }, places)
    }
}

/// All origins of a history and what having a write of each implies.
pub(crate) struct Origins {
    names: Vec<Origin>,
    places_of: QuickMap<Origin, OriginIndex>,
    /// For each origin, where those of its node begin and end.
    siblings: Vec<(OriginIndex, OriginIndex)>,
    /// For each origin, where its row of `implied` begins: one number for each origin of its node.
    offsets: Vec<usize>,
    implied: Vec<u64>,
    /// Whether it may have parents that nobody can tell any more.
    unsure: Vec<bool>,
}

impl Origins {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, origin: OriginIndex) -> Origin {
        self.names[origin as usize]
    }

    pub(crate) fn place(&self, origin: Origin) -> Option<OriginIndex> {
        self.places_of.get(&origin).copied()
    }

    pub(crate) fn dot_text(&self, dot: Entry) -> String {
        let Origin { node, incarnation } = self.name(dot.origin);
        format!("{node}.{incarnation:x}:{}", dot.counter)
    }

    /// Takes the parents of each origin (at its place; empty for none), and works out what all imply.
    pub(crate) fn set_parents(&mut self, parents: &[Vec<Entry>]) {
        let mut done = vec![false; self.len()];
        for origin in 0..self.len() as u32 {
            self.fill(origin, parents, &mut done);
        }
    }

    fn fill(&mut self, origin: OriginIndex, parents: &[Vec<Entry>], done: &mut [bool]) {
        if std::mem::replace(&mut done[origin as usize], true) {
            return;
        }
        let (first, end) = self.siblings[origin as usize];
        let row = self.offsets[origin as usize];
        for parent in &parents[origin as usize] {
            if !(first..end).contains(&parent.origin) {
                continue;
            }
            self.fill(parent.origin, parents, done);
            let parents_row = self.offsets[parent.origin as usize];
            for place in 0..(end - first) as usize {
                self.implied[row + place] = self.implied[row + place].max(self.implied[parents_row + place]);
            }
            let own = &mut self.implied[row + (parent.origin - first) as usize];
            *own = parent.counter.max(*own);
        }
    }

    /// Notes for which origins it is not known whether they have parents. It does not matter where there is nothing that
    /// they could imply: no other origin of the node, and none that may be hidden before it.
    pub(crate) fn set_known(&mut self, known: &[bool], hides: &[bool]) {
        for (origin, (first, end)) in self.siblings.iter().enumerate() {
            self.unsure[origin] = !known[origin] && (end - first > 1 || hides[origin]);
        }
    }

    /// What having any write of an origin implies: the origins of its node, and up to which counter each.
    pub(crate) fn implied(&self, origin: OriginIndex) -> impl Iterator<Item = Entry> + '_ {
        let (first, end) = self.siblings[origin as usize];
        let row = &self.implied[self.offsets[origin as usize]..][..(end - first) as usize];
        let entries = row.iter().zip(first..).map(|(counter, origin)| Entry { origin, counter: *counter });
        entries.filter(|entry| entry.counter > 0)
    }

    fn implies(&self, origin: OriginIndex, dot: Entry) -> bool {
        let (first, end) = self.siblings[origin as usize];
        (first..end).contains(&dot.origin)
            && self.implied[self.offsets[origin as usize] + (dot.origin - first) as usize] >= dot.counter
    }

    /// Whether a vector includes a write.
    pub(crate) fn covers(&self, vector: &[Entry], dot: Entry) -> bool {
        vector.iter().any(|entry| entry.origin == dot.origin && entry.counter >= dot.counter)
            || vector.iter().any(|entry| entry.counter > 0 && self.implies(entry.origin, dot))
    }

    /// Whether a vector includes a write, or has an entry whose parents nobody can tell that may imply it.
    pub(crate) fn may_cover(&self, vector: &[Entry], dot: Entry) -> bool {
        let node = self.siblings[dot.origin as usize];
        self.covers(vector, dot)
            || vector
                .iter()
                .any(|entry| self.unsure[entry.origin as usize] && self.siblings[entry.origin as usize] == node)
    }

    /// Whether there is something in a vector of which nobody can tell what it implies.
    pub(crate) fn is_unsure(&self, vector: &[Entry]) -> bool {
        vector.iter().any(|entry| self.unsure[entry.origin as usize])
    }

    /// All that a vector includes, as the highest counter of each origin.
    pub(crate) fn close(&self, vector: &[Entry], closure: &mut [u64]) {
        closure.fill(0);
        for entry in vector.iter().filter(|entry| entry.counter > 0) {
            let (first, end) = self.siblings[entry.origin as usize];
            if end - first > 1 {
                let row = &self.implied[self.offsets[entry.origin as usize]..][..(end - first) as usize];
                for (counter, implied) in closure[first as usize..end as usize].iter_mut().zip(row) {
                    *counter = (*counter).max(*implied);
                }
            }
            let own = &mut closure[entry.origin as usize];
            *own = entry.counter.max(*own);
        }
    }
}
