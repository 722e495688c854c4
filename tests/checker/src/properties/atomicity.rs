//! Atomicity: who sees one entry of a write sees for each other key of it that write, or something that replaced it.
//!
//! "Atomic visibility" of Cerone, Bernardi and Gotsman (CONCUR 2015); fractured reads in Bailis et al., "Scalable Atomic
//! Visibility with RAMP Transactions" (2014).

use super::exact_reads::Difference;
use crate::model::{Model, StateRecord};
use crate::replay::{Replay, Station};
use crate::report::{Property, Verdict};

/// Counts the pairs of keys that were read from one state and written by one write.
pub(crate) fn count(model: &Model<'_>, states: &[StateRecord], station: &Station, verdict: &mut Verdict) {
    if states.len() < 2 {
        return;
    }
    for state in states {
        for shown in model.shown(state.shown) {
            let Some(write) = model.writes.get(shown.write as usize).filter(|write| write.keys.len() > 1) else {
                continue;
            };
            let keys = model.keys_of(write).iter().filter(|written| written.key != state.key);
            let is_read =
                |key: u32| station.property == Property::FinalState || states.iter().any(|state| state.key == key);
            verdict.count(Property::Atomicity, keys.filter(|written| is_read(written.key)).count());
        }
    }
}

/// The write of which one entry is seen and another not, if that is what a difference comes from.
pub(crate) fn torn(replay: &Replay<'_, '_>, states: &[StateRecord], key: u32, difference: Difference) -> Option<u32> {
    let model = replay.model;
    let is_shown_elsewhere = |write: u32| {
        let others = states.iter().filter(|state| state.key != key);
        others.flat_map(|state| model.shown(state.shown)).any(|shown| shown.write == write)
    };
    let here = states.iter().find(|state| state.key == key).map(|state| model.shown(state.shown)).unwrap_or_default();
    let is_missing = |write: &u32| !here.iter().any(|shown| shown.write == *write) && is_shown_elsewhere(*write);
    if let Difference::Missing(write) = difference {
        return Some(write).filter(is_missing);
    }
    let seen_only_elsewhere = replay.alive(key).iter().map(|alive| alive.write).find(is_missing);
    match difference {
        Difference::Extra(write) => {
            seen_only_elsewhere.or_else(|| Some(write).filter(|write| is_seen_only_here(replay, states, key, *write)))
        }
        _ => seen_only_elsewhere,
    }
}

/// Whether a write that the state does not include is shown for this key, but not for another that it wrote.
fn is_seen_only_here(replay: &Replay<'_, '_>, states: &[StateRecord], key: u32, number: u32) -> bool {
    let model = replay.model;
    let write = model.write(number);
    let is_included = write.dot.is_some_and(|dot| replay.closure[dot.origin as usize] >= dot.counter);
    let lacks = |state: &StateRecord| {
        let shown = model.shown(state.shown);
        shown.len() == state.siblings && !shown.iter().any(|shown| shown.write == number)
    };
    let others = model.keys_of(write).iter().filter(|written| written.key != key && written.has_value);
    !is_included
        && others.into_iter().any(|written| states.iter().any(|state| state.key == written.key && lacks(state)))
}

/// Tells a torn write.
pub(crate) fn tell(model: &Model<'_>, station: &Station, key: u32, write: u32, verdict: &mut Verdict) {
    verdict.fail(Property::Atomicity, &[model.event_of(write), station.event as usize], || {
        format!("one entry of {} is seen, but not that of {:?}", model.write_text(write), model.keys[key as usize])
    });
}
