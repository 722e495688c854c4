//! Exact reads: a read shows exactly the maximal writes of its key among those that its state includes. Where the
//! outcome of a write is unknown, what it may have replaced may be missing; once it was missing it stays so.
//!
//! The multi-value register of Burckhardt, Gotsman, Yang and Zawirski, "Replicated Data Types: Specification,
//! Verification, Optimality" (POPL 2014), with the state's own vector as what is visible.

use super::{atomicity, final_state};
use crate::history::Resolve;
use crate::model::{Model, PHANTOM, ShownRecord, StateRecord};
use crate::replaced::may_ghost_replace;
use crate::replay::{Alive, Replay, Station};
use crate::report::{Property, Verdict};

/// How what is shown differs from what must be there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Difference {
    /// This write must be there.
    Missing(u32),
    /// This write must not.
    Extra(u32),
    /// It is not as many.
    Number { siblings: usize, least: usize, most: usize },
}

/// Compares what was read from a state with what must be there.
pub(crate) fn check(replay: &mut Replay<'_, '_>, station: &Station, verdict: &mut Verdict) {
    let Some((resolve, states)) = station.states else { return };
    let model = replay.model;
    let states = model.states(states);
    verdict.count(station.property, states.len());
    for state in states {
        let shown = model.shown(state.shown);
        if shown.iter().any(|shown| shown.write == PHANTOM) {
            continue;
        }
        let difference = match resolve {
            Resolve::All => compare_all(replay, state, shown),
            Resolve::Arrival | Resolve::Newest => compare_one(replay, state, shown),
        };
        match (difference, shown) {
            (Some(difference), _) => tell(replay, station, states, state.key, difference, verdict),
            (None, [shown]) if resolve == Resolve::Arrival && is_sure_of(replay.alive(state.key), state, shown) => {
                let alive = replay.alive(state.key);
                replay.arrivals.check_shown(model, station.event, state.key, alive, shown.write, verdict);
            }
            (None, _) => {}
        }
    }
    atomicity::count(model, states, station, verdict);
    if station.property == Property::FinalState {
        final_state::check_absent(replay, station, states, verdict);
    }
}

/// Whether a state that shows one sibling of several has just these.
fn is_sure_of(alive: &[Alive], state: &StateRecord, shown: &ShownRecord) -> bool {
    state.siblings > 1 && alive.len() == state.siblings && alive.iter().any(|alive| alive.write == shown.write)
}

fn has(shown: &[ShownRecord], write: u32) -> bool {
    shown.iter().any(|shown| shown.write == write)
}

/// Whether a ghost may have replaced a sibling.
fn is_haunted(replay: &Replay<'_, '_>, key: u32, write: u32) -> bool {
    let model = replay.model;
    !model.ghosts.is_empty()
        && model.ghosts.of(key, &replay.closure).any(|ghost| may_ghost_replace(model, ghost.write, write))
}

/// A sibling that a key must have.
pub(crate) fn must_have(replay: &Replay<'_, '_>, key: u32) -> Option<u32> {
    let must = |alive: &&Alive| alive.is_sure && !is_haunted(replay, key, alive.write);
    replay.alive(key).iter().find(must).map(|alive| alive.write)
}

fn is_ghost(replay: &Replay<'_, '_>, key: u32, write: u32) -> bool {
    let model = replay.model;
    model.ghosts.of(key, &replay.closure).any(|ghost| ghost.write == write && ghost.has_value)
}

