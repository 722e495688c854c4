//! Checks what clients of a Causeway cluster saw against what Causeway promises.
//!
//! A [`history`] goes in, a [`Report`] comes out: for each property how often it was checked, and where it does
//! not hold. A check is near linear in the length of the history. It shares no code with the product, decides by what
//! clients were told (names, vectors, values), and never by a clock except where one request ended before another began.

mod build;
mod ghosts;
mod hash;
pub mod history;
mod model;
mod nodes;
mod order;
mod origins;
mod properties;
mod replaced;
mod replay;
mod report;

pub use report::{MAX_VIOLATIONS, Report, Violation};

use history::Event;
use properties::{availability, bounds, convergence, durability, final_state, monotonic_reads, only_seen};
use report::Verdict;

/// Checks a whole history: everything that clients did to a cluster, from when it was empty.
pub fn check(events: &[Event]) -> Report {
    let mut verdict = Verdict::default();
    bounds::check(events, &mut verdict);
    only_seen::check(events, &mut verdict);
    let mut model = build::build(events, &mut verdict);
    availability::check(&mut model, &mut verdict);
    let model = model;
    monotonic_reads::check(&model, &mut verdict);
    durability::check(&model, &mut verdict);
    replay::run(&model, &mut verdict);
    convergence::check(&model, &mut verdict);
    final_state::check_acknowledged(&model, &mut verdict);
    verdict.into_report()
}
