//! One replica, and a peer that the test plays: what must not happen whatever the peer says or does.

use super::super::*;
use super::world::World;
use crate::causality::WallMs;

const PEER: NodeId = NodeId(1);

/// A replica of node 0 with one peer, on an empty store.
pub(super) struct Lone {
    pub(super) replica: Replica,
    pub(super) now_ms: u64,
    position: u64,
}

impl Lone {
    pub(super) fn new(peer: Option<NodeId>) -> Self {
        Self::with(ReplicaOptions::new("test", NodeId(0), vec![peer]))
    }

    pub(super) fn with(options: ReplicaOptions) -> Self {
        let peers = options.peers.len();
        let replica = Replica::new(options, Seed { boot: 1, random: 1 }, Recovered::default());
        let mut lone = Self { replica, now_ms: 1_000, position: 0 };
        assert_eq!(lone.feed(Input::Tick).len(), peers, "the first digests");
        lone
    }

    pub(super) fn feed(&mut self, input: Input) -> Vec<Effect> {
        let now = Now { mono: MonoMs(self.now_ms), wall: WallMs(self.now_ms) };
        self.replica.handle(now, input, &std::collections::BTreeMap::new())
    }

    pub(super) fn after(&mut self, ms: u64) -> &mut Self {
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
        let write = Write { entries, replaces: Replaces::Held, trace: None, once: None };
        drop(self.feed(Input::Write { request: RequestId(0), write }));
        drop(self.persist());
        self.replica.applied.entries_of(NodeId(0)).next().unwrap()
    }

    pub(super) fn answered(&mut self, carried: Vec<Dot>, receiver: Statement, implied: Vec<Dot>) -> Vec<Effect> {
        let answer = Answer { receiver, implied, missing: Vec::new(), redundant: 0, twin_ms: None };
        self.feed(Input::Answered { link: LinkId(0), carried, answer })
    }

    fn heard(&mut self, sender: Statement, ops: Vec<Arc<Op>>) -> Vec<Effect> {
        let push = Push { cluster: "test".into(), to: None, sender, ops, echo: None };
        self.feed(Input::Push { request: RequestId(0), push })
    }

    /// Another node's op, brought by that node and durable.
    pub(super) fn takes(&mut self, op: Op) {
        let statement = statement(op.dot.origin.node, 3, op.dot.counter, &[op.dot]);
        drop(self.heard(statement, vec![Arc::new(op)]));
        drop(self.persist());
    }

    fn lacks(&self) -> Vec<OpRange> {
        let view = self.replica.view();
        view.lacks(&view.links[0])
    }
}

pub(super) fn statement(node: NodeId, boot: u64, number: u64, vector: &[Dot]) -> Statement {
    Statement {
        node,
        boot,
        number,
        vector: vector.iter().copied().collect(),
        protocol: Protocol::OWN,
        wants_state: false,
    }
}

fn sends_ops(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Send(send) if !send.probe))
}

fn op_of(origin: Origin) -> Arc<Op> {
    Arc::new(op(origin.dot(1), &[]))
}

pub(super) fn op(dot: Dot, parents: &[Dot]) -> Op {
    let entries = vec![Entry { key: "k".into(), value: Some("v".into()), replaces: Vec::new() }];
    let (deps, hlc) = (Vec::new(), crate::causality::Hlc::default());
    Op { dot, parents: parents.to_vec(), deps, hlc, entries, trace: None, idempotency_key: None }
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

/// The peer took an op and can't deliver it yet: its statement does not include it.
#[test]
fn what_a_peer_took_is_not_sent_again_while_it_may_wait_there() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    let own = lone.write();
    let effects = lone.answered(vec![own], statement(PEER, 7, 2, &[]), Vec::new());
    assert!(!sends_ops(&effects), "sent again at once");
    let digest = lone.after(500).feed(Input::Tick);
    assert!(digest.len() == 1 && !sends_ops(&digest), "{digest:?}");
    drop(lone.answered(Vec::new(), statement(PEER, 7, 3, &[]), Vec::new()));
    drop(lone.after(500).feed(Input::Tick));
    let effects = lone.answered(Vec::new(), statement(PEER, 7, 4, &[]), Vec::new());
    assert!(sends_ops(&effects), "after a second it may be lost there");
}