fn compare_all(replay: &mut Replay<'_, '_>, state: &StateRecord, shown: &[ShownRecord]) -> Option<Difference> {
    let alive = replay.alive(state.key);
    let must = |alive: &&Alive| alive.is_sure && !is_haunted(replay, state.key, alive.write);
    if let Some(missing) = alive.iter().filter(must).find(|alive| !has(shown, alive.write)) {
        return Some(Difference::Missing(missing.write));
    }
    let is_extra = |shown: &&ShownRecord| {
        !alive.iter().any(|alive| alive.write == shown.write) && !is_ghost(replay, state.key, shown.write)
    };
    if let Some(extra) = shown.iter().find(is_extra) {
        return Some(Difference::Extra(extra.write));
    }
    let twice = shown.iter().enumerate().find(|(place, sibling)| has(&shown[..*place], sibling.write));
    if let Some((_, twice)) = twice {
        return Some(Difference::Extra(twice.write));
    }
    replay.settle(state.key, |alive| has(shown, alive.write));
    let (siblings, number) = (state.siblings, shown.len());
    (siblings != number).then_some(Difference::Number { siblings, least: number, most: number })
}

fn compare_one(replay: &mut Replay<'_, '_>, state: &StateRecord, shown: &[ShownRecord]) -> Option<Difference> {
    let (key, siblings) = (state.key, state.siblings);
    let alive = replay.alive(key);
    let is_known = |write: u32| alive.iter().any(|alive| alive.write == write) || is_ghost(replay, key, write);
    if let Some(extra) = shown.iter().find(|shown| !is_known(shown.write)) {
        return Some(Difference::Extra(extra.write));
    }
    let must = |alive: &&Alive| alive.is_sure && !is_haunted(replay, key, alive.write);
    let least = alive.iter().filter(must).count();
    let ghosts = replay.model.ghosts.of(key, &replay.closure);
    let has_ghosts = ghosts.clone().next().is_some();
    let most = alive.len() + ghosts.filter(|ghost| ghost.has_value).count();
    if shown.len() != siblings.min(1) || !(least..=most).contains(&siblings) {
        let only = alive.iter().find(must).filter(|_| shown.is_empty());
        return Some(only.map_or(Difference::Number { siblings, least, most }, |only| Difference::Missing(only.write)));
    }
    if !has_ghosts && least < alive.len() {
        let is_shown = |alive: &Alive| has(shown, alive.write);
        let shown_unsure = alive.iter().any(|alive| !alive.is_sure && is_shown(alive));
        if siblings == least + usize::from(shown_unsure) {
            replay.settle(key, |alive| alive.is_sure || is_shown(alive));
        } else if siblings == most {
            replay.settle(key, |_| true);
        }
    }
    None
}

/// Tells a difference, as a torn write if it is one.
pub(crate) fn tell(
    replay: &Replay<'_, '_>,
    station: &Station,
    states: &[StateRecord],
    key: u32,
    difference: Difference,
    verdict: &mut Verdict,
) {
    let model = replay.model;
    if let Some(torn) = atomicity::torn(replay, states, key, difference) {
        return atomicity::tell(model, station, key, torn, verdict);
    }
    let (write, what) = match difference {
        Difference::Missing(write) => (Some(write), format!("{} is missing", model.write_text(write))),
        Difference::Extra(write) => (Some(write), why_extra(replay, key, write)),
        Difference::Number { siblings, least, most } => {
            (None, format!("it has {siblings} siblings, not {least} to {most}"))
        }
    };
    let events: Vec<usize> =
        write.map(|write| model.event_of(write)).into_iter().chain([station.event as usize]).collect();
    verdict.fail(station.property, &events, || {
        format!("{:?} at {}: {what}", model.keys[key as usize], model.vector_text(station.vector))
    });
}

fn why_extra(replay: &Replay<'_, '_>, key: u32, write: u32) -> String {
    let model: &Model<'_> = replay.model;
    let is_included = model.write(write).dot.is_some_and(|dot| replay.closure[dot.origin as usize] >= dot.counter);
    let alive: Vec<String> = replay.alive(key).iter().map(|alive| model.write_text(alive.write)).collect();
    match is_included {
        true => format!("{} is shown, but was replaced; there is [{}]", model.write_text(write), alive.join(", ")),
        false => format!("{} is shown, but not included", model.write_text(write)),
    }
}
