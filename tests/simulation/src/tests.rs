//! What the simulation itself promises: the same seed gives the same, and a schedule stays one when it gets smaller.

use crate::schedule::generate;
use crate::shrink::{only, shrink};
use crate::{violations, world};

#[test]
fn the_same_seed_gives_the_same_trace_to_the_byte() {
    for seed in 0..20 {
        let (first, second) = (world::play(&generate(seed), true), world::play(&generate(seed), true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.history, second.history, "seed {seed}");
        assert!(first.trace.lines().count() > 200, "{}", first.trace);
    }
}

#[test]
fn every_schedule_has_three_nodes_two_hundred_requests_and_five_faults() {
    for seed in 0..20 {
        let record = world::play(&generate(seed), false);
        let nodes = generate(seed).settings.nodes;
        assert!(nodes >= 3 && record.requests >= 200 && record.faults >= 5, "seed {seed}");
    }
}

/// Seeds that were found to fail once. 913: what was due while a node was paused happened before it was asked for.
/// 34696: the checker did not think of the copy of a volume whose node never answered anyone. 195: two owners of one id kept
/// dropping each other's state. 684: a sibling that had come while a state was filled, and that the state had too, moved.
/// 927: five processes had one id, and a node that remembered four of them was never sure.
#[test]
fn seeds_that_failed_once_pass() {
    for seed in [2, 144, 195, 684, 913, 927, 34_696] {
        assert_eq!(violations(&generate(seed)), [], "seed {seed}");
    }
}

#[test]
fn shrinking_leaves_what_is_needed() {
    let schedule = generate(1);
    let needed = [3, 40, 41, 150];
    let has = |place: usize, steps: &[crate::schedule::Step]| {
        steps.iter().any(|step| format!("{step:?}") == format!("{:?}", schedule.steps[place]))
    };
    let left = shrink(&schedule, |fewer| needed.iter().all(|place| has(*place, &fewer.steps)));
    assert_eq!(left, needed);
    assert_eq!(only(&schedule, &left).steps.len(), needed.len());
}
