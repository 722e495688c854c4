//! Two living processes of one id are told; a process that was started again is not taken for two.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::world::World;
use crate::causality::{VersionVector, WallMs};

/// Everything goes on for so long.
fn pass(world: &mut World, ms: u64) {
    let until = world.now_ms + ms;
    while world.now_ms < until {
        for id in 0..world.nodes.len() {
            world.persist(id);
        }
        if world.letters.is_empty() {
            world.tick(TICK_MS);
        } else {
            world.deliver(0);
        }
    }
}

/// Of which ids a node knows that two processes have them.
fn twins(world: &World, node: usize) -> Vec<u32> {
    world.nodes[node].replica.view().twins.keys().map(|node| node.0).collect()
}

/// What was said since this was asked last: by whom, of which id, and whether two have it.
fn said(world: &mut World) -> BTreeSet<(usize, u32, bool)> {
    let said = std::mem::take(&mut world.effects).into_iter().filter_map(|(by, effect)| match effect {
        Effect::Twin { node, seen } => Some((by, node.0, seen)),
        _ => None,
    });
    let list: Vec<_> = said.collect();
    let set: BTreeSet<_> = list.iter().copied().collect();
    assert_eq!(list.len(), set.len(), "once a change");
    set
}

fn write(world: &mut World, node: usize, key: &str, value: &str) {
    world.write(node, &[(key, Some(value))], Replaces::Held);
    world.persist(node);
}

fn vector(world: &World, node: usize) -> VersionVector {
    world.nodes[node].replica.view().vector
}

#[test]
fn a_copied_disk_started_twice_is_told_to_all_and_the_writes_of_both_are_kept() {
    let mut world = World::new(3, |_| ());
    write(&mut world, 0, "before", "0");
    world.settle();
    let twin = world.start_twin(0);
    write(&mut world, 0, "a", "of the node");
    write(&mut world, twin, "a", "of the copy");
    write(&mut world, twin, "b", "of the copy");
    pass(&mut world, 5_000);
    for node in 0..4 {
        assert_eq!(twins(&world, node), [0], "as node {node} knows it");
    }
    assert_eq!(said(&mut world), (0..4).map(|by| (by, 0, true)).collect());
    assert!((0..3).all(|node| vector(&world, node) == vector(&world, 2)), "{:?}", world.vectors());
    for node in 0..3 {
        assert_eq!(world.nodes[node].keys["a"].len(), 2, "two writes that did not know of each other");
        assert_eq!(world.nodes[node].keys["b"].latest().unwrap().value.as_ref(), "of the copy");
    }

    // It goes on as long as both live, and is said once.
    pass(&mut world, 2 * PROOF_MS);
    assert_eq!(said(&mut world), BTreeSet::new());
    for peer in 0..3 {
        world.cut.extend([(twin, peer), (peer, twin)]);
    }
    pass(&mut world, PROOF_MS - 5_000);
    assert_eq!(twins(&world, 0), [0], "the copy lived a moment ago");
    pass(&mut world, 6_000);
    assert_eq!(said(&mut world), (0..4).map(|by| (by, 0, false)).collect());
    assert!((0..3).all(|node| twins(&world, node).is_empty()));
}

#[test]
fn one_node_that_hears_both_is_enough() {
    let mut world = World::new(3, |_| ());
    let twin = world.start_twin(0);
    world.cut.extend([(0, 1), (1, 0), (1, 2), (2, 1), (twin, 1), (1, twin)]);
    pass(&mut world, 5_000);
    assert_eq!([0, 1, 2, twin].map(|node| twins(&world, node)), [vec![0], vec![], vec![0], vec![0]]);
}

/// The address of a peer leads to a process with this node's id. It is told by the first answer, and the other by the next
/// push.
#[test]
fn who_finds_its_own_id_at_the_address_of_a_peer_knows_and_so_does_the_other() {
    for peer in [Some(NodeId(1)), None] {
        let process = |boot| {
            let options = ReplicaOptions::new("test", NodeId(0), vec![peer]);
            Replica::new(options, seed(boot), Recovered::default())
        };
        let (mut here, mut there) = (process(1), process(2));
        let push = send(here.handle(at(1_000), Input::Tick, &no_keys()));
        let answer = answer(there.handle(at(9_000), Input::Push { request: RequestId(0), push }, &no_keys()));
        assert!(there.view().twins.is_empty(), "the push may be of a run that has ended");
        let answered = Input::Answered { link: LinkId(0), carried: Vec::new(), answer };
        // The first retry is at once.
        let push = send(here.handle(at(1_010), answered, &no_keys()));
        assert!(here.view().twins.contains_key(&NodeId(0)), "{peer:?}");
        drop(there.handle(at(9_020), Input::Push { request: RequestId(1), push }, &no_keys()));
        assert!(there.view().twins.contains_key(&NodeId(0)), "{peer:?}");
    }
}

/// The address of a peer leads to this process itself.
#[test]
fn who_answers_itself_has_no_twin() {
    let options = ReplicaOptions::new("test", NodeId(0), vec![None]);
    let mut replica = Replica::new(options, seed(1), Recovered::default());
    let mut push = send(replica.handle(at(1_000), Input::Tick, &no_keys()));
    for _ in 0..2 {
        let answer = answer(replica.handle(at(1_000), Input::Push { request: RequestId(0), push }, &no_keys()));
        let answered = Input::Answered { link: LinkId(0), carried: Vec::new(), answer };
        drop(replica.handle(at(1_010), answered, &no_keys()));
        assert!(replica.view().twins.is_empty());
        drop(replica.handle(at(1_500), Input::SendFailed { link: LinkId(0), rejection: None }, &no_keys()));
        push = send(replica.handle(at(2_500), Input::Tick, &no_keys()));
    }
}

