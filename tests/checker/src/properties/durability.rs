//! Durability: through crashes and restarts with its volume, a node still has all that it acknowledged.
//!
//! As Jepsen's set tests ask it ("every acknowledged element is read"), but of each node alone, from its own answers.

use crate::model::{Answer, Model};
use crate::origins::Entry;
use crate::report::{Property, Verdict};

/// Checks that in one life of a volume each answer includes what was answered before it was asked for.
pub(crate) fn check(model: &Model<'_>, verdict: &mut Verdict) {
    let place = |number: &u32| {
        let answer = &model.answers[*number as usize];
        answer.life.map(|life| (answer.node, life))
    };
    let mut by_end: Vec<u32> = (0..model.answers.len() as u32).filter(|number| place(number).is_some()).collect();
    let key = |number: &u32| (place(number), model.answers[*number as usize].end);
    by_end.sort_by_key(key);
    let mut by_start = Vec::new();
    let mut scratch = Scratch { needed: vec![0; model.origins.len()], closure: vec![0; model.origins.len()] };
    for life in by_end.chunk_by(|a, b| place(a) == place(b)) {
        by_start.clear();
        by_start.extend(life.iter().filter(|number| model.answers[**number as usize].is_of_state()));
        by_start.sort_by_key(|number| model.answers[*number as usize].start);
        check_life(model, life, &by_start, &mut scratch, verdict);
    }
}

struct Scratch {
    /// What was answered so far, as entries: the highest of each origin.
    needed: Vec<u64>,
    closure: Vec<u64>,
}

fn check_life(model: &Model<'_>, by_end: &[u32], by_start: &[u32], scratch: &mut Scratch, verdict: &mut Verdict) {
    scratch.needed.fill(0);
    let mut ended = by_end.iter().map(|number| &model.answers[*number as usize]).peekable();
    for answer in by_start.iter().map(|number| &model.answers[*number as usize]) {
        while let Some(before) = ended.next_if(|before| before.end < answer.start) {
            // Also of a write that replaced what was seen: the node has what its client waited for, and the write.
            for entry in model.vector(before.context) {
                let needed = &mut scratch.needed[entry.origin as usize];
                *needed = entry.counter.max(*needed);
            }
        }
        verdict.count(Property::Durability, 1);
        let vector = model.vector(answer.context);
        model.origins.close(vector, &mut scratch.closure);
        if scratch.closure.iter().zip(&scratch.needed).all(|(has, needed)| has >= needed) {
            continue;
        }
        let needed = (0..).zip(&scratch.needed).map(|(origin, counter)| Entry { origin, counter: *counter });
        let lost = needed.filter(|entry| entry.counter > 0).find(|entry| !model.origins.may_cover(vector, *entry));
        if let Some(lost) = lost {
            tell(model, by_end, answer, lost, verdict);
        }
    }
}

fn tell(model: &Model<'_>, by_end: &[u32], answer: &Answer, lost: Entry, verdict: &mut Verdict) {
    let earlier = by_end.iter().map(|number| &model.answers[*number as usize]);
    let had = |earlier: &&Answer| model.origins.covers(model.vector(earlier.context), lost);
    let events: Vec<usize> = earlier.filter(had).take(1).chain([answer]).map(|answer| answer.event as usize).collect();
    verdict.fail(Property::Durability, &events, || {
        let (node, lost) = (model.nodes.id(answer.node), model.origins.dot_text(lost));
        format!("node {node} had {lost}, and later answered from {}", model.vector_text(answer.context))
    });
}
