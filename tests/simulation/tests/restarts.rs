//! Ten thousand restarts of each of three nodes, with a write each, while one of them is cut off: afterwards vectors and
//! tokens are as small as after the first, each node knows ten thousand incarnations of each and no more, and once the one
//! cut off is back all nodes are equal.
//!
//! The replicas are the real ones. Their disks are in memory, the network loses what goes to or from the one cut off,
//! and nothing else goes wrong: that is for the simulated clusters.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use causeway::causality::{CausalContext, Dot, NodeId, Origin, VersionVector, WallMs};
use causeway::format;
use causeway::replica::{
    Answer, Append, Effect, Input, Key, KeyStates, LinkId, MonoMs, Now, Op, OpRange, Push, Recovered, Rejection,
    Replaces, Replica, ReplicaOptions, RequestId, Seed, Send, Siblings, Unreadable, Write,
};

const NODES: usize = 3;
const CUT_OFF: usize = 2;
/// How many restarts of each node, unless `CAUSEWAY_TEST_RESTARTS` says it.
const RESTARTS: usize = 10_000;
const BATCH_OPS: usize = 4_096;

#[derive(Default)]
struct Keys(BTreeMap<Key, Siblings>);

impl KeyStates for Keys {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.0.get(key).cloned().unwrap_or_default())
    }
}

struct Node {
    replica: Replica,
    keys: Keys,
    log: BTreeMap<Dot, (u64, Arc<Op>)>,
    recovered: Recovered,
    staged: Vec<Append>,
}

enum Letter {
    Push { from: usize, to: usize, link: LinkId, carried: Vec<Dot>, push: Push },
    Answer { to: usize, link: LinkId, carried: Vec<Dot>, outcome: Result<Answer, Rejection> },
}

struct Cluster {
    nodes: Vec<Node>,
    letters: VecDeque<Letter>,
    /// Pushes that are not answered yet: who answers, and for whom.
    open: BTreeMap<(usize, RequestId), (usize, LinkId, Vec<Dot>)>,
    cut: bool,
    now_ms: u64,
    requests: u64,
}

fn boot(id: usize, boot: u64, recovered: Recovered) -> Replica {
    let peers = (0..NODES).filter(|peer| *peer != id).map(|peer| Some(NodeId(peer as u32))).collect();
    let seed = boot * NODES as u64 + id as u64;
    Replica::new(ReplicaOptions::new("test", NodeId(id as u32), peers), Seed { boot: seed, random: seed }, recovered)
}

impl Cluster {
    fn new() -> Self {
        let node = |id| Node {
            replica: boot(id, 0, Recovered::default()),
            keys: Keys::default(),
            log: BTreeMap::new(),
            recovered: Recovered::default(),
            staged: Vec::new(),
        };
        let (letters, open) = Default::default();
        Self { nodes: (0..NODES).map(node).collect(), letters, open, cut: true, now_ms: 1_000, requests: 0 }
    }

