//! Random schedules: whatever is lost, cut, delayed, doubled or restarted, in the end all nodes hold the same,
//! and it is what the ops themselves say it must be.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::world::World;
use crate::causality::{CausalContext, Dot, MAX_SEEN_DOTS};

#[derive(Clone, Debug)]
enum Step {
    Write { node: usize, key: usize, delete: bool, second: bool },
    WriteSeen { node: usize, key: usize },
    Read { node: usize },
    Persist { node: usize },
    Deliver { pick: usize },
    Duplicate { pick: usize },
    Cut { from: usize, to: usize },
    HealAll,
    Tick { ms: u64 },
    Restart { node: usize },
    Trim { node: usize, keep: usize },
    CopyDisk { node: usize },
    RestoreDisk { node: usize },
}

const NODES: usize = 3;
const KEYS: [&str; 2] = ["a", "b"];

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    prop_oneof![
        6 => (node.clone(), 0..2usize, proptest::bool::weighted(0.2), any::<bool>())
            .prop_map(|(node, key, delete, second)| Step::Write { node, key, delete, second }),
        3 => (node.clone(), 0..2usize).prop_map(|(node, key)| Step::WriteSeen { node, key }),
        2 => node.clone().prop_map(|node| Step::Read { node }),
        8 => node.clone().prop_map(|node| Step::Persist { node }),
        16 => (0..8usize).prop_map(|pick| Step::Deliver { pick }),
        1 => (0..8usize).prop_map(|pick| Step::Duplicate { pick }),
        2 => (node.clone(), node.clone()).prop_map(|(from, to)| Step::Cut { from, to }),
        1 => Just(Step::HealAll),
        4 => (1..700u64).prop_map(|ms| Step::Tick { ms }),
        1 => node.clone().prop_map(|node| Step::Restart { node }),
        1 => node.clone().prop_map(|node| Step::CopyDisk { node }),
        1 => node.prop_map(|node| Step::RestoreDisk { node }),
    ]
}

/// The same, with logs that are trimmed, whoever still lacks what goes.
fn trimming_step() -> impl Strategy<Value = Step> {
    prop_oneof![15 => step(), 1 => (0..NODES, 0..4usize).prop_map(|(node, keep)| Step::Trim { node, keep })]
}

fn small_buffer(options: &mut ReplicaOptions) {
    options.max_waiting_ops = 3;
}

/// Plays a schedule, heals everything, lets it settle. Also returns the ops that only a disk held that was
/// replaced by an older copy: these alone may be lost.
fn play(steps: &[Step]) -> (World, BTreeSet<Dot>) {
    let mut world = World::new(NODES, small_buffer);
    let mut client = Client::default();
    let mut gone = BTreeSet::new();
    for (index, step) in steps.iter().enumerate() {
        let value = index.to_string();
        match *step {
            Step::Write { node, key, delete, second } => {
                let value = (!delete).then_some(value.as_str());
                let entries: Vec<_> = std::iter::once((KEYS[key], value))
                    .chain(second.then_some((KEYS[1 - key], Some("both"))))
                    .collect();
                world.write(node, &entries, Replaces::Held);
            }
            Step::WriteSeen { node, key } => client.write(&mut world, node, KEYS[key], &value),
            Step::Read { node } => client.read(&world, node),
            Step::Persist { node } => world.persist(node),
            Step::Deliver { pick } => {
                let pick = pick % world.letters.len().max(1);
                world.deliver(pick);
            }
            Step::Duplicate { pick } => duplicate(&mut world, pick),
            Step::Cut { from, to } => {
                world.cut.insert((from, to));
            }
            Step::HealAll => world.cut.clear(),
            Step::Tick { ms } => world.tick(ms),
            Step::Restart { node } => world.restart(node),
            Step::Trim { node, keep } => world.trim(node, keep),
            Step::CopyDisk { node } => world.copy_disk(node),
            Step::RestoreDisk { node } => {
                let before = world.included(node);
                world.restore_disk(node);
                let elsewhere: BTreeSet<Dot> = (0..NODES).flat_map(|other| world.included(other)).collect();
                gone.extend(before.difference(&elsewhere));
                client = Client::default();
            }
        }
    }
    world.cut.clear();
    world.settle();
    (world, gone)
}

/// The ops on a node's disk.
fn dots(world: &World, node: usize) -> BTreeSet<Dot> {
    world.nodes[node].log.values().map(|op| op.dot).collect()
}

