//! Simulates whole Causeway clusters, each from one seed: the real replica and the real formats, with a network,
//! disks, clocks and clients that do what the seed says, in one thread. What the clients saw goes to the checker.
//!
//! - [`schedule`]: what will be done, worked out from the seed beforehand: client steps and faults with their times.
//! - [`world`]: carries a schedule out, event by event; [`machine`], [`volume`], [`network`] and [`session`] are its
//!   parts.
//! - [`recorder`]: the history for the checker, the trace for people, and which faults and rare paths occurred.
//! - [`shrink`]: finds a small part of a schedule that still fails.
//!
//! Must not use a clock, a thread, or the order of a hash map: the same seed gives the same trace, to the byte.

pub mod coverage;
pub mod machine;
pub mod network;
pub mod recorder;
pub mod schedule;
pub mod session;
pub mod shrink;
#[cfg(test)]
mod tests;
pub mod volume;
pub mod world;

use causeway_checker::{Report, Violation, check};

/// Microseconds of simulated time.
pub type Micros = u64;

/// Judges what clients saw. A panic is a violation of its own: nothing that happens to a node may cause one.
pub fn judge(record: &recorder::Record) -> Report {
    let Some(message) = &record.panic else { return check(&record.history) };
    let violation = Violation { property: "no-panic", events: Vec::new(), message: message.clone() };
    Report { violations: vec![violation], ..Report::default() }
}

/// Plays a schedule and judges it.
pub fn violations(schedule: &schedule::Schedule) -> Vec<Violation> {
    judge(&world::play(schedule, false)).violations
}