/// It waits there for an op of another node, perhaps for long.
#[test]
fn what_a_peer_took_and_cannot_deliver_is_sent_again_once_a_second() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    let own = lone.write();
    let mut number = 1;
    let mut pushes = 0;
    for _ in 0..100 {
        drop(lone.after(50).feed(Input::Tick));
        // As long as an answer makes it push again, that is answered at once, too.
        for _ in 0..20 {
            number += 1;
            if !sends_ops(&lone.answered(vec![own], statement(PEER, 7, number, &[]), Vec::new())) {
                break;
            }
            pushes += 1;
        }
    }
    assert!((4..=5).contains(&pushes), "{pushes} pushes in five seconds");
}

/// Two nodes bring a third one's ops to the same peer; one of them stops.
#[test]
fn a_peer_that_had_a_forwarded_op_before_gets_no_more_of_its_origin_at_once() {
    for (redundant, goes_on) in [(0, true), (1, false)] {
        let mut lone = Lone::new(Some(PEER));
        let other = Origin::new(NodeId(5), Incarnation(9));
        lone.takes(op(other.dot(1), &[]));
        drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
        drop(lone.after(600).feed(Input::Tick));
        let forwards = lone.answered(Vec::new(), statement(PEER, 7, 2, &[]), Vec::new());
        assert!(sends_ops(&forwards), "the direct way is cut");
        // Meanwhile there is one more.
        lone.takes(op(other.dot(2), &[]));
        let receiver = statement(PEER, 7, 3, &[other.dot(1)]);
        let answer = Answer { receiver, implied: Vec::new(), missing: Vec::new(), redundant, twin_ms: None };
        let effects = lone.feed(Input::Answered { link: LinkId(0), carried: vec![other.dot(1)], answer });
        assert_eq!(sends_ops(&effects), goes_on, "{redundant} of the ops were there before");
    }
}

/// This node's own ops go on, even when somebody else brought one of them first.
#[test]
fn a_redundant_op_of_this_node_does_not_make_it_forget_what_lags() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    let own = lone.write();
    let answer = |number| Answer {
        receiver: statement(PEER, 7, number, &[]),
        implied: Vec::new(),
        missing: Vec::new(),
        redundant: 1,
        twin_ms: None,
    };
    drop(lone.feed(Input::Answered { link: LinkId(0), carried: vec![own], answer: answer(2) }));
    drop(lone.after(600).feed(Input::Tick));
    drop(lone.feed(Input::Answered { link: LinkId(0), carried: vec![own], answer: answer(3) }));
    drop(lone.after(600).feed(Input::Tick));
    let effects = lone.feed(Input::Answered { link: LinkId(0), carried: Vec::new(), answer: answer(4) });
    assert!(sends_ops(&effects), "it lags since more than a second");
}

/// It answers, and takes no ops; now it pushes something itself.
#[test]
fn a_peer_that_refuses_ops_is_not_tried_sooner_because_it_was_heard() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    lone.write();
    let mut number = 2;
    let mut tries = 0;
    while sends_ops(&lone.answered(Vec::new(), statement(PEER, 7, number, &[]), Vec::new())) {
        (number, tries) = (number + 1, tries + 1);
        assert!(tries < 10, "no pause");
    }
    let effects = lone.heard(statement(PEER, 7, number + 1, &[]), Vec::new());
    assert!(!sends_ops(&effects), "what it says did not end the pause");
}