/// A client that passes its context on, and remembers by itself which ops it has seen.
#[derive(Default)]
struct Client {
    context: CausalContext,
    seen: BTreeSet<Dot>,
    writes_since_read: usize,
}

impl Client {
    fn read(&mut self, world: &World, node: usize) {
        self.context = CausalContext::of_state(world.nodes[node].replica.applied.clone());
        self.seen = world.included(node);
        self.writes_since_read = 0;
    }

    /// Writes where the session allows it; the write must replace just what was seen.
    fn write(&mut self, world: &mut World, node: usize, key: &str, value: &str) {
        world.persist(node);
        let replica = &world.nodes[node].replica;
        if !replica.ancestry.includes(&replica.applied, &self.context.wait) {
            return;
        }
        let held = world.nodes[node].keys.get(key).cloned().unwrap_or_default();
        let mut replaced: Vec<Dot> =
            held.iter().map(|sibling| sibling.dot).filter(|dot| self.seen.contains(dot)).collect();
        world.write(node, &[(key, Some(value))], Replaces::Seen(self.context.clone()));
        world.persist(node);
        let written = world.effects.iter().rev().find_map(|(_, effect)| match effect {
            Effect::Written { outcome: Ok(written), .. } => Some(written.clone()),
            _ => None,
        });
        let written = written.unwrap();
        let op = world.nodes[node].log.values().next_back().unwrap();
        if self.writes_since_read > MAX_SEEN_DOTS {
            // The oldest dots may have been forgotten: a sibling too many, never one too few.
            replaced.retain(|dot| op.entries[0].replaces.contains(dot));
        }
        assert_eq!(op.entries[0].replaces, replaced, "replaced and seen");
        self.context = written.context;
        self.seen.insert(written.dot);
        self.writes_since_read += 1;
    }
}

/// The network delivers old traffic again: a push whose answer nobody waits for.
fn duplicate(world: &mut World, pick: usize) {
    use super::world::Letter;
    let pushes = world.letters.iter().filter_map(|letter| match letter {
        Letter::Push { to, push, .. } => Some((*to, push.clone())),
        _ => None,
    });
    let pushes: Vec<_> = pushes.collect();
    if let Some((to, push)) = pushes.get(pick % pushes.len().max(1)) {
        world.push_again(*to, push.clone());
    }
}

/// For each key the values that must be left: all that were written, less what any op replaces.
pub(super) fn expected(world: &World) -> BTreeMap<String, BTreeSet<Dot>> {
    let mut written: BTreeMap<String, BTreeSet<Dot>> = BTreeMap::new();
    let ops: Vec<_> = world.included(0).iter().map(|dot| &world.archive[dot]).collect();
    for op in &ops {
        for entry in op.entries.iter().filter(|entry| entry.value.is_some()) {
            written.entry(entry.key.to_string()).or_default().insert(op.dot);
        }
    }
    for entry in ops.iter().flat_map(|op| &op.entries) {
        if let Some(dots) = written.get_mut(&*entry.key) {
            dots.retain(|dot| !entry.replaces.contains(dot));
        }
    }
    written.retain(|_, dots| !dots.is_empty());
    written
}

pub(super) fn held(world: &World, node: usize) -> BTreeMap<String, BTreeSet<Dot>> {
    let keys = world.nodes[node].keys.iter();
    keys.map(|(key, siblings)| (key.to_string(), siblings.iter().map(|sibling| sibling.dot).collect())).collect()
}

