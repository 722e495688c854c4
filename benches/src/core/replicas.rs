//! Whole replicas: writes, and pushes between two.

use std::collections::BTreeMap;
use std::hint::black_box;

use causeway::causality::{Dot, NodeId, WallMs};
use causeway::replica::{
    Answer, Effect, Input, Key, KeyStates, LinkId, MonoMs, Now, Op, Protocol, Push, Recovered, Replaces, Replica,
    ReplicaOptions, RequestId, Seed, Siblings, Statement, Unreadable, Write,
};

/// How many keys are written in turn.
const KEYS: u64 = 1000;
const OPS_A_PUSH: usize = 64;
/// After so many pushes all keys have a value.
pub(super) const FILLING_PUSHES: usize = KEYS as usize / OPS_A_PUSH + 1;

/// The stored siblings, in memory.
#[derive(Default)]
struct States(BTreeMap<Key, Siblings>);

impl KeyStates for States {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.0.get(key).cloned().unwrap_or_default())
    }
}

/// A replica with a store that never waits.
pub(super) struct Node {
    replica: Replica,
    states: States,
    requests: u64,
}

impl Node {
    pub(super) fn new(id: u32) -> Self {
        Self::of(id, 2)
    }

    /// One of so many.
    fn of(id: u32, nodes: u32) -> Self {
        let peers = (0..nodes).filter(|node| *node != id).map(|node| Some(NodeId(node))).collect();
        let options = ReplicaOptions::new("bench", NodeId(id), peers);
        let seed = Seed { boot: id.into(), random: id.into() };
        let replica = Replica::new(options, seed, Recovered::default());
        Self { replica, states: States::default(), requests: 0 }
    }

    /// With a value for each of the thousand keys.
    fn filled(id: u32) -> Self {
        let mut node = Self::new(id);
        for number in 0..KEYS {
            let effects = node.stage(write_of(number));
            node.commit(effects);
        }
        node
    }

    fn feed(&mut self, input: Input) -> Vec<Effect> {
        self.requests += 1;
        let now = Now { mono: MonoMs(self.requests), wall: WallMs(1_800_000_000_000 + self.requests) };
        self.replica.handle(now, input, &self.states)
    }

    /// Takes a push, and makes it durable; says the answer.
    fn take(&mut self, push: Push) -> Answer {
        let mut effects = self.feed(Input::Push { request: RequestId(0), push });
        let through = effects.iter().filter_map(|effect| match effect {
            Effect::Append(append) => Some(append.position),
            _ => None,
        });
        if let Some(through) = through.max() {
            effects = self.feed(Input::Persisted { through });
        }
        black_box(self.replica.view());
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Pushed { outcome, .. } => outcome.ok(),
            _ => None,
        });
        answer.expect("a push is answered")
    }

    /// Takes a peer's answer to a push.
    fn hear(&mut self, link: LinkId, carried: Vec<Dot>, answer: Answer) -> Vec<Effect> {
        let effects = self.feed(Input::Answered { link, carried, answer });
        black_box(self.replica.view());
        effects
    }

    fn stage(&mut self, write: Write) -> Vec<Effect> {
        self.feed(Input::Write { request: RequestId(self.requests), write })
    }

    /// Makes durable what was appended; says which ops that were.
    fn commit(&mut self, effects: Vec<Effect>) -> Vec<std::sync::Arc<Op>> {
        let mut through = 0;
        let mut ops = Vec::with_capacity(effects.len());
        for effect in effects {
            if let Effect::Append(append) = effect {
                through = append.position;
                self.states.0.extend(append.states);
                ops.push(append.op);
            }
        }
        let applied = self.feed(Input::Persisted { through });
        black_box(self.replica.checkpoint());
        black_box(applied);
        ops
    }
}

fn write_of(number: u64) -> Write {
    let entries = vec![(format!("key-{:08}", number % KEYS).into(), Some("v".repeat(32).into()))];
    Write { entries, replaces: Replaces::Held, trace: None, once: None }
}

/// A write, and its commit, to one of a thousand keys.
pub(super) fn write(times: usize) -> Box<dyn FnMut()> {
    let mut node = Node::filled(0);
    let mut writes: Vec<Write> = (0..times as u64).map(write_of).collect();
    Box::new(move || {
        let effects = node.stage(writes.pop().expect("as many as were prepared"));
        black_box(node.commit(effects));
    })
}