/// A peer that lost the answer pushes the same op again while it waits in the delivery buffer.
#[test]
fn an_op_that_waits_is_not_taken_twice() {
    let mut lone = Lone::new(Some(PEER));
    let other = Origin::new(PEER, Incarnation(9));
    let second = Arc::new(op(other.dot(2), &[]));
    assert_eq!(lone.replica.view().waiting_ops, 0);
    drop(lone.heard(statement(PEER, 7, 1, &[]), vec![second.clone()]));
    drop(lone.heard(statement(PEER, 7, 2, &[]), vec![second]));
    let view = lone.replica.view();
    assert_eq!((view.waiting_ops, view.redundant_ops), (1, 1));
}

/// Refused for lack of room, for more reasons than an answer has room to name.
#[test]
fn an_answer_names_sixteen_missing_ops_at_most() {
    let mut options = ReplicaOptions::new("test", NodeId(0), vec![Some(PEER)]);
    options.max_waiting_ops = 0;
    let mut lone = Lone::with(options);
    let ops = (0..40).map(|life| Arc::new(op(Origin::new(PEER, Incarnation(life)).dot(2), &[])));
    let effects = lone.heard(statement(PEER, 7, 1, &[]), ops.collect());
    let missing = effects.into_iter().find_map(|effect| match effect {
        Effect::Pushed { outcome: Ok(answer), .. } => Some(answer.missing.len()),
        _ => None,
    });
    assert_eq!(missing, Some(16));
}

/// The peer said that it has an incarnation by implication; this node does not know of what.
#[test]
fn what_is_implied_at_a_peer_implies_its_parents_there() {
    let mut lone = Lone::new(Some(PEER));
    let lives = [1, 2, 3].map(|life| Origin::new(NodeId(5), Incarnation(life)).dot(1));
    lone.takes(op(lives[0], &[]));
    lone.takes(op(lives[1], &[lives[0]]));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    assert_eq!(lone.lacks().len(), 2);
    drop(lone.answered(Vec::new(), statement(PEER, 7, 2, &[lives[2]]), vec![lives[1]]));
    assert_eq!(lone.lacks(), []);
}

/// Its first pushes after a start name a life that this node has not heard of; only its answers say what that implies.
#[test]
fn a_peer_that_was_restarted_is_sent_its_earlier_lives_only_once_it_says_that_it_lacks_them() {
    let lives = [1, 2, 3].map(|life| Origin::new(PEER, Incarnation(life)).dot(1));
    for (implied, lacks) in [(vec![lives[1]], false), (vec![], true)] {
        let mut lone = Lone::new(Some(PEER));
        drop(lone.answered(Vec::new(), statement(PEER, 3, 0, &[]), Vec::new()));
        lone.takes(op(lives[0], &[]));
        drop(lone.heard(statement(PEER, 3, 2, &[lives[1]]), vec![Arc::new(op(lives[1], &[lives[0]]))]));
        drop(lone.persist());
        drop(lone.heard(statement(PEER, 8, 1, &[lives[2]]), Vec::new()));
        let effects = lone.after(600).heard(statement(PEER, 8, 2, &[lives[2]]), Vec::new());
        let asks = effects.iter().any(|effect| matches!(effect, Effect::Send(send) if send.ops.is_empty()));
        assert!(asks, "what it has is asked for, and nothing is sent: {effects:?}");
        drop(lone.answered(Vec::new(), statement(PEER, 8, 3, &[lives[2]]), implied.clone()));
        let effects = lone.after(600).answered(Vec::new(), statement(PEER, 8, 4, &[lives[2]]), implied);
        assert_eq!(sends_ops(&effects), lacks, "{effects:?}");
    }
}

/// A late copy of a push says again what was known before: that is no sign that nothing moves.
#[test]
fn a_statement_heard_again_shows_no_lack_of_progress() {
    let mut lone = Lone::new(Some(PEER));
    lone.takes(op(Origin::new(NodeId(5), Incarnation(9)).dot(1), &[]));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    let again = lone.after(600).heard(statement(PEER, 7, 1, &[]), Vec::new());
    assert!(!sends_ops(&again));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    let effects = lone.answered(Vec::new(), statement(PEER, 7, 2, &[]), Vec::new());
    assert!(sends_ops(&effects), "half a second, and nothing moved");
}

