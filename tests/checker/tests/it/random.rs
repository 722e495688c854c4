//! Random histories of a correct cluster pass; of a cluster with a bug planted they do not.

use std::collections::BTreeMap;

use causeway_checker::history::Event;
use causeway_checker::{Report, check};

use crate::bug::Bug;
use crate::cluster::Cluster;

const SEEDS: u64 = 1500;

/// That all holds.
#[track_caller]
pub(crate) fn assert_passes(events: &[Event]) -> Report {
    let report = check(events);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    report
}

fn properties(report: &Report) -> Vec<&'static str> {
    report.violations.iter().map(|violation| violation.property).collect()
}

#[test]
fn a_correct_cluster_passes() {
    let mut checked: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let report = assert_passes(&Cluster::history(seed, 100 + (seed as usize % 5) * 100, None));
        report.checked.iter().for_each(|(property, checks)| *checked.entry(property).or_default() += checks);
    }
    // Bounds of tokens only; everything else often.
    assert!(checked.values().all(|checks| *checks > 10_000), "{checked:?}");
}

#[test]
fn one_seed_is_one_history() {
    assert_eq!(Cluster::history(7, 300, None), Cluster::history(7, 300, None));
}

#[test]
fn planted_bugs_are_found() {
    let bugs: [(Bug, &[&str]); 11] = [
        (Bug::ReplacesUnseen, &["exact-reads", "final-state"]),
        (Bug::IgnoresContext, &["read-your-writes", "monotonic-reads"]),
        (Bug::DeliversEarly, &["causal-delivery", "monotonic-writes", "writes-follow-reads"]),
        (Bug::TearsWrites, &["atomicity"]),
        (Bug::ForgetsAtRestart, &["durability"]),
        (Bug::ReusesNames, &["dot-reuse"]),
        (Bug::ReplacesNothing, &["exact-reads", "final-state"]),
        (Bug::ForgetsArrivals, &["arrival-order"]),
        (Bug::ChangesClocks, &["convergence"]),
        (Bug::Refuses, &["availability"]),
        (Bug::Invents, &["no-phantoms"]),
    ];
    for (bug, expected) in bugs {
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 0..200 {
            let report = check(&Cluster::history(seed, 300, Some(bug)));
            let mut broken = properties(&report);
            broken.sort_unstable();
            broken.dedup();
            broken.into_iter().for_each(|property| *found.entry(property).or_default() += 1);
        }
        println!("{bug:?}: {found:?}");
        for property in expected {
            assert!(
                found.get(property).is_some_and(|seeds| *seeds > 2),
                "{bug:?} is not found as {property}: {found:?}"
            );
        }
    }
}
