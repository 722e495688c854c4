//! Random schedules of four nodes that in the end can only reach each other along a chain; and what a healthy
//! mesh sends.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;
use super::random::{expected, held};
use super::world::World;

const NODES: usize = 4;
const KEYS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    Write { node: usize, key: usize },
    Persist { node: usize },
    Deliver { pick: usize },
    Cut { from: usize, to: usize },
    HealAll,
    Tick { ms: u64 },
    Restart { node: usize },
    RestartAndWrite { node: usize },
    FailCommit { node: usize },
    CopyDisk { node: usize },
    RestoreDiskAndWrite { node: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    prop_oneof![
        6 => (node.clone(), 0..2usize).prop_map(|(node, key)| Step::Write { node, key }),
        8 => node.clone().prop_map(|node| Step::Persist { node }),
        16 => (0..8usize).prop_map(|pick| Step::Deliver { pick }),
        3 => (node.clone(), node.clone()).prop_map(|(from, to)| Step::Cut { from, to }),
        1 => Just(Step::HealAll),
        4 => (1..700u64).prop_map(|ms| Step::Tick { ms }),
        1 => node.clone().prop_map(|node| Step::Restart { node }),
        2 => node.clone().prop_map(|node| Step::RestartAndWrite { node }),
        1 => node.clone().prop_map(|node| Step::FailCommit { node }),
        1 => node.clone().prop_map(|node| Step::CopyDisk { node }),
        1 => node.prop_map(|node| Step::RestoreDiskAndWrite { node }),
    ]
}

/// Room for one waiting op; peers known by their addresses, and asked in turn as in a cluster of many.
fn addresses_only(options: &mut ReplicaOptions) {
    options.max_waiting_ops = 1;
    options.digests_an_interval = 1;
    options.peers.iter_mut().for_each(|peer| *peer = None);
}

fn by_name(options: &mut ReplicaOptions) {
    options.max_waiting_ops = 1;
}

fn play(world: &mut World, steps: &[Step]) {
    for (index, step) in steps.iter().enumerate() {
        let value = index.to_string();
        let write = |world: &mut World, node| world.write(node, &[("a", Some(&value))], Replaces::Held);
        match *step {
            Step::Write { node, key } => world.write(node, &[(KEYS[key], Some(&value))], Replaces::Held),
            Step::Persist { node } => world.persist(node),
            Step::Deliver { pick } => {
                let pick = pick % world.letters.len().max(1);
                world.deliver(pick);
            }
            Step::Cut { from, to } => {
                world.cut.insert((from, to));
            }
            Step::HealAll => world.cut.clear(),
            Step::Tick { ms } => world.tick(ms),
            Step::Restart { node } => world.restart(node),
            Step::RestartAndWrite { node } => {
                world.restart(node);
                write(world, node);
                world.persist(node);
            }
            Step::FailCommit { node } => world.fail_commit(node),
            Step::CopyDisk { node } => world.copy_disk(node),
            Step::RestoreDiskAndWrite { node } => {
                world.restore_disk(node);
                write(world, node);
                world.persist(node);
            }
        }
        for node in &world.nodes {
            assert!(is_normal(&node.replica, &node.replica.applied), "not in normal form");
            assert!(is_normal(&node.replica, &node.replica.staged), "not in normal form");
        }
    }
}

fn is_normal(replica: &Replica, vector: &VersionVector) -> bool {
    let mut normal = VersionVector::new();
    replica.ancestry.join(&mut normal, vector);
    normal == *vector
}