/// What waited in its delivery buffer is gone.
#[test]
fn a_peer_that_restarted_gets_what_it_took_before_at_once() {
    let mut lone = Lone::new(Some(PEER));
    drop(lone.answered(Vec::new(), statement(PEER, 7, 1, &[]), Vec::new()));
    let own = lone.write();
    drop(lone.answered(vec![own], statement(PEER, 7, 2, &[]), Vec::new()));
    drop(lone.after(500).feed(Input::Tick));
    let effects = lone.answered(Vec::new(), statement(PEER, 8, 1, &[]), Vec::new());
    assert!(sends_ops(&effects));
    drop(lone.heard(statement(PEER, 7, 3, &[own]), Vec::new()));
    assert_eq!(lone.lacks().len(), 1, "a push from before the restart says nothing of now");
}

/// Node 3 could forward to node 1, and so could 0, 2 and 4; one of the others is where the op comes from.
#[test]
fn each_node_waits_a_little_longer_than_the_next_lower_before_it_forwards() {
    let others = [1, 0, 2, 4].map(|node| Some(NodeId(node)));
    for (ms, forwards) in [(599, false), (600, true)] {
        let mut lone = Lone::with(ReplicaOptions::new("test", NodeId(3), others.to_vec()));
        lone.takes(op(Origin::new(NodeId(4), Incarnation(9)).dot(1), &[]));
        drop(lone.answered(Vec::new(), statement(NodeId(1), 7, 1, &[]), Vec::new()));
        drop(lone.after(ms).feed(Input::Tick));
        let effects = lone.answered(Vec::new(), statement(NodeId(1), 7, 2, &[]), Vec::new());
        assert_eq!(sends_ops(&effects), forwards, "after {ms} ms");
    }
}

/// The published test vector of the generator, for the seed 1234567.
#[test]
fn random_bits_are_those_of_splitmix() {
    let mut random = SplitMix64(1_234_567);
    let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
    assert_eq!([(); 3].map(|()| random.next()), expected);
}

/// A node whose log does not begin with its first op, and a peer that has nothing.
#[test]
fn a_peer_that_would_have_to_understand_more_than_it_does_is_known() {
    let own = Origin::new(NodeId(0), crate::causality::Incarnation(7));
    let vector: VersionVector = [own.dot(9)].into_iter().collect();
    let recovered = Recovered {
        checkpoint: Checkpoint { vector, position: 9, ..Checkpoint::default() },
        floor: [own.dot(4)].into_iter().collect(),
        ..Recovered::default()
    };
    let options = ReplicaOptions::new("test", NodeId(0), vec![Some(PEER)]);
    let replica = Replica::new(options, Seed { boot: 1, random: 1 }, recovered);
    let mut lone = Lone { replica, now_ms: 1_000, position: 9 };
    drop(lone.feed(Input::Tick));
    let not_understood = |lone: &Lone| {
        let view = lone.replica.view();
        view.not_understood(&view.links[0], &view.lacks(&view.links[0]))
    };
    assert_eq!(not_understood(&lone), None, "nothing is known of it yet");
    let mut number = 0;
    let mut says = |lone: &mut Lone, protocol, has: u64| {
        number += 1;
        let dots: Vec<Dot> = (has > 0).then(|| own.dot(has)).into_iter().collect();
        drop(lone.answered(Vec::new(), Statement { protocol, ..statement(PEER, 2, number, &dots) }, Vec::new()));
    };
    says(&mut lone, Protocol::OWN, 0);
    assert_eq!(not_understood(&lone), None);
    assert_eq!(lone.replica.view().links[0].protocol, Some(Protocol::OWN));
    says(&mut lone, Protocol::UNSAID, 3);
    assert_eq!(not_understood(&lone), Some(Feature::StateTransfer));
    assert_eq!(lone.replica.view().links[0].protocol, Some(Protocol::UNSAID));
    says(&mut lone, Protocol::UNSAID, 4);
    assert_eq!(not_understood(&lone), None, "the log has all that it lacks");
}
