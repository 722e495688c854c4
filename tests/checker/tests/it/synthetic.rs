//! Long correct histories, made quickly: each node has its own writes and, with some lag, a prefix of all writes.

use std::sync::Arc;

use causeway_checker::history::{
    Call, Context, Detail, Dot, Event, Final, Key, Micros, NodeEvent, NodeId, Origin, Outcome, Replaces, Request,
    Resolve, Shown, State, Value, Vector, Volume, What,
};

use crate::dice::Random;

struct Op {
    dot: Dot,
    key: usize,
    replaced: Vec<usize>,
}

struct Node {
    counters: Vec<u64>,
    /// How many of all writes it has.
    prefix: usize,
    /// By key: the writes, and when they arrived.
    keys: Vec<Vec<(usize, u64)>>,
    arrivals: u64,
}

/// How long a history and how large a cluster.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) requests: usize,
    pub(crate) nodes: usize,
    pub(crate) keys: usize,
    pub(crate) sessions: usize,
}

struct Maker {
    random: Random,
    nodes: Vec<Node>,
    ops: Vec<Op>,
    names: Vec<Key>,
}

fn origin(node: usize) -> Origin {
    Origin { node: node as NodeId, incarnation: 0x1234_5678 + node as u64 }
}

impl Maker {
    fn vector(&self, node: usize) -> Vector {
        let counters = self.nodes[node].counters.iter().enumerate();
        let dots = counters.map(|(node, counter)| Dot { origin: origin(node), counter: *counter });
        dots.filter(|dot| dot.counter > 0).collect()
    }

    fn apply(&mut self, node: usize, number: usize) {
        let Op { dot, key, replaced } = &self.ops[number];
        let node = &mut self.nodes[node];
        node.counters[dot.origin.node as usize] = dot.counter;
        node.arrivals += 1;
        node.keys[*key].retain(|(op, _)| !replaced.contains(op));
        node.keys[*key].push((number, node.arrivals));
    }

    fn catch_up(&mut self, node: usize, lag: usize) {
        while self.nodes[node].prefix + lag < self.ops.len() {
            let number = self.nodes[node].prefix;
            self.nodes[node].prefix += 1;
            if self.ops[number].dot.origin.node as usize != node {
                self.apply(node, number);
            }
        }
    }

    fn write(&mut self, node: usize, key: usize) -> Outcome {
        let dot = Dot { origin: origin(node), counter: self.nodes[node].counters[node] + 1 };
        let replaced = self.nodes[node].keys[key].iter().map(|(op, _)| *op).collect();
        self.ops.push(Op { dot, key, replaced });
        self.apply(node, self.ops.len() - 1);
        Outcome::Written { dot, context: Arc::new(self.context(node)) }
    }

    fn context(&self, node: usize) -> Context {
        let wait = self.vector(node);
        Context { seen: wait.clone(), chars: 24 * wait.len(), wait, dots: Vec::new() }
    }

    fn shown(&self, node: usize, key: usize) -> Vec<Shown> {
        let siblings = self.nodes[node].keys[key].iter();
        let shown = |(op, arrival): &(usize, u64)| {
            let (dot, written_at) = (self.ops[*op].dot, *op as u64);
            Shown { value: Some(*op as Value), detail: Some(Detail { dot, written_at, arrival: *arrival }) }
        };
        siblings.map(shown).collect()
    }
}

/// Makes a history of such a size.
pub(crate) fn history(seed: u64, size: Size) -> Vec<Event> {
    let node = || Node { counters: vec![0; size.nodes], prefix: 0, keys: vec![Vec::new(); size.keys], arrivals: 0 };
    let nodes = (0..size.nodes).map(|_| node()).collect();
    let names = (0..size.keys).map(|key| Key::from(format!("key-{key}"))).collect();
    let mut maker = Maker { random: Random(seed), nodes, ops: Vec::new(), names };
    let mut contexts: Vec<Option<Arc<Context>>> = vec![None; size.sessions];
    let mut events = Vec::with_capacity(size.requests + 2 * size.nodes);
    for node in 0..size.nodes as NodeId {
        events.push(Event::Node(NodeEvent { at: 1, node, what: What::Up(Volume::Empty) }));
    }
    for number in 0..size.requests {
        let (session, mut node) = (maker.random.below(size.sessions), maker.random.below(size.nodes));
        let key = maker.random.below(size.keys);
        let lag = maker.random.below(40);
        maker.catch_up(node, lag);
        let context = contexts[session].clone().filter(|_| maker.random.percent(30));
        if let Some(context) = &context {
            // Asks a node that has what it waits for: its last writer's, or one that has everything.
            let has = |dot: &Dot| maker.nodes[node].counters[dot.origin.node as usize] >= dot.counter;
            if !context.wait.iter().all(has) {
                node = (node + 1) % size.nodes;
                maker.catch_up(node, 0);
            }
        }
        let start = 100 + 10 * number as Micros;
        let (call, outcome) = if maker.random.percent(50) {
            let (value, keys) = (maker.ops.len() as Value, vec![maker.names[key].clone()]);
            let call = Call::Write { value, keys, deletes: Vec::new(), replaces: Replaces::Held };
            (call, maker.write(node, key))
        } else {
            let shown = maker.shown(node, key);
            let states = vec![State { siblings: shown.len(), shown }];
            let call = Call::Read { keys: vec![maker.names[key].clone()], resolve: Resolve::All };
            (call, Outcome::Read { states, context: Arc::new(maker.context(node)) })
        };
        if let Outcome::Read { context, .. } | Outcome::Written { context, .. } = &outcome {
            contexts[session] = Some(context.clone());
        }
        let (session, node) = (session as u32, node as NodeId);
        events.push(Event::Request(Request { session, node, start, end: start + 8, context, call, outcome }));
    }
    finish(maker, &mut events);
    events
}

fn finish(mut maker: Maker, events: &mut Vec<Event>) {
    for node in 0..maker.nodes.len() {
        maker.catch_up(node, 0);
        let held = (0..maker.names.len()).filter(|key| !maker.nodes[node].keys[*key].is_empty());
        let keys = held.map(|key| (maker.names[key].clone(), maker.shown(node, key))).collect();
        let (vector, node) = (maker.vector(node), node as NodeId);
        events.push(Event::Final(Final { node, vector, ancestry: Vec::new(), keys }));
    }
}
