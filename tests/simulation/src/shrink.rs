//! Makes a failing schedule small: drops steps as long as the same property still fails (Zeller, Hildebrandt,
//! "Simplifying and Isolating Failure-Inducing Input", 2002, in its simplest form).

use crate::schedule::{Schedule, Step};

/// How many schedules are tried at most.
const MAX_TRIES: usize = 3_000;

/// The places of the steps that are left of `schedule` when all are dropped that need not be there for `fails`.
pub fn shrink(schedule: &Schedule, fails: impl Fn(&Schedule) -> bool) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..schedule.steps.len()).collect();
    let mut chunk = kept.len().div_ceil(2);
    let mut tries = 0;
    while chunk > 0 && tries < MAX_TRIES {
        let mut start = 0;
        let mut dropped = false;
        while start < kept.len() && tries < MAX_TRIES {
            tries += 1;
            let end = (start + chunk).min(kept.len());
            let fewer: Vec<usize> = kept[..start].iter().chain(&kept[end..]).copied().collect();
            if fails(&only(schedule, &fewer)) {
                kept = fewer;
                dropped = true;
            } else {
                start = end;
            }
        }
        if chunk == 1 && !dropped {
            break;
        }
        if !dropped || chunk > 1 {
            chunk = if chunk == 1 { 1 } else { chunk.div_ceil(2) };
        }
    }
    kept
}

/// The schedule with only the steps at these places.
pub fn only(schedule: &Schedule, places: &[usize]) -> Schedule {
    let steps: Vec<Step> = places.iter().filter_map(|place| schedule.steps.get(*place)).cloned().collect();
    Schedule { steps, ..schedule.clone() }
}
