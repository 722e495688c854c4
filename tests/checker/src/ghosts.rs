//! Writes with an unknown outcome whose names nobody learnt, and the names that nobody's write is known to have.
//!
//! Vectors say how many writes an origin has made. Where more were made than are known by name, some unknown write took
//! place. If only one can be it, it gets the name; the others stay *ghosts*: what they wrote may be there, and what
//! they would have replaced may be gone. Where no names are missing no unknown write took place.

use crate::history::Micros;
use crate::model::{Model, Write, WriteOutcome};
use crate::nodes::Nodes;
use crate::origins::{Entry, OriginIndex, Origins};
use crate::properties::no_phantoms;
use crate::report::Verdict;

/// The ghosts of a history.
#[derive(Default)]
pub(crate) struct Ghosts {
    /// By key, and for each ghost the first name of each origin that it may have.
    by_key: Vec<(u32, Ghost)>,
}

/// What may be there of one write on one key.
#[derive(Clone, Debug)]
pub(crate) struct Ghost {
    pub(crate) write: u32,
    pub(crate) has_value: bool,
    from: Vec<Entry>,
}

impl Ghosts {
    /// The ghosts of a key that a state with this closure may include.
    pub(crate) fn of(&self, key: u32, closure: &[u64]) -> impl Iterator<Item = &Ghost> + Clone {
        let start = self.by_key.partition_point(|(other, _)| *other < key);
        let of_key = self.by_key[start..].iter().take_while(move |(other, _)| *other == key);
        of_key
            .map(|(_, ghost)| ghost)
            .filter(move |ghost| ghost.from.iter().any(|dot| closure[dot.origin as usize] >= dot.counter))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

/// A name that no known write has, and when it was first seen to be taken.
#[derive(Clone, Copy, Debug)]
struct Gap {
    seen: Micros,
    dot: Entry,
    group: u32,
}

/// Finds missing names, names what can be named, and notes the ghosts.
pub(crate) fn find(model: &mut Model<'_>, verdict: &mut Verdict) {
    let mut ghosts: Vec<u32> = (0..model.writes.len() as u32)
        .filter(|write| model.write(*write).outcome == WriteOutcome::Unknown && model.write(*write).dot.is_none())
        .collect();
    let gaps = gaps(model, ghosts.len());
    no_phantoms::count_names(model.answers.len() + model.finals.len(), verdict);
    if gaps.is_empty() {
        return;
    }
    let mixed = are_names_mixed(&model.nodes, &model.origins, &model.writes);
    let group = |node: u32| if mixed { 0 } else { node };
    ghosts.sort_by_key(|write| model.write(*write).start);
    let mut gaps: Vec<Gap> = gaps.into_iter().map(|gap| Gap { group: group(gap.group), ..gap }).collect();
    gaps.sort_by_key(|gap| (gap.group, gap.seen, gap.dot));
    let mut found = Vec::new();
    for gaps in gaps.chunk_by(|a, b| a.group == b.group) {
        let of_group = |write: &u32| group(model.nodes.id(model.write(*write).node)) == gaps[0].group;
        let ghosts: Vec<u32> = ghosts.iter().copied().filter(of_group).collect();
        haunt(model, gaps, &ghosts, &mut found, verdict);
    }
    found.sort_by_key(|(key, ghost)| (*key, ghost.write));
    model.ghosts.by_key = found;
}

/// Whether some node gives its writes names of another: one that runs on the copy of another's volume. Otherwise each
/// write's name has its node's id. (A node that began on a copy may do so although no client ever got an answer of it.)
pub(crate) fn are_names_mixed(nodes: &Nodes, origins: &Origins, writes: &[Write]) -> bool {
    let is_other = |write: &Write| write.dot.is_some_and(|dot| origins.name(dot.origin).node != nodes.id(write.node));
    nodes.has_one_begun_on_a_copy() || writes.iter().any(is_other)
}

/// Shares out the missing names of one group of nodes among its unknown writes.
fn haunt(model: &mut Model<'_>, gaps: &[Gap], ghosts: &[u32], found: &mut Vec<(u32, Ghost)>, verdict: &mut Verdict) {
    // A name that was seen is of a write that had begun.
    let begun = |model: &Model<'_>, gap: &Gap| ghosts.partition_point(|write| model.write(*write).start <= gap.seen);
    if let Some((_, gap)) = gaps.iter().enumerate().find(|(place, gap)| begun(model, gap) <= *place) {
        no_phantoms::unknown_name(model, gap.dot, verdict);
    }
    let named = gaps.iter().enumerate().take_while(|(place, gap)| begun(model, gap) == place + 1).count();
    for (gap, write) in gaps.iter().zip(ghosts).take(named) {
        model.writes[*write as usize].dot = Some(gap.dot);
        let writes = &mut model.by_dot[gap.dot.origin as usize];
        let place = writes.partition_point(|(counter, _)| *counter < gap.dot.counter);
        writes.insert(place, (gap.dot.counter, *write));
    }
    let mut left = gaps[named..].to_vec();
    left.sort_by_key(|gap| gap.dot);
    for write in ghosts.iter().skip(named) {
        let start = model.write(*write).start;
        let of_origin = left.chunk_by(|a, b| a.dot.origin == b.dot.origin);
        let first = |gaps: &[Gap]| gaps.get(gaps.partition_point(|gap| gap.seen < start)).map(|gap| gap.dot);
        let from: Vec<Entry> = of_origin.filter_map(first).collect();
        if !from.is_empty() {
            let keys = model.keys_of(model.write(*write)).iter();
            let ghost = |has_value| Ghost { write: *write, has_value, from: from.clone() };
            found.extend(keys.map(|written| (written.key, ghost(written.has_value))));
        }
    }
}

/// The names that are taken by no known write: of each origin one more than there are unknown writes, at most.
fn gaps(model: &Model<'_>, ghosts: usize) -> Vec<Gap> {
    let mut top = vec![0; model.origins.len()];
    // Not what clients sent: that may be a token of another cluster, which is only ever not reached.
    let answered = model.answers.iter().map(|answer| answer.context).chain(model.finals.iter().map(|held| held.vector));
    for entry in answered.flat_map(|vector| model.vector(vector)) {
        top[entry.origin as usize] = entry.counter.max(top[entry.origin as usize]);
    }
    for origin in 0..model.origins.len() as u32 {
        if top[origin as usize] > 0 {
            for parent in model.origins.implied(origin) {
                top[parent.origin as usize] = parent.counter.max(top[parent.origin as usize]);
            }
        }
    }
    let mut gaps = Vec::new();
    for (origin, top) in (0..).zip(top) {
        let writes = &model.by_dot[origin as usize];
        if top > writes.len() as u64 || writes.last().is_some_and(|(counter, _)| *counter > writes.len() as u64) {
            gaps_of(model, origin, top, ghosts + 1, &mut gaps);
        }
    }
    gaps
}

fn gaps_of(model: &Model<'_>, origin: OriginIndex, top: u64, most: usize, gaps: &mut Vec<Gap>) {
    let mut missing = Vec::new();
    let mut expected = 1;
    let named = model.by_dot[origin as usize].iter().map(|(counter, _)| *counter);
    for counter in named.chain([top.saturating_add(1)]) {
        missing.extend((expected..counter).take(most.saturating_sub(missing.len())));
        expected = counter.saturating_add(1);
    }
    // When each was first seen: the first answer whose context has this entry or a higher one.
    let mut answered: Vec<(u64, Micros)> = Vec::new();
    for answer in &model.answers {
        let entry = model.vector(answer.context).iter().find(|entry| entry.origin == origin);
        answered.extend(entry.map(|entry| (entry.counter, answer.end)));
    }
    answered.sort_unstable();
    let mut first = Micros::MAX;
    for counter in missing.into_iter().rev() {
        while let Some((_, end)) = answered.pop_if(|(entry, _)| *entry >= counter) {
            first = first.min(end);
        }
        let group = model.origins.name(origin).node;
        gaps.push(Gap { seen: first, dot: Entry { origin, counter }, group });
    }
}
