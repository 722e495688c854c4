//! Convergence: equal vectors mean equal siblings, on whatever nodes, at any time; and in the end all nodes are equal.
//!
//! "Strong eventual consistency" of Shapiro, Preguiça, Baquero and Zawirski (2011); Burckhardt (2014) for replicated
//! data types whose value follows from what is visible.

use crate::hash::{QuickMap, mix};
use crate::history::{Event, Final, Resolve, Shown};
use crate::model::{Answer, Kind, Model, PHANTOM, Span, StateRecord};
use crate::report::{Property, Verdict};

/// Checks all reads against each other, and what the nodes held in the end.
pub(crate) fn check(model: &Model<'_>, verdict: &mut Verdict) {
    check_reads(model, verdict);
    check_clock_readings(model, verdict);
    check_finals(model, verdict);
}

/// Where a key was read first at some vector.
struct First {
    event: u32,
    vector: Span,
    state: u32,
}

fn check_reads(model: &Model<'_>, verdict: &mut Verdict) {
    let mut firsts: QuickMap<u64, First> = QuickMap::with_capacity_and_hasher(model.states.len(), Default::default());
    for Answer { event, context, kind, .. } in &model.answers {
        let &Kind::Read { resolve, states } = kind else { continue };
        // Which sibling arrived last differs from node to node.
        let way = match resolve {
            Resolve::Arrival => continue,
            Resolve::Newest => 0,
            Resolve::All => 1,
        };
        let entries = model.vector(*context).iter();
        let vector = entries.fold(way, |hash, entry| mix(mix(hash, entry.origin.into()), entry.counter));
        for (number, state) in states.range().zip(model.states(states)) {
            verdict.count(Property::Convergence, 1);
            let here = First { event: *event, vector: *context, state: number as u32 };
            let first = firsts.entry(mix(vector, state.key.into())).or_insert(here);
            let other = &model.states[first.state as usize];
            // Numbers that mix to the same are rare, but no violation.
            let is_same = other.key == state.key && model.vector(first.vector) == model.vector(*context);
            if is_same && !are_equal(model, other, state) {
                verdict.fail(Property::Convergence, &[first.event as usize, *event as usize], || {
                    let key = model.keys[state.key as usize];
                    format!("{key:?} differs between two states at {}", model.vector_text(*context))
                });
            }
        }
    }
}

fn are_equal(model: &Model<'_>, one: &StateRecord, other: &StateRecord) -> bool {
    let writes = |state: &StateRecord| {
        let shown = model.shown(state.shown).iter();
        shown.fold((0_u64, 0_u64), |(sum, mixed), shown| {
            (sum + u64::from(shown.write), mixed.wrapping_add(mix(0, shown.write.into())))
        })
    };
    one.siblings == other.siblings && one.shown.len() == other.shown.len() && writes(one) == writes(other)
}

/// A write has the same clock reading wherever it is listed.
fn check_clock_readings(model: &Model<'_>, verdict: &mut Verdict) {
    let mut firsts: Vec<Option<(u64, u32)>> = vec![None; model.writes.len()];
    let reads = model.answers.iter().filter_map(|answer| match answer.kind {
        Kind::Read { states, .. } => Some((answer.event, states)),
        Kind::Held { .. } | Kind::Seen { .. } => None,
    });
    for (event, states) in reads {
        for shown in model.states(states).iter().flat_map(|state| model.shown(state.shown)) {
            let Some(detail) = shown.detail.filter(|_| shown.write != PHANTOM) else { continue };
            let (reading, first) = *firsts[shown.write as usize].get_or_insert((detail.written_at, event));
            if reading != detail.written_at {
                verdict.fail(Property::Convergence, &[first as usize, event as usize], || {
                    let write = model.write_text(shown.write);
                    format!("{write} has the clock readings {reading} and {}", detail.written_at)
                });
            }
        }
    }
}

fn check_finals(model: &Model<'_>, verdict: &mut Verdict) {
    let mut finals = model.finals.iter().filter_map(|held| match &model.events[held.event as usize] {
        Event::Final(content) => Some((held.event as usize, content)),
        _ => None,
    });
    let Some((first_event, first)) = finals.next() else { return };
    for (event, other) in finals {
        verdict.count(Property::Convergence, 1 + first.keys.len());
        let difference = if first.vector != other.vector {
            Some("hold different vectors".to_owned())
        } else {
            different_key(first, other).map(|key| format!("hold different siblings of {key:?}"))
        };
        if let Some(difference) = difference {
            verdict.fail(Property::Convergence, &[first_event, event], || {
                format!("in the end nodes {} and {} {difference}", first.node, other.node)
            });
        }
    }
}

fn different_key<'h>(first: &'h Final, other: &'h Final) -> Option<&'h str> {
    let mut others = other.keys.iter();
    for (key, siblings) in &first.keys {
        match others.next() {
            Some((other, others)) if key == other && are_same_siblings(siblings, others) => {}
            Some((other, _)) => return Some(key.min(other)),
            None => return Some(key),
        }
    }
    others.next().map(|(key, _)| &**key)
}

/// Equal but for the order of arrival, which is each node's own.
fn are_same_siblings(one: &[Shown], other: &[Shown]) -> bool {
    let same = |a: &Shown, b: &Shown| {
        let parts = |shown: &Shown| (shown.value, shown.detail.map(|detail| (detail.dot, detail.written_at)));
        parts(a) == parts(b)
    };
    one.len() == other.len() && one.iter().all(|a| other.iter().any(|b| same(a, b)))
}