/// What gathers while a commit is under way, and the next commit.
pub(super) fn write_64(times: usize) -> Box<dyn FnMut()> {
    let mut node = Node::filled(0);
    let mut writes: Vec<Write> = (0..(times * OPS_A_PUSH) as u64).map(write_of).collect();
    Box::new(move || {
        let mut effects = Vec::new();
        for _ in 0..OPS_A_PUSH {
            effects.extend(node.stage(writes.pop().expect("as many as were prepared")));
        }
        black_box(node.commit(effects));
    })
}

/// Pushes of 64 ops each, as they follow on each other.
pub(super) fn pushes(times: usize) -> Vec<Push> {
    let mut node = Node::new(0);
    let push = |index: usize| {
        let first = (index * OPS_A_PUSH) as u64;
        let mut ops = Vec::with_capacity(OPS_A_PUSH);
        for number in first..first + OPS_A_PUSH as u64 {
            let effects = node.stage(write_of(number));
            ops.extend(node.commit(effects));
        }
        let vector = node.replica.view().vector;
        let sender = Statement {
            node: NodeId(0),
            boot: 0,
            number: index as u64 + 1,
            vector,
            protocol: Protocol::OWN,
            wants_state: false,
        };
        Push { cluster: "bench".into(), to: Some(NodeId(1)), sender, ops, echo: None }
    };
    (0..times).map(push).collect()
}

/// A push arrives, and is committed.
pub(super) fn deliver_64(times: usize) -> Box<dyn FnMut()> {
    let mut node = Node::new(1);
    let mut pushes = pushes(FILLING_PUSHES + times).into_iter();
    let mut deliver = move || {
        let push = pushes.next().expect("as many as were prepared");
        let effects = node.feed(Input::Push { request: RequestId(0), push });
        let ops = node.commit(effects);
        assert_eq!(ops.len(), OPS_A_PUSH, "an op was not delivered");
    };
    (0..FILLING_PUSHES).for_each(|_| deliver());
    Box::new(deliver)
}

const MANY: u32 = 50;

/// Two of many nodes, which have an op of each of them.
fn two_of_many() -> [Node; 2] {
    let mut nodes: Vec<Node> = (0..MANY).map(|id| Node::of(id, MANY)).collect();
    for from in 0..MANY {
        let effects = nodes[from as usize].stage(write_of(from.into()));
        let ops = nodes[from as usize].commit(effects);
        let vector = nodes[from as usize].replica.view().vector;
        for to in (0..2).filter(|to| *to != from) {
            let sender = Statement {
                node: NodeId(from),
                boot: from.into(),
                number: 1,
                vector: vector.clone(),
                protocol: Protocol::OWN,
                wants_state: false,
            };
            let push = Push { cluster: "bench".into(), to: Some(NodeId(to)), sender, ops: ops.clone(), echo: None };
            nodes[to as usize].take(push);
        }
    }
    nodes.truncate(2);
    nodes.try_into().unwrap_or_else(|_| unreachable!("two are left"))
}

/// A push to the other of two nodes, and what follows from its answer.
fn exchange([own, other]: &mut [Node; 2], push: Push) {
    let carried = push.ops.last().map(|op| op.dot);
    let answer = other.take(push);
    black_box(own.hear(LinkId(0), carried.into_iter().collect(), answer));
}

/// One of many nodes asks another what it has, and is told: nothing new.
pub(super) fn digest(times: usize) -> Box<dyn FnMut()> {
    let mut nodes = two_of_many();
    let vector = nodes[0].replica.view().vector;
    let sender = |number| Statement {
        node: NodeId(0),
        boot: 0,
        number,
        vector: vector.clone(),
        protocol: Protocol::OWN,
        wants_state: false,
    };
    let digest = |number| Push {
        cluster: "bench".into(),
        to: Some(NodeId(1)),
        sender: sender(number as u64 + 2),
        ops: Vec::new(),
        echo: None,
    };
    let mut digests: Vec<Push> = (0..times).map(digest).rev().collect();
    Box::new(move || exchange(&mut nodes, digests.pop().expect("as many as were prepared")))
}
