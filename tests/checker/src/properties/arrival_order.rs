//! Arrival order: in one life of a volume a write has one place in its node's order of arrival of a key, and no other write
//! of the key has it; siblings are listed in that order, and a plain read shows the last. (Writes of different keys that
//! came with another node's whole state may have the same place.)
//!
//! "What a node's feed said before a crash is a prefix of what it says after": the prefix property of logs, as in
//! Burckhardt's "Principles of Eventual Consistency" (2014), of one node.

use std::collections::BTreeMap;

use crate::model::{Model, PHANTOM, ShownRecord};
use crate::replay::{Alive, Station};
use crate::report::{Property, Verdict};

/// The places that are known in one life.
#[derive(Default)]
pub(crate) struct Arrivals {
    /// By key and write: the place, and the event that said so.
    of_write: BTreeMap<(u32, u32), (u64, u32)>,
    /// Key, place, write and event, as listed.
    listed: Vec<(u32, u64, u32, u32)>,
}

impl Arrivals {
    /// Collects the places that the states of a new life tell, and checks them.
    pub(crate) fn collect(&mut self, model: &Model<'_>, stations: &[Station], verdict: &mut Verdict) {
        self.of_write.clear();
        self.listed.clear();
        for station in stations {
            let Some((_, states)) = station.states else { continue };
            for state in model.states(states) {
                let shown = model.shown(state.shown);
                self.take(model, station.event, state.key, shown, verdict);
                check_list(model, station.event, state.key, shown, verdict);
            }
        }
        self.listed.sort_unstable();
        for pair in self.listed.windows(2).filter(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
            let [(_, place, one, first), (_, _, other, second)] = [pair[0], pair[1]];
            verdict.fail(Property::ArrivalOrder, &[first as usize, second as usize], || {
                format!("{} and {} both arrived as number {place}", model.write_text(one), model.write_text(other))
            });
        }
    }

    fn take(&mut self, model: &Model<'_>, event: u32, key: u32, shown: &[ShownRecord], verdict: &mut Verdict) {
        for shown in shown {
            let Some(detail) = shown.detail.filter(|_| shown.write != PHANTOM) else { continue };
            verdict.count(Property::ArrivalOrder, 1);
            let known = self.of_write.entry((key, shown.write)).or_insert_with(|| {
                self.listed.push((key, detail.arrival, shown.write, event));
                (detail.arrival, event)
            });
            if known.0 != detail.arrival {
                let (before, first) = *known;
                verdict.fail(Property::ArrivalOrder, &[first as usize, event as usize], || {
                    let write = model.write_text(shown.write);
                    format!("{write} arrived as number {before}, and then as number {}", detail.arrival)
                });
            }
        }
    }

    fn of(&self, key: u32, write: u32) -> Option<(u64, u32)> {
        self.of_write.get(&(key, write)).copied()
    }

    /// Checks that a plain read of a key shows the sibling that arrived last, if the places of all are known.
    pub(crate) fn check_shown(
        &self,
        model: &Model<'_>,
        event: u32,
        key: u32,
        alive: &[Alive],
        shown: u32,
        verdict: &mut Verdict,
    ) {
        let later = |last: (u64, u32), alive: &Alive| Some(last.max((self.of(key, alive.write)?.0, alive.write)));
        let Some(last) = alive.iter().try_fold((0, shown), later) else { return };
        verdict.count(Property::ArrivalOrder, 1);
        if last.1 != shown {
            verdict.fail(
                Property::ArrivalOrder,
                &[event as usize, self.of(key, last.1).map_or(event, |of| of.1) as usize],
                || format!("{} is shown, but {} arrived later", model.write_text(shown), model.write_text(last.1)),
            );
        }
    }
}

fn check_list(model: &Model<'_>, event: u32, key: u32, shown: &[ShownRecord], verdict: &mut Verdict) {
    let arrival = |shown: &ShownRecord| shown.detail.map(|detail| detail.arrival);
    let is_wrong = |pair: &[ShownRecord]| match (arrival(&pair[0]), arrival(&pair[1])) {
        (Some(one), Some(other)) => one >= other && pair[0].write != pair[1].write,
        _ => false,
    };
    if shown.windows(2).any(is_wrong) {
        let key = model.keys[key as usize];
        verdict
            .fail(Property::ArrivalOrder, &[event as usize], || format!("{key:?} is not listed in order of arrival"));
    }
}
