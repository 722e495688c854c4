//! The bounds that are explored, and the wrong models that must be told from the right one.
//!
//! Bounds multiply: one more write makes ten times the states. So each run is wide in one way and narrow in the others.
//! Those marked as ignored take minutes: `cargo test --release --test model -- --ignored`.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use crate::state::{Left, Names};
use crate::truth::{COVERED, DOTS, REPLACED, SIBLINGS};
use crate::{Bounds, Rules, Variant};

/// Nodes of their own.
const TWO: &[u32] = &[0, 1];
const THREE: &[u32] = &[0, 1, 2];
/// Two live owners of one identity, and another node.
const TWO_OWNERS: &[u32] = &[0, 0, 1];

/// What writes may do: give one key a value; delete it besides; or give both keys values besides.
const VALUES: usize = 1;
const DELETES: usize = 2;
const BOTH_KEYS: usize = 3;

fn bounds(nodes: &[u32], shapes: usize, [writes, crashes, restores]: [usize; 3]) -> Bounds {
    let all = vec![vec![(0, true)], vec![(0, false)], vec![(0, true), (1, true)]];
    let shapes = all.into_iter().take(shapes).collect();
    let rules = Rules { names: Names::Ascending, variant: Variant::Right };
    let is_reduced = nodes != TWO_OWNERS;
    let left = Left { writes, crashes, restores };
    Bounds { nodes: nodes.to_vec(), shapes, clients: 1, is_reduced, left, rules }
}

fn descending(mut bounds: Bounds) -> Bounds {
    bounds.rules.names = Names::Descending;
    bounds
}

fn two_clients(mut bounds: Bounds) -> Bounds {
    bounds.clients = 2;
    bounds
}

fn unreduced(mut bounds: Bounds) -> Bounds {
    bounds.is_reduced = false;
    bounds
}

/// Looks at every state that there is, those that are fewer steps away first; none may break a property.
fn explore(bounds: Bounds) {
    judge(bounds.clone().checker().spawn_bfs().join(), &bounds);
}

/// The same to the depth first, which keeps far fewer states in memory.
fn explore_long(bounds: Bounds) {
    judge(bounds.clone().checker().spawn_dfs().join(), &bounds);
}

fn judge(checker: impl Checker<Bounds>, bounds: &Bounds) {
    checker.assert_properties();
    assert!(checker.is_done(), "not explored completely: {bounds:?}");
    println!("{} states, {} steps deep at most: {bounds:?}", checker.unique_state_count(), checker.max_depth());
}

#[test]
fn three_nodes_write_and_delete_both_keys() {
    explore(bounds(THREE, BOTH_KEYS, [3, 0, 0]));
}

/// The other runs leave out states that differ in names only; this one leaves out nothing.
#[test]
fn three_nodes_by_their_names() {
    explore(unreduced(bounds(THREE, VALUES, [3, 0, 0])));
}

#[test]
fn three_nodes_write_more() {
    explore(bounds(THREE, VALUES, [4, 0, 0]));
}

#[test]
fn two_clients_carry_tokens() {
    explore(two_clients(bounds(THREE, DELETES, [3, 0, 0])));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a minute without --release")]
fn three_nodes_crash_and_come_back_from_copies() {
    explore(bounds(THREE, VALUES, [3, 1, 1]));
    explore(descending(bounds(THREE, VALUES, [3, 1, 1])));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a minute without --release")]
fn three_nodes_crash_while_they_write_and_delete_both_keys() {
    explore(bounds(THREE, BOTH_KEYS, [3, 1, 0]));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes two minutes without --release")]
fn two_nodes_write_on_after_crash_and_restore() {
    explore(bounds(TWO, VALUES, [4, 1, 1]));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes a minute without --release")]
fn an_identity_has_two_owners() {
    explore(bounds(TWO_OWNERS, VALUES, [3, 1, 0]));
    explore(descending(bounds(TWO_OWNERS, VALUES, [3, 1, 0])));
}

#[test]
#[ignore = "takes minutes"]
fn long_three_nodes_write_delete_and_write_both_keys_more() {
    explore_long(bounds(THREE, BOTH_KEYS, [4, 0, 0]));
}

#[test]
#[ignore = "takes minutes"]
fn long_three_nodes_crash_and_come_back_from_copies() {
    explore_long(bounds(THREE, BOTH_KEYS, [3, 1, 1]));
    explore_long(bounds(THREE, VALUES, [4, 1, 1]));
}

#[test]
#[ignore = "takes minutes"]
fn long_an_identity_has_two_owners() {
    explore_long(bounds(TWO_OWNERS, VALUES, [4, 1, 0]));
    explore_long(bounds(TWO_OWNERS, VALUES, [3, 1, 1]));
}

/// A model that is wrong in one way must break the property that this way is about. Says how.
fn must_break(property: &'static str, variant: Variant, mut bounds: Bounds) {
    bounds.rules.variant = variant;
    let until = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let checker = bounds.checker().finish_when(until).spawn_bfs().join();
    let steps = checker.discovery(property).map(|path| path.into_actions());
    println!("{variant:?}: {:?}", steps.unwrap_or_else(|| panic!("{variant:?} does not break '{property}'")));
}

#[test]
fn a_token_of_the_whole_vector_replaces_what_was_never_seen() {
    must_break(REPLACED, Variant::TokenCoversVector, bounds(TWO, VALUES, [3, 0, 0]));
}

#[test]
fn folding_without_regard_to_parents_loses_writes_after_a_restore() {
    must_break(COVERED, Variant::FoldingDropsAllOlder, bounds(TWO, VALUES, [3, 0, 1]));
}

#[test]
fn an_incarnation_that_survives_a_crash_uses_a_dot_twice() {
    must_break(DOTS, Variant::IncarnationSurvivesCrash, bounds(TWO, VALUES, [3, 1, 0]));
}

#[test]
fn a_restored_copy_that_goes_on_counting_uses_a_dot_twice() {
    must_break(DOTS, Variant::IncarnationSurvivesCrash, bounds(TWO, VALUES, [3, 0, 1]));
}

#[test]
fn delivery_out_of_order_brings_back_what_was_replaced() {
    must_break(SIBLINGS, Variant::DependenciesAreIgnored, bounds(THREE, VALUES, [2, 0, 0]));
}
