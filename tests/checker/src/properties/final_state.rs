//! The final state is computed, not estimated: after everything was healed each key holds exactly its writes less those
//! replaced, and nothing is lost that a node acknowledged and had no reason to lose.
//!
//! As Riak's `kv679_eqc` does it with Erlang QuickCheck: equality finds losses and resurrections alike.

use super::exact_reads::{self, Difference};
use crate::model::{Model, StateRecord};
use crate::origins::Entry;
use crate::replay::{Replay, Station};
use crate::report::{Property, Verdict};

/// Checks that the keys that are not listed have no siblings.
pub(crate) fn check_absent(replay: &Replay<'_, '_>, station: &Station, states: &[StateRecord], verdict: &mut Verdict) {
    let mut is_listed = vec![false; replay.model.keys.len()];
    states.iter().for_each(|state| is_listed[state.key as usize] = true);
    for key in replay.keys_with_siblings() {
        if std::mem::replace(&mut is_listed[key as usize], true) {
            continue;
        }
        let missing = exact_reads::must_have(replay, key).map(Difference::Missing);
        if let Some(missing) = missing {
            exact_reads::tell(replay, station, states, key, missing, verdict);
        }
    }
}

/// Checks that every node has in the end what any acknowledged: wrote, or answered from. A node may lose what it
/// acknowledged when it starts with another volume, one that is empty or an older copy; then it need only be there if a
/// node that kept its volume had it too.
pub(crate) fn check_acknowledged(model: &Model<'_>, verdict: &mut Verdict) {
    let rests = |node: u32| model.finals.iter().any(|held| held.node == node);
    let resting: Vec<bool> = (0..model.nodes.len() as u32).map(rests).collect();
    let mut kept = vec![0; model.origins.len()];
    for answer in model.answers.iter().filter(|answer| resting[answer.node as usize]) {
        if model.nodes.keeps(answer.node, answer.start, answer.end) {
            for entry in model.vector(answer.context) {
                let counter = &mut kept[entry.origin as usize];
                *counter = entry.counter.max(*counter);
            }
        }
    }
    let entries = (0..).zip(&kept).map(|(origin, counter)| Entry { origin, counter: *counter });
    let kept: Vec<Entry> = entries.filter(|entry| entry.counter > 0).collect();
    let mut everything = vec![0; model.origins.len()];
    model.origins.close(&kept, &mut everything);
    let mut closure = vec![0; model.origins.len()];
    for held in &model.finals {
        verdict.count(Property::FinalState, model.writes.len());
        model.origins.close(model.vector(held.vector), &mut closure);
        for (origin, (has, kept)) in (0..).zip(closure.iter().zip(&everything)) {
            if has < kept {
                tell_lost(model, held.event, *has, Entry { origin, counter: *kept }, verdict);
            }
        }
    }
}

fn tell_lost(model: &Model<'_>, event: u32, after: u64, last: Entry, verdict: &mut Verdict) {
    let lost = model.known_between(after, last);
    for (_, write) in lost {
        verdict.fail(Property::FinalState, &[model.event_of(*write), event as usize], || {
            format!("{} was acknowledged, and is lost", model.write_text(*write))
        });
    }
    if lost.is_empty() {
        verdict.fail(Property::FinalState, &[event as usize], || {
            format!("{} was in an answered state, and is lost", model.origins.dot_text(last))
        });
    }
}
