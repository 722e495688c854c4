//! What a check found, and how it is gathered: counts and violations by property.

use std::collections::BTreeMap;

use serde::Serialize;

/// What came of checking a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is wrong, in the order in which it was found; at most [`MAX_VIOLATIONS`] of each property.
    pub violations: Vec<Violation>,
    /// How many checks each property made; 0 for one that the history gave nothing to check.
    pub checked: BTreeMap<&'static str, u64>,
}

/// Something that should not have happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The property that does not hold.
    pub property: &'static str,
    /// Where in the history it shows: indices of events.
    pub events: Vec<usize>,
    /// What is wrong.
    pub message: String,
}

/// How many violations of one property are told; the first ones tell the story.
pub const MAX_VIOLATIONS: usize = 20;

/// What is checked. Each has a file in `properties`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    ExactReads,
    NoPhantoms,
    DotReuse,
    NoCycles,
    ReadYourWrites,
    MonotonicReads,
    MonotonicWrites,
    WritesFollowReads,
    CausalDelivery,
    FinalState,
    Convergence,
    Atomicity,
    Durability,
    OnlySeen,
    StateOrder,
    ArrivalOrder,
    Availability,
    Bounds,
}

const NAMES: [&str; 18] = [
    "exact-reads",
    "no-phantoms",
    "dot-reuse",
    "no-cycles",
    "read-your-writes",
    "monotonic-reads",
    "monotonic-writes",
    "writes-follow-reads",
    "causal-delivery",
    "final-state",
    "convergence",
    "atomicity",
    "durability",
    "only-seen",
    "state-order",
    "arrival-order",
    "availability",
    "bounds",
];

/// Gathers counts and violations while a history is checked.
#[derive(Default)]
pub(crate) struct Verdict {
    violations: Vec<Violation>,
    checked: [u64; NAMES.len()],
    failed: [usize; NAMES.len()],
}

impl Verdict {
    /// Counts checks of a property.
    pub(crate) fn count(&mut self, property: Property, checks: usize) {
        self.checked[property as usize] += checks as u64;
    }

    /// Notes a violation; `message` is only made if there is still room for it.
    pub(crate) fn fail(&mut self, property: Property, events: &[usize], message: impl FnOnce() -> String) {
        let failed = &mut self.failed[property as usize];
        *failed += 1;
        if *failed <= MAX_VIOLATIONS {
            let property = NAMES[property as usize];
            self.violations.push(Violation { property, events: events.to_vec(), message: message() });
        }
    }

    pub(crate) fn into_report(self) -> Report {
        Report { violations: self.violations, checked: NAMES.into_iter().zip(self.checked).collect() }
    }
}