    /// Starts a node on what its disk has, and writes to it.
    fn restart_and_write(&mut self, id: usize, value: u64) {
        let recovered = self.nodes[id].recovered.clone();
        self.nodes[id].replica = boot(id, value, recovered);
        let entries = vec![(Key::from(format!("k{id}").as_str()), Some(value.to_string().as_str().into()))];
        let request = self.request();
        let write = Write { entries, replaces: Replaces::Held, trace: None, once: None };
        self.feed(id, Input::Write { request, write });
        self.deliver_all();
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn feed(&mut self, id: usize, input: Input) {
        let now = Now { mono: MonoMs(self.now_ms), wall: WallMs(self.now_ms) };
        let node = &mut self.nodes[id];
        for effect in node.replica.handle(now, input, &node.keys) {
            match effect {
                Effect::Append(append) => self.nodes[id].staged.push(append),
                Effect::Send(send) => self.post(id, send),
                Effect::Pushed { request, outcome } => {
                    let (to, link, carried) = self.open.remove(&(id, request)).unwrap();
                    self.letters.push_back(Letter::Answer { to, link, carried, outcome });
                }
                Effect::Written { outcome, .. } => drop(outcome.unwrap()),
                _ => {}
            }
        }
    }

    /// What the sender of a node does.
    fn post(&mut self, from: usize, Send { link, push, ops, probe, .. }: Send) {
        let log = &self.nodes[from].log;
        let in_range = |range: &OpRange| log.range(range.origin.dot(range.first)..=range.origin.dot(range.last));
        let mut wanted: Vec<&(u64, Arc<Op>)> = ops.iter().flat_map(in_range).map(|(_, op)| op).collect();
        wanted.sort_unstable_by_key(|(position, _)| *position);
        let limit = if probe { 0 } else { BATCH_OPS };
        let ops: Vec<Arc<Op>> = wanted.into_iter().take(limit).map(|(_, op)| op.clone()).collect();
        let last: VersionVector = ops.iter().map(|op| op.dot).collect();
        let to = link.0 + usize::from(link.0 >= from);
        let push = Push { ops, ..push };
        self.letters.push_back(Letter::Push { from, to, link, carried: last.entries().collect(), push });
    }

    /// Until nothing is under way and all is durable.
    fn deliver_all(&mut self) {
        loop {
            (0..NODES).for_each(|id| self.persist(id));
            match self.letters.pop_front() {
                Some(Letter::Push { from, to, link, .. }) if self.cut && (from == CUT_OFF || to == CUT_OFF) => {
                    self.feed(from, Input::SendFailed { link, rejection: None });
                }
                Some(Letter::Push { from, to, link, carried, push }) => {
                    let request = self.request();
                    self.open.insert((to, request), (from, link, carried));
                    self.feed(to, Input::Push { request, push });
                }
                Some(Letter::Answer { to, link, carried, outcome }) => {
                    self.feed(to, Input::Answered { link, carried, answer: outcome.unwrap() });
                }
                None if self.nodes.iter().all(|node| node.staged.is_empty()) => return,
                None => {}
            }
        }
    }

    fn persist(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        if node.staged.is_empty() {
            return;
        }
        node.recovered.checkpoint = node.replica.checkpoint();
        for Append { position, op, states } in std::mem::take(&mut node.staged) {
            node.recovered.ancestry.insert(op.dot.origin, &op.parents);
            node.keys.0.extend(states);
            node.log.insert(op.dot, (position, op));
        }
        let through = node.recovered.checkpoint.position;
        self.feed(id, Input::Persisted { through });
    }

    fn tick(&mut self) {
        self.now_ms += 25;
        (0..NODES).for_each(|id| self.feed(id, Input::Tick));
        self.deliver_all();
    }

    fn vector(&self, id: usize) -> VersionVector {
        self.nodes[id].replica.view().vector
    }

    fn token(&self, id: usize) -> String {
        format::token::encode(&CausalContext::of_state(self.vector(id)))
    }

    /// The dots and values of every key.
    fn state(&self, id: usize) -> Vec<(Key, Vec<(Origin, String)>)> {
        let values = |siblings: &Siblings| {
            let mut values: Vec<_> =
                siblings.iter().map(|sibling| (sibling.dot.origin, sibling.value.to_string())).collect();
            values.sort();
            values
        };
        self.nodes[id].keys.0.iter().map(|(key, siblings)| (key.clone(), values(siblings))).collect()
    }
}

#[test]
fn ten_thousand_restarts_leave_vectors_and_tokens_as_small_as_one() {
    let restarts = std::env::var("CAUSEWAY_TEST_RESTARTS").map_or(RESTARTS, |wanted| wanted.parse().unwrap());
    let mut cluster = Cluster::new();
    (0..NODES).for_each(|id| cluster.restart_and_write(id, 1));
    let small: Vec<usize> = (0..NODES).map(|id| cluster.token(id).len()).collect();
    for value in 2..=restarts as u64 {
        for id in 0..NODES {
            cluster.restart_and_write(id, value);
        }
        cluster.tick();
        assert!(cluster.vector(0).len() <= 2 && cluster.vector(CUT_OFF).len() == 1, "{}", cluster.vector(0));
    }
    for (id, small) in small.into_iter().enumerate() {
        assert_eq!(cluster.token(id).len(), small, "the token of node {id}, which met as many nodes as at first");
    }
    cluster.cut = false;
    let mut ticks = 0;
    while (1..NODES).any(|id| cluster.vector(id) != cluster.vector(0)) {
        cluster.tick();
        ticks += 1;
        assert!(ticks < 400, "not equal after ten seconds: {} {}", cluster.vector(0), cluster.vector(CUT_OFF));
    }
    for id in 0..NODES {
        let view = cluster.nodes[id].replica.view();
        assert_eq!((view.vector.len(), cluster.token(id)), (NODES, cluster.token(0)));
        assert_eq!(cluster.state(id), cluster.state(0));
        assert!(view.incarnations().into_values().all(|lives| lives == restarts), "{:?}", view.incarnations());
    }
    assert_eq!(cluster.state(0).len(), NODES);
}