fn no_keys() -> BTreeMap<Key, Siblings> {
    BTreeMap::new()
}

fn sent(effects: Vec<Effect>) -> Option<Push> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Send(send) => Some(send.push),
        _ => None,
    })
}

fn send(effects: Vec<Effect>) -> Push {
    sent(effects).unwrap()
}

fn answer(effects: Vec<Effect>) -> Answer {
    let answer = effects.into_iter().find_map(|effect| match effect {
        Effect::Pushed { outcome, .. } => outcome.ok(),
        _ => None,
    });
    answer.unwrap()
}

fn seed(boot: u64) -> Seed {
    Seed { boot, random: boot }
}

fn at(ms: u64) -> Now {
    Now { mono: MonoMs(ms), wall: WallMs(ms) }
}

fn statement(node: NodeId, boot: u64, number: u64) -> Statement {
    Statement { node, boot, number, vector: VersionVector::new(), protocol: Protocol::OWN, wants_state: false }
}

/// The runs of one node, one after the other, and a peer that gets their pushes whenever the network likes.
struct Restarts {
    peer: Replica,
    /// Pushes under way; the network keeps them, and may give them again.
    under_way: Vec<Push>,
    boot: u64,
    numbers: u64,
    /// What the present run has of the peer.
    echo: Option<Echo>,
    now_ms: u64,
}

#[derive(Clone, Debug)]
enum Step {
    /// The present run pushes.
    Push,
    /// A push arrives, and stays under way; where the run is still there it may get the answer.
    Arrive {
        pick: usize,
        answered: bool,
    },
    /// The present run ends, and another begins.
    Restart,
    /// The peer starts again: from then on it counts its statements anew.
    PeerRestart,
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Push),
        8 => (0..30usize, any::<bool>()).prop_map(|(pick, answered)| Step::Arrive { pick, answered }),
        1 => Just(Step::Restart),
        1 => Just(Step::PeerRestart),
        2 => (1..2_000u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

impl Restarts {
    fn new() -> Self {
        Self { peer: Self::peer(1), under_way: Vec::new(), boot: 100, numbers: 0, echo: None, now_ms: 1_000 }
    }

    fn peer(boot: u64) -> Replica {
        let options = ReplicaOptions::new("test", NodeId(1), vec![Some(NodeId(0))]);
        Replica::new(options, seed(boot), Recovered::default())
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Push => {
                self.numbers += 1;
                let sender = statement(NodeId(0), self.boot, self.numbers);
                let (cluster, to) = ("test".into(), Some(NodeId(1)));
                self.under_way.push(Push { cluster, to, sender, ops: Vec::new(), echo: self.echo });
            }
            Step::Arrive { pick, answered } if !self.under_way.is_empty() => {
                let push = self.under_way[pick % self.under_way.len()].clone();
                let of_present = push.sender.boot == self.boot;
                let answer = self.arrive(push);
                assert_eq!(answer.twin_ms, None);
                let echo = Echo { boot: answer.receiver.boot, number: answer.receiver.number };
                let is_news = self.echo.is_none_or(|known| known.boot != echo.boot || known.number < echo.number);
                if of_present && answered && is_news {
                    self.echo = Some(echo);
                }
            }
            Step::Arrive { .. } => {}
            Step::Restart => (self.boot, self.numbers, self.echo) = (self.boot + 1, 0, None),
            Step::PeerRestart => self.peer = Self::peer(self.peer.boot + 1),
            Step::Pass { ms } => self.now_ms += ms,
        }
        assert!(self.peer.view().twins.is_empty(), "no two runs ever lived at the same time");
    }

    fn arrive(&mut self, push: Push) -> Answer {
        answer(self.peer.handle(at(self.now_ms), Input::Push { request: RequestId(0), push }, &no_keys()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever comes late, doubled and out of order, with the peer knowing one run before or after the other.
    #[test]
    fn runs_that_follow_each_other_are_never_taken_for_two(steps in prop::collection::vec(step(), 1..80)) {
        let mut restarts = Restarts::new();
        steps.iter().for_each(|step| restarts.take(step));
    }
}

/// The first push of a run that has ended comes when the next has long been heard: the run that the peer heard first is
/// then the later one.
#[test]
fn a_first_push_that_comes_after_its_run_has_ended_proves_nothing() {
    let mut restarts = Restarts::new();
    restarts.take(&Step::Push);
    restarts.take(&Step::Restart);
    for _ in 0..5 {
        restarts.take(&Step::Push);
        let pick = restarts.under_way.len() - 1;
        restarts.take(&Step::Arrive { pick, answered: true });
        restarts.take(&Step::Arrive { pick: 0, answered: false });
    }
}

/// A restart of a twin does not end the claim for long, and its peers' restarts don't either.
#[test]
fn who_starts_again_is_told_anew() {
    let mut world = World::new(3, |_| ());
    let twin = world.start_twin(0);
    pass(&mut world, 3_000);
    for again in [twin, 0, 1, 2] {
        world.restart(again);
        pass(&mut world, 3_000);
        assert!((0..4).all(|node| twins(&world, node) == [0]), "after a restart of {again}");
    }
}