/// Every dot that a client was told of.
fn acknowledged(world: &World) -> BTreeSet<Dot> {
    let written = world.effects.iter().filter_map(|(_, effect)| match effect {
        Effect::Written { outcome: Ok(written), .. } => Some(written.dot),
        _ => None,
    });
    written.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_end_equal_with_nothing_lost(steps in proptest::collection::vec(step(), 1..120)) {
        let (world, gone) = play(&steps);
        let expected = expected(&world);
        for node in 0..NODES {
            prop_assert_eq!(&held(&world, node), &expected, "node {}", node);
            let log = dots(&world, node);
            prop_assert_eq!(log.len(), world.nodes[node].log.len(), "an op was applied twice");
            let missing: Vec<_> = acknowledged(&world).into_iter().filter(|dot| !log.contains(dot) && !gone.contains(dot)).collect();
            prop_assert!(missing.is_empty(), "acknowledged writes are missing on {}: {:?}", node, missing);
            prop_assert!(in_causal_order(&world, node), "node {} applied an op before one it depends on", node);
            prop_assert_eq!(world.nodes[node].replica.applied_totals.keys, expected.len() as u64);
        }
    }

    #[test]
    fn with_logs_that_are_trimmed_all_nodes_end_equal_with_nothing_lost(
        steps in proptest::collection::vec(trimming_step(), 1..120),
    ) {
        let (world, gone) = play(&steps);
        let expected = expected(&world);
        for node in 0..NODES {
            prop_assert_eq!(&held(&world, node), &expected, "node {}", node);
            let included = world.included(node);
            let missing: Vec<_> = acknowledged(&world).into_iter().filter(|dot| !included.contains(dot) && !gone.contains(dot)).collect();
            prop_assert!(missing.is_empty(), "acknowledged writes are missing on {}: {:?}", node, missing);
            prop_assert_eq!(world.nodes[node].replica.applied_totals.keys, expected.len() as u64);
        }
    }

    /// Merging two states gives what delivering each side's ops to the other gives.
    #[test]
    fn a_merge_of_states_equals_the_delivery_of_their_ops(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new(NODES, small_buffer);
        for (index, step) in steps.iter().enumerate() {
            match *step {
                Step::Write { node, key, delete, .. } => {
                    world.write(node, &[(KEYS[key], (!delete).then_some(index.to_string().as_str()))], Replaces::Held);
                }
                Step::Tick { .. } => world.tick(40),
                Step::Cut { from, to } => { world.cut.insert((from, to)); }
                _ => { (0..NODES).for_each(|node| world.persist(node)); world.deliver(0); }
            }
        }
        (0..NODES).for_each(|node| world.persist(node));
        let states: Vec<_> = world.nodes.iter().map(|node| (node.keys.clone(), node.replica.applied.clone())).collect();
        world.cut.clear();
        world.settle();
        let ancestry = &world.nodes[0].replica.ancestry;
        for key in KEYS {
            let state = |node: usize| (states[node].0.get(key).cloned().unwrap_or_default(), states[node].1.clone());
            let merge = |left: (Siblings, VersionVector), right: (Siblings, VersionVector)| {
                let merging = Merging::new(&left.1, 0, &right.1, ancestry);
                (merging.merge(&left.0, &right.0), merging.vector().clone())
            };
            let dots = |state: &(Siblings, VersionVector)| state.0.iter().map(|sibling| sibling.dot).collect::<BTreeSet<_>>();
            let left = merge(merge(state(0), state(1)), state(2));
            let right = merge(state(0), merge(state(1), state(2)));
            prop_assert_eq!(dots(&left), dots(&right), "associative");
            prop_assert_eq!(dots(&merge(state(0), state(1))), dots(&merge(state(1), state(0))), "commutative");
            prop_assert_eq!(&merge(state(0), state(0)), &state(0), "idempotent");
            let delivered = held(&world, 0).remove(key).unwrap_or_default();
            prop_assert_eq!(dots(&left), delivered, "merge and delivery agree");
            prop_assert_eq!(&left.1, &world.nodes[0].replica.applied);
        }
    }
}

fn in_causal_order(world: &World, node: usize) -> bool {
    let mut vector = VersionVector::new();
    let mut ancestry = Ancestry::new();
    world.nodes[node].log.values().all(|op| {
        let previous = (op.dot.counter > 1).then(|| op.dot.origin.dot(op.dot.counter - 1));
        let mut wanted = previous.iter().chain(&op.parents).chain(&op.deps);
        let in_order = wanted.all(|dot| ancestry.covers(&vector, *dot));
        ancestry.insert(op.dot.origin, &op.parents);
        ancestry.advance(&mut vector, op.dot);
        in_order
    })
}

/// A peer with room for three waiting ops gets two interdependent origins' backlogs: refusals must lead to
/// progress, not to a standstill.
#[test]
fn a_full_buffer_delays_but_never_blocks() {
    let mut world = World::new(NODES, small_buffer);
    world.tick(TICK_MS);
    world.cut.extend([(0, 2), (1, 2)]);
    for round in 0..40 {
        world.write(round % 2, &[("a", Some(&round.to_string()))], Replaces::Held);
        (0..20).for_each(|_| {
            (0..NODES).for_each(|node| world.persist(node));
            world.deliver(0);
        });
        world.tick(TICK_MS);
    }
    world.cut.clear();
    world.cut.insert((0, 2));
    world.settle();
    assert_eq!(world.nodes[2].log.len(), 40);
}
