//! Whole replicas: writes, and pushes between two.

use std::collections::BTreeMap;
use std::hint::black_box;

use causeway::causality::{NodeId, WallMs};
use causeway::replica::{
    Effect, Input, Key, KeyStates, MonoMs, Now, Op, Push, Recovered, Replaces, Replica, ReplicaOptions, RequestId,
    Seed, Siblings, Statement, Unreadable, Write,
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
        let peers = vec![Some(NodeId(1 - id))];
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
    Write { entries, replaces: Replaces::Held, trace: None, idempotency_key: None }
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
        let sender = Statement { node: NodeId(0), boot: 0, number: index as u64 + 1, vector };
        Push { cluster: "bench".into(), to: Some(NodeId(1)), sender, ops }
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