/// Cuts all but the ways along the chain.
fn leave_chain(world: &mut World, chain: &[usize]) {
    let open: BTreeSet<_> = chain.windows(2).flat_map(|pair| [(pair[0], pair[1]), (pair[1], pair[0])]).collect();
    let all = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
    world.cut = all.filter(|ends| !open.contains(ends)).collect();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_is_way_enough(
        steps in proptest::collection::vec(step(), 1..150),
        chain in Just((0..NODES).collect::<Vec<_>>()).prop_shuffle(),
        named: bool,
    ) {
        let mut world = World::new(NODES, if named { by_name } else { addresses_only });
        play(&mut world, &steps);
        // What was read-only starts again.
        for node in 0..NODES {
            if world.nodes[node].replica.read_only {
                world.restart(node);
            }
        }
        leave_chain(&mut world, &chain);
        let healed_at = world.now_ms;
        world.settle();
        let took_ms = world.now_ms - healed_at;
        prop_assert!(took_ms < 15_000, "{} ms", took_ms);
        let expected = expected(&world);
        for node in 0..NODES {
            prop_assert_eq!(&held(&world, node), &expected, "node {}", node);
        }
        // One write more of each node, and every vector has one entry a node, however often they restarted.
        world.cut.clear();
        for node in 0..NODES {
            world.write(node, &[("a", Some("last"))], Replaces::Held);
            world.settle();
        }
        prop_assert!(world.nodes[0].replica.applied.len() == NODES, "{}", world.nodes[0].replica.applied);
    }
}

/// Every way takes a tick; ops arrive once.
#[test]
fn in_a_healthy_mesh_ops_arrive_once() {
    let mut world = World::new(5, |_| ());
    world.settle();
    let mut random = SplitMix64(7);
    for _ in 0..2_000 {
        let under_way = world.letters.len();
        (0..under_way).for_each(|_| drop(world.deliver(0)));
        for node in 0..5 {
            if random.next().is_multiple_of(8) {
                world.write(node, &[("a", Some("v"))], Replaces::Held);
            }
            if !random.next().is_multiple_of(3) {
                world.persist(node);
            }
        }
        world.tick(TICK_MS);
    }
    let received: u64 = world.nodes.iter().map(|node| node.replica.received_ops).sum();
    let redundant: u64 = world.nodes.iter().map(|node| node.replica.redundant_ops).sum();
    assert!(received > 1_000, "{received}");
    assert!(redundant * 20 <= received, "{redundant} of {received} ops were there before");
}

const MANY: usize = 24;

/// Everything under way arrives, and what follows from that.
fn deliver_all(world: &mut World) {
    while !world.letters.is_empty() {
        world.deliver(0);
        (0..MANY).for_each(|node| world.persist(node));
    }
}

fn pass(world: &mut World, ms: u64) {
    for _ in 0..ms / TICK_MS {
        world.tick(TICK_MS);
        deliver_all(world);
    }
}

/// Lets time pass until all nodes hold the same; says how much.
fn until_equal(world: &mut World) -> u64 {
    let began = world.now_ms;
    deliver_all(world);
    while world.vectors().windows(2).any(|pair| pair[0] != pair[1]) {
        assert!(world.now_ms - began < 60_000);
        pass(world, TICK_MS);
    }
    world.now_ms - began
}

fn many_nodes() -> World {
    let mut world = World::new(MANY, |_| ());
    for node in 0..MANY {
        world.write(node, &[("a", Some("v"))], Replaces::Held);
        world.persist(node);
        // They did not start all at once.
        world.tick(35);
    }
    until_equal(&mut world);
    pass(&mut world, 5_000);
    world
}

/// Idle peers of many are asked what they have less often.
#[test]
fn among_many_nodes_a_cut_link_is_bridged_in_about_a_second() {
    for apart in [0, 400, 1_100, 1_300] {
        let mut world = many_nodes();
        pass(&mut world, apart);
        world.cut.insert((0, MANY - 1));
        world.write(0, &[("a", Some("w"))], Replaces::Held);
        world.persist(0);
        let took_ms = until_equal(&mut world);
        assert!((500..1_500).contains(&took_ms), "{took_ms} ms");
    }
}

#[test]
fn many_nodes_catch_up_within_a_second_of_a_heal() {
    for cut_ms in [100, 800, 2_000, 9_000] {
        let mut world = many_nodes();
        let sides = (0..MANY).flat_map(|from| (0..MANY).map(move |to| (from, to)));
        world.cut = sides.filter(|(from, to)| (*from < MANY / 2) != (*to < MANY / 2)).collect();
        for node in [3, MANY - 3] {
            world.write(node, &[("a", Some("w"))], Replaces::Held);
            world.persist(node);
        }
        pass(&mut world, cut_ms);
        world.cut.clear();
        let took_ms = until_equal(&mut world);
        assert!(took_ms < 1_000, "{took_ms} ms after {cut_ms} ms");
    }
}
