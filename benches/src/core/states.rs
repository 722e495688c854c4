//! Siblings and vectors.

use std::hint::black_box;

use causeway::causality::{Ancestry, Dot, Hlc, Incarnation, NodeId, Origin, VersionVector};
use causeway::replica::{Entry, Merging, Sibling, Siblings};

/// The origin of a node.
pub(super) fn origin(node: u32) -> Origin {
    Origin::new(NodeId(node), Incarnation(0x9e37_79b9_7f4a_7c15 ^ u64::from(node)))
}

fn dot(number: usize) -> Dot {
    origin((number % 3) as u32).dot(number as u64 + 1)
}

/// So many siblings, with values of 32 bytes.
pub(super) fn siblings(first: usize, count: usize) -> Siblings {
    let sibling = |number| Sibling {
        dot: dot(number),
        hlc: Hlc(number as u64),
        arrival: number as u64,
        value: "v".repeat(32).into(),
    };
    Siblings::new((first..first + count).map(sibling).collect())
}

/// A vector with so many nodes.
pub(super) fn vector(nodes: u32) -> VersionVector {
    (0..nodes).map(|node| origin(node).dot(1_000_000)).collect()
}

/// An op that replaces all siblings of a key. (What is measured has a copy of them, as staging has.)
pub(super) fn apply<const COUNT: usize>(_: usize) -> Box<dyn FnMut()> {
    let held = siblings(0, COUNT);
    let replaces = held.iter().map(|sibling| sibling.dot).collect();
    let entry = Entry { key: "key".into(), value: Some("v".repeat(32).into()), replaces };
    Box::new(move || {
        let mut siblings = black_box(&held).clone();
        siblings.apply(dot(COUNT), Hlc(1), 1, black_box(&entry));
        black_box(siblings);
    })
}

/// Two states of a key, half of whose siblings both have.
pub(super) fn merge<const COUNT: usize>(_: usize) -> Box<dyn FnMut()> {
    let (ours, theirs) = (siblings(0, COUNT), siblings(COUNT / 2, COUNT));
    let vector_of = |siblings: &Siblings| {
        let mut vector = VersionVector::new();
        siblings.iter().for_each(|sibling| vector.raise(sibling.dot));
        vector
    };
    let (our_vector, their_vector) = (vector_of(&ours), vector_of(&theirs));
    let merging = Merging::new(&our_vector, 1, &their_vector, &Ancestry::new());
    Box::new(move || {
        black_box(merging.merge(black_box(&ours), black_box(&theirs)));
    })
}
