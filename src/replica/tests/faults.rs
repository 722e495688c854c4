//! One replica, and a peer that the test plays: what must not happen whatever the peer says or does.

use super::super::*;
use super::world::World;
use crate::causality::WallMs;

const PEER: NodeId = NodeId(1);

/// A replica of node 0 with one peer, on an empty store.
struct Lone {
    replica: Replica,
    now_ms: u64,
    position: u64,
}

impl Lone {
    fn new(peer: Option<NodeId>) -> Self {
        let options = ReplicaOptions::new("test", NodeId(0), vec![peer]);
        let replica = Replica::new(options, Seed { boot: 1, random: 1 }, Recovered::default());
        let mut lone = Self { replica, now_ms: 1_000, position: 0 };
        assert_eq!(lone.feed(Input::Tick).len(), 1, "the first digest");
        lone
    }

    fn feed(&mut self, input: Input) -> Vec<Effect> {
        let now = Now { mono: MonoMs(self.now_ms), wall: WallMs(self.now_ms) };
        self.replica.handle(now, input, &std::collections::BTreeMap::new())
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    fn persist(&mut self) -> Vec<Effect> {
        self.position += 1;
        self.feed(Input::Persisted { through: self.position })
    }

    /// A durable write of this node.
    fn write(&mut self) -> Dot {
        let entries = vec![("k".into(), Some("v".into()))];
        let write = Write { entries, replaces: Replaces::Held, trace: None, idempotency_key: None };
        drop(self.feed(Input::Write { request: RequestId(0), write }));
        drop(self.persist());
        self.replica.applied.entries_of(NodeId(0)).next().unwrap()
    }

    fn answered(&mut self, carried: Vec<Dot>, receiver: Statement, implied: Vec<Dot>) -> Vec<Effect> {
        let answer = Answer { receiver, implied, missing: Vec::new(), redundant: 0 };
        self.feed(Input::Answered { link: LinkId(0), carried, answer })
    }

    fn heard(&mut self, sender: Statement, ops: Vec<Arc<Op>>) -> Vec<Effect> {
        let push = Push { cluster: "test".into(), to: None, sender, ops };
        self.feed(Input::Push { request: RequestId(0), push })
    }

    fn lacks(&self) -> Vec<OpRange> {
        self.replica.view().links[0].lacks.clone()
    }
}

fn statement(node: NodeId, boot: u64, number: u64, vector: &[Dot]) -> Statement {
    Statement { node, boot, number, vector: vector.iter().copied().collect() }
}

fn sends_ops(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Send(send) if !send.probe))
}

fn op_of(origin: Origin) -> Arc<Op> {
    let entries = vec![Entry { key: "k".into(), value: Some("v".into()), replaces: Vec::new() }];
    let (parents, deps, hlc) = (Vec::new(), Vec::new(), crate::causality::Hlc::default());
    Arc::new(Op { dot: origin.dot(1), parents, deps, hlc, entries, trace: None, idempotency_key: None })
}

/// A node that takes no ops, but answers digests: each answer makes the next push look possible.
#[test]
fn a_peer_that_refuses_ops_and_answers_digests_is_not_tried_without_a_pause() {
    let mut world = World::new(2, |_| ());
    world.settle();
    world.fail_commit(1);
    world.write(0, &[("k", Some("v"))], Replaces::Held);
    world.persist(0);
    world.tick(600);
    let mut letters = 0;
    while letters < 100 && !world.letters.is_empty() {
        world.deliver(0);
        letters += 1;
    }
    assert!(letters < 20, "{letters} messages, and no time passed");
    let before = world.effects.len();
    for _ in 0..40 {
        world.tick(TICK_MS);
        (0..8).for_each(|_| drop(world.deliver(0)));
    }
    let pushes = world.effects[before..].iter().filter(|(_, effect)| sends_ops(std::slice::from_ref(effect))).count();
    assert!((2..=8).contains(&pushes), "{pushes} pushes in a second");
}

/// The shell found none of the ops that it was to send.
#[test]
fn ops_that_the_log_does_not_give_are_not_asked_for_without_a_pause() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    lone.write();
    let tries = (2..50)
        .take_while(|number| sends_ops(&lone.answered(Vec::new(), statement(PEER, 7, *number, &[]), Vec::new())));
    assert!(tries.count() < 5);
}

/// Two processes of one identity: the one at the peer's address answers, the other only pushes.
#[test]
fn a_copy_of_a_peer_that_pushes_does_not_hide_the_one_that_answers() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    let copied = Origin::new(PEER, Incarnation(9));
    drop(lone.heard(statement(PEER, 8, 1, &[]), Vec::new()));
    drop(lone.heard(statement(PEER, 8, 2, &[copied.dot(1)]), vec![op_of(copied)]));
    drop(lone.persist());
    let own = lone.write();
    drop(lone.answered(vec![own], statement(PEER, 7, 2, &[own]), Vec::new()));
    let lacks = lone.lacks();
    assert_eq!(lacks, [OpRange { origin: copied, first: 1, last: 1 }], "what the one at the address lacks");
}

/// Peers hold an incarnation of this node that it doesn't know (its disk is an older copy).
#[test]
fn a_push_of_a_peer_does_not_undo_what_its_answer_said_is_implied() {
    let mut lone = Lone::new(Some(PEER));
    let own = lone.write();
    let unknown = Origin::new(NodeId(0), Incarnation(9)).dot(1);
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[unknown]), vec![own]));
    assert_eq!(lone.lacks(), []);
    drop(lone.heard(statement(PEER, 7, 2, &[unknown]), Vec::new()));
    assert_eq!(lone.lacks(), [], "it had it, so it has it");
}

/// A peer known by its address only: another node has the address now.
#[test]
fn how_long_one_node_lagged_says_nothing_about_the_next_at_its_address() {
    let mut lone = Lone::new(None);
    let other = Origin::new(NodeId(5), Incarnation(9));
    drop(lone.heard(statement(NodeId(5), 3, 1, &[other.dot(1)]), vec![op_of(other)]));
    drop(lone.persist());
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    lone.after(600);
    let rejection = Some(Rejection::Misdirected { actual: NodeId(2) });
    drop(lone.feed(Input::SendFailed { link: LinkId(0), rejection }));
    let effects = lone.answered(Vec::new(), statement(NodeId(2), 8, 1, &[]), Vec::new());
    assert!(!sends_ops(&effects), "forwarded at the first statement");
}
