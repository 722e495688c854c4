//! Nodes that are restarted again and again, with a write each time, while another one is away.

use super::super::*;
use super::world::World;

/// A node is restarted and written to; the two that are not away tell each other.
fn restart_and_write(world: &mut World, node: usize, value: usize) {
    world.restart(node);
    world.write(node, &[(["a", "b"][node], Some(&value.to_string()))], Replaces::Held);
    for _ in 0..100 {
        (0..2).for_each(|id| world.persist(id));
        if world.deliver(0).is_none() {
            world.tick(TICK_MS);
        }
        let [first, second, _] = &world.nodes[..] else { unreachable!("three nodes") };
        if first.replica.applied == second.replica.applied && first.replica.staged == second.replica.staged {
            world.effects.clear();
            return;
        }
    }
    panic!("the two don't tell each other: {:?}", world.vectors());
}

/// Of three nodes the last is away while the others are restarted so often; it has their first writes if `met`.
fn the_absent_one_comes_back(restarts: usize, met: bool) {
    let mut world = World::new(3, |_| {});
    if met {
        (0..2).for_each(|node| restart_and_write(&mut world, node, 0));
        world.settle();
    }
    world.cut = [(0, 2), (1, 2), (2, 0), (2, 1)].into();
    for value in 1..=restarts {
        (0..2).for_each(|node| restart_and_write(&mut world, node, value));
    }
    world.batch_ops = 512;
    world.cut.clear();
    world.settle();
    let lives = restarts + usize::from(met);
    for node in &world.nodes {
        let view = node.replica.view();
        assert_eq!(view.vector.len(), 2, "one entry a node: {}", view.vector);
        assert_eq!(view.incarnations(), [(NodeId(0), lives), (NodeId(1), lives)].into());
        for key in ["a", "b"] {
            let values: Vec<String> = node.keys[key].iter().map(|sibling| sibling.value.to_string()).collect();
            assert_eq!(values, [restarts.to_string()], "{key}");
        }
    }
    // Nobody is believed to lack anything any more, once all have said so.
    for _ in 0..200 {
        while world.deliver(0).is_some() {}
        world.tick(TICK_MS);
    }
    let view = world.nodes[0].replica.view();
    assert!(view.links.iter().all(|link| view.lacks(link).is_empty()), "{:?}", view.links);
}

#[test]
fn a_node_that_knew_none_of_a_thousand_restarts_catches_up() {
    the_absent_one_comes_back(1_000, false);
}

#[test]
fn a_node_that_was_away_for_a_thousand_restarts_catches_up() {
    the_absent_one_comes_back(1_000, true);
}

#[test]
fn a_start_past_the_limit_takes_no_writes_and_does_all_else() {
    let mut world = World::new(2, |options| options.max_incarnations = 3);
    for value in ["1", "2", "3"] {
        assert!(!world.nodes[0].replica.view().out_of_incarnations);
        world.restart(0);
        world.write(0, &[("a", Some(value))], Replaces::Held);
        world.settle();
    }
    world.write(0, &[("a", Some("in the last life"))], Replaces::Held);
    world.settle();
    assert!(!world.nodes[0].replica.view().out_of_incarnations, "the last goes on");
    world.restart(0);
    assert!(world.nodes[0].replica.view().out_of_incarnations);
    world.effects.clear();
    world.write(0, &[("a", Some("refused"))], Replaces::Held);
    let refused = world.effects.iter().any(|(_, effect)| {
        let refused = Err(WriteError::TooManyIncarnations { limit: 3 });
        matches!(effect, Effect::Written { outcome, .. } if *outcome == refused)
    });
    assert!(refused, "{:?}", world.effects);
    // It takes its peers' writes, and what it had written gets to them.
    world.write(1, &[("b", Some("new"))], Replaces::Held);
    world.settle();
    for node in &world.nodes {
        assert_eq!(node.keys["a"].latest().map(|sibling| &*sibling.value), Some("in the last life"));
        assert_eq!(node.keys["b"].latest().map(|sibling| &*sibling.value), Some("new"));
    }
}
