//! Restarts: incarnations that fold, volumes that were wiped, put back from a copy, or lost.

use causeway_checker::history::{Volume, What};

use crate::builder::{History, Listed, state};

/// Node 0 wrote twice, restarted, and wrote once in a new incarnation, which implies the first two.
fn folded() -> History {
    let mut history = History::of_nodes(2);
    history.held(1, 0, 1, "x", ["0.1:1", "0.1:1"]).held(1, 0, 2, "y", ["0.1:2", "0.1:2"]);
    history.node(0, What::Down).node(0, What::Up(Volume::Kept));
    history.held(1, 0, 3, "x", ["0.7:1", "0.7:1"]).with(state("0.1:2"));
    history
}

const HELD: &[(&str, Listed<'static>)] = &[("x", &[(3, "0.7:1", 3)]), ("y", &[(2, "0.1:2", 2)])];

#[test]
fn a_new_incarnation_implies_its_parents() {
    let mut history = folded();
    history.all(2, 0, "0.7:1", HELD);
    history.held_in_the_end_of(0, "0.7:1", &[("0.7:1", "0.1:2")], HELD);
    history.held_in_the_end_of(1, "0.7:1", &[("0.7:1", "0.1:2")], HELD);
    for property in ["exact-reads", "final-state", "durability", "monotonic-reads"] {
        history.passes(property);
    }
    let mut back = folded();
    back.all(2, 0, "0.7:1", &[("x", &[(1, "0.1:1", 1), (3, "0.7:1", 3)])]);
    back.held_in_the_end_of(0, "0.7:1", &[("0.7:1", "0.1:2")], HELD);
    back.breaks("exact-reads");
}

#[test]
fn without_ancestry_there_is_no_guess() {
    let mut history = folded();
    history.all(2, 0, "0.7:1", HELD);
    assert_eq!(history.broken(), [""; 0]);
}

#[test]
fn two_nodes_must_agree_on_parents() {
    let mut history = folded();
    history.held_in_the_end_of(0, "0.7:1", &[("0.7:1", "0.1:2")], HELD);
    history.held_in_the_end_of(1, "0.7:1", &[("0.7:1", "0.1:1")], HELD);
    history.breaks("dot-reuse");
}

#[test]
fn an_incarnation_that_forgets_loses() {
    // The restored node's parents say that it had only the first write.
    let mut history = folded();
    history.held_in_the_end_of(0, "0.7:1", &[("0.7:1", "0.1:1")], &[("x", &[(3, "0.7:1", 3)])]);
    assert_eq!(history.broken(), ["durability", "final-state", "monotonic-writes", "read-your-writes"]);
}

/// A write on node 0 that perhaps node 1 saw; then node 0 starts with another volume.
fn wiped(is_seen: bool, volume: Volume, kept: &str, keys: &[(&str, Listed<'_>)]) -> History {
    let mut history = History::of_nodes(2);
    history.held(1, 0, 1, "x", ["0.1:1", "0.1:1"]);
    history.held(1, 0, 2, "y", ["0.1:2", "0.1:2"]);
    if is_seen {
        history.all(2, 1, "0.1:2", &[("y", &[(2, "0.1:2", 2)])]);
    }
    history.node(0, What::Down).node(0, What::Up(volume));
    history.held_in_the_end(0, kept, keys).held_in_the_end(1, kept, keys);
    history
}

#[test]
fn what_only_a_wiped_disk_had_is_lost_with_it() {
    wiped(false, Volume::Empty, "", &[]).passes("final-state");
    wiped(false, Volume::Kept, "", &[]).breaks("final-state");
    wiped(true, Volume::Empty, "", &[]).breaks("final-state");
    let keys: &[(&str, Listed<'_>)] = &[("x", &[(1, "0.1:1", 1)]), ("y", &[(2, "0.1:2", 2)])];
    wiped(true, Volume::Empty, "0.1:2", keys).passes("final-state");
}

#[test]
fn a_copy_has_what_was_acknowledged_before_it_was_taken() {
    // The nodes come up at 10 and 20, the writes end at 40 and 60.
    let first: &[(&str, Listed<'_>)] = &[("x", &[(1, "0.1:1", 1)])];
    wiped(false, Volume::Copy { taken: 45 }, "0.1:1", first).passes("final-state");
    wiped(false, Volume::Copy { taken: 65 }, "0.1:1", first).breaks("final-state");
    wiped(false, Volume::Copy { taken: 45 }, "", &[]).breaks("final-state");
    wiped(true, Volume::Copy { taken: 45 }, "0.1:1", first).breaks("final-state");
}

#[test]
fn a_copy_of_a_wiped_volume_has_only_what_came_after() {
    let mut history = History::of_nodes(1);
    history.held(1, 0, 1, "x", ["0.1:1", "0.1:1"]);
    history.node(0, What::Down).node(0, What::Up(Volume::Empty));
    let taken = history.now + 5;
    history.node(0, What::Down).node(0, What::Up(Volume::Copy { taken }));
    history.held_in_the_end(0, "", &[]);
    history.passes("final-state");
}

#[test]
fn a_restored_node_that_counts_on_reuses_names() {
    let mut history = wiped(true, Volume::Copy { taken: 45 }, "0.1:2", &[]);
    history.events.truncate(history.events.len() - 2);
    history.held(1, 0, 3, "z", ["0.1:2", "0.1:2"]);
    history.breaks("dot-reuse");
}

#[test]
fn a_wiped_node_owes_its_own_past_no_more() {
    let mut history = wiped(false, Volume::Empty, "", &[]);
    history.events.truncate(history.events.len() - 2);
    history.all(3, 0, "", &[("x", &[])]);
    history.held_in_the_end(0, "", &[]).held_in_the_end(1, "", &[]);
    history.passes("durability");
}

#[test]
fn a_volume_that_lives_twice() {
    let mut history = History::of_nodes(2);
    history.held(1, 0, 1, "x", ["0.1:1", "0.1:1"]);
    let taken = history.now + 5;
    // The client's node 5 runs on a copy of node 0's volume, and gives its writes names of node 0.
    history.node(5, What::Up(Volume::Copy { taken }));
    history.held(2, 5, 2, "x", ["0.9:1", "0.9:1"]);
    history.held(1, 0, 3, "x", ["0.1:2", "0.1:2"]);
    history.node(5, What::Down).unknown(2, 5, 4, "y").node(5, What::Up(Volume::Kept));
    let held: &[(&str, Listed<'_>)] = &[("x", &[(2, "0.9:1", 3), (3, "0.1:2", 4)]), ("y", &[(4, "0.9:2", 5)])];
    let ancestry = &[("0.9:1", "0.1:1")];
    let mut lost = History { events: history.events.clone(), now: history.now };
    for node in [0, 1, 5] {
        history.held_in_the_end_of(node, "0.1:2 0.9:2", ancestry, held);
        lost.held_in_the_end_of(node, "0.9:2", ancestry, &[held[0], held[1]]);
    }
    history.passes("final-state");
    lost.breaks("final-state");
}

#[test]
fn a_volume_that_lives_twice_may_never_be_heard_from() {
    let mut history = History::of_nodes(2);
    history.held(1, 0, 1, "x", ["0.1:1", "0.1:1"]);
    let taken = history.now + 5;
    // Nobody gets an answer from the client's node 5, so nobody learns whose names it gives.
    history.node(5, What::Up(Volume::Copy { taken })).node(5, What::Down).unknown(2, 5, 2, "y");
    let held: &[(&str, Listed<'_>)] = &[("x", &[(3, "0.1:2", 3)]), ("y", &[(4, "0.1:3", 4)])];
    history.held(1, 0, 3, "x", ["0.1:2", "0.1:2 0.9:1"]).held(1, 0, 4, "y", ["0.1:3", "0.1:3 0.9:1"]);
    for node in [0, 1] {
        history.held_in_the_end_of(node, "0.1:3 0.9:1", &[("0.9:1", "0.1:1")], held);
    }
    history.passes("no-phantoms");
}
