//! A small cluster that is correct, and what clients see of it: random histories that must pass, and, with one bug
//! planted, ones that must not. Everything follows from one seed.

mod answers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use causeway_checker::history::{
    Call, Context, Detail, Dot, Event, Final, Key, Micros, NodeEvent, NodeId, Origin, Outcome, Refusal, Replaces,
    Request, Resolve, Shown, State, Value, Vector, Volume, What,
};

use crate::bug::Bug;
use crate::dice::Random;

/// One write that took place.
struct Op {
    dot: Dot,
    parents: Vec<Dot>,
    knew: BTreeSet<usize>,
    keys: Vec<(Key, bool, Vec<usize>)>,
    value: Value,
    written_at: u64,
}

/// What a node has.
#[derive(Clone, Default)]
struct Volumed {
    ops: BTreeSet<usize>,
    keys: BTreeMap<Key, Vec<(usize, u64)>>,
    arrivals: u64,
}

struct Node {
    volume: Volumed,
    copies: Vec<(Micros, Volumed)>,
    origin: Option<Dot>,
    is_up: bool,
}

#[derive(Default)]
struct Session {
    free: Micros,
    context: Option<Arc<Context>>,
}

/// The cluster, its clients, and what was seen so far.
pub(crate) struct Cluster {
    random: Random,
    now: Micros,
    nodes: Vec<Node>,
    sessions: Vec<Session>,
    ops: Vec<Op>,
    parents: BTreeMap<Origin, Vec<Dot>>,
    values: Value,
    incarnations: u64,
    bug: Option<Bug>,
    events: Vec<(Micros, Event)>,
}

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

impl Cluster {
    /// A history of about so many requests.
    pub(crate) fn history(seed: u64, requests: usize, bug: Option<Bug>) -> Vec<Event> {
        let mut random = Random(seed);
        let count = 1 + random.below(4);
        let new = || Node { volume: Volumed::default(), copies: Vec::new(), origin: None, is_up: false };
        let sessions = (0..2 + random.below(6)).map(|_| Session::default()).collect();
        let nodes = (0..count).map(|_| new()).collect();
        let (ops, parents, events) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut cluster =
            Self { random, now: 1, nodes, sessions, ops, parents, values: 0, incarnations: 0, bug, events };
        for node in 0..count {
            cluster.up(node, Volume::Empty);
        }
        for _ in 0..requests {
            cluster.now += 1 + cluster.random.below(30) as u64;
            match cluster.random.below(100) {
                0..=54 => cluster.request(),
                55..=94 => cluster.deliver_one(),
                95..=97 => cluster.restart(),
                _ => cluster.copy(),
            }
        }
        cluster.finish()
    }

    fn note(&mut self, node: usize, what: What) {
        let event = NodeEvent { at: self.now, node: node as NodeId, what };
        self.events.push((self.now, Event::Node(event)));
    }

    fn up(&mut self, node: usize, volume: Volume) {
        self.nodes[node].is_up = true;
        self.nodes[node].origin = None;
        self.note(node, What::Up(volume));
        self.now += 1;
    }

    fn copy(&mut self) {
        let node = self.random.below(self.nodes.len());
        let copy = (self.now, self.nodes[node].volume.clone());
        self.nodes[node].copies.push(copy);
        self.now += 1;
    }

    /// A node goes down, perhaps with writes under way, or comes up.
    fn restart(&mut self) {
        let node = self.random.below(self.nodes.len());
        if self.nodes[node].is_up {
            for _ in 0..self.random.below(4) {
                self.lost_request(node);
            }
            self.nodes[node].is_up = false;
            return self.note(node, What::Down);
        }
        match self.random.below(10) {
            0 => {
                self.nodes[node].volume = Volumed::default();
                self.nodes[node].copies.clear();
                self.up(node, Volume::Empty);
            }
            1..=2 if !self.nodes[node].copies.is_empty() => {
                let place = self.random.below(self.nodes[node].copies.len());
                let (taken, volume) = self.nodes[node].copies[place].clone();
                self.nodes[node].volume = volume;
                let origin = self.nodes[node].origin;
                self.up(node, Volume::Copy { taken });
                if self.bug == Some(Bug::ReusesNames) {
                    self.nodes[node].origin =
                        origin.filter(|dot| self.covers(&self.vector(node), *dot)).or(self.last_of(node));
                }
            }
            _ => {
                self.break_at_restart(node);
                self.up(node, Volume::Kept);
            }
        }
    }

    fn break_at_restart(&mut self, node: usize) {
        let volume = &mut self.nodes[node].volume;
        if self.bug == Some(Bug::ForgetsAtRestart)
            && let Some(last) = volume.ops.pop_last()
        {
            volume.keys.values_mut().for_each(|siblings| siblings.retain(|(op, _)| *op != last));
        }
        if self.bug == Some(Bug::ForgetsArrivals) {
            volume.arrivals += 100;
            let arrivals = volume.arrivals;
            let siblings = volume.keys.values_mut().flatten();
            siblings.zip(arrivals + 1..).for_each(|(sibling, arrival)| sibling.1 = arrival);
            volume.arrivals += 100;
        }
    }

    /// The last name that the node's volume has of its own.
    fn last_of(&self, node: usize) -> Option<Dot> {
        self.vector(node).into_iter().rfind(|dot| dot.origin.node == node as NodeId)
    }

    fn implied(&self, origin: Origin, found: &mut Vec<Dot>) {
        for parent in self.parents.get(&origin).into_iter().flatten() {
            found.push(*parent);
            self.implied(parent.origin, found);
        }
    }

    fn covers(&self, vector: &[Dot], dot: Dot) -> bool {
        let mut all = vector.to_vec();
        vector.iter().for_each(|entry| self.implied(entry.origin, &mut all));
        all.iter().any(|entry| entry.origin == dot.origin && entry.counter >= dot.counter)
    }

    /// The vector in its normal form.
    fn fold(&self, dots: impl Iterator<Item = Dot>) -> Vector {
        let mut highest = BTreeMap::new();
        for dot in dots {
            let counter = highest.entry(dot.origin).or_insert(0);
            *counter = dot.counter.max(*counter);
        }
        let mut implied = Vec::new();
        highest.keys().for_each(|origin| self.implied(*origin, &mut implied));
        let entries = highest.into_iter().map(|(origin, counter)| Dot { origin, counter });
        entries
            .filter(|dot| !implied.iter().any(|other| other.origin == dot.origin && other.counter >= dot.counter))
            .collect()
    }

    fn vector(&self, node: usize) -> Vector {
        self.fold(self.nodes[node].volume.ops.iter().map(|op| self.ops[*op].dot))
    }

    fn apply(&mut self, node: usize, number: usize, is_own: bool) {
        let op = &self.ops[number];
        let volume = &mut self.nodes[node].volume;
        volume.arrivals += 1;
        volume.ops.insert(number);
        for (place, (key, has_value, replaced)) in op.keys.iter().enumerate() {
            if self.bug == Some(Bug::TearsWrites) && !is_own && place > 0 {
                continue;
            }
            let siblings = volume.keys.entry(key.clone()).or_default();
            if self.bug != Some(Bug::ReplacesNothing) || is_own {
                siblings.retain(|(other, _)| !replaced.contains(other));
            }
            if *has_value {
                siblings.push((number, volume.arrivals));
            }
        }
    }

    fn deliver_one(&mut self) {
        let (from, to) = (self.random.below(self.nodes.len()), self.random.below(self.nodes.len()));
        if !self.nodes[to].is_up || !self.nodes[from].is_up {
            return;
        }
        for _ in 0..1 + self.random.below(4) {
            let has = &self.nodes[to].volume.ops;
            let is_next = |op: &usize| self.bug == Some(Bug::DeliversEarly) || self.ops[*op].knew.is_subset(has);
            let lacking: Vec<usize> = self.nodes[from].volume.ops.difference(has).copied().filter(is_next).collect();
            if lacking.is_empty() {
                return;
            }
            let op = lacking[self.random.below(lacking.len())];
            self.apply(to, op, false);
        }
    }

    /// A node's write: gives it a name, and applies it there.
    fn accept(&mut self, node: usize, keys: &[(Key, bool)], value: Value, seen: Option<&Context>) -> Dot {
        let seen = seen.filter(|_| self.bug != Some(Bug::ReplacesUnseen));
        let own: Vec<Dot> = self.vector(node).into_iter().filter(|dot| dot.origin.node == node as NodeId).collect();
        let dot = match (self.nodes[node].origin, &own[..]) {
            (Some(dot), [last]) if dot.origin == last.origin => Dot { counter: last.counter + 1, ..dot },
            _ => {
                self.incarnations += 1;
                // Names of incarnations are random, not in order.
                let incarnation = Random(self.incarnations).next() >> 40;
                Dot { origin: Origin { node: node as NodeId, incarnation }, counter: 1 }
            }
        };
        let parents = if dot.counter == 1 { own } else { Vec::new() };
        self.nodes[node].origin = Some(dot);
        let volume = &self.nodes[node].volume;
        let replaced = |key: &Key| {
            let held = volume.keys.get(key).into_iter().flatten().map(|(op, _)| *op);
            let is_seen = |op: &usize| {
                let dot = self.ops[*op].dot;
                seen.is_none_or(|seen| seen.dots.contains(&dot) || self.covers(&seen.seen, dot))
            };
            held.filter(is_seen).collect()
        };
        let keys = keys.iter().map(|(key, has_value)| (key.clone(), *has_value, replaced(key))).collect();
        let knew = volume.ops.clone();
        if !parents.is_empty() {
            self.parents.insert(dot.origin, parents.clone());
        }
        self.ops.push(Op { dot, parents, knew, keys, value, written_at: self.now * 8 + node as u64 });
        self.apply(node, self.ops.len() - 1, true);
        dot
    }

    fn keys(&mut self) -> Vec<(Key, bool)> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for _ in 0..1 + self.random.below(2) {
            names.insert(KEYS[self.random.below(KEYS.len())]);
        }
        names.into_iter().map(|name| (Key::from(name), !self.random.percent(15))).collect()
    }

    fn free_session(&mut self) -> Option<usize> {
        let session = self.random.below(self.sessions.len());
        (self.sessions[session].free < self.now).then_some(session)
    }

    fn push(&mut self, session: usize, node: usize, call: Call, context: Option<Arc<Context>>, outcome: Outcome) {
        let start =
            (self.now - self.random.below(20).min(self.now as usize - 1) as u64).max(self.sessions[session].free);
        let end = self.now + 1 + self.random.below(20) as u64;
        self.sessions[session].free = end + 1;
        let (session, node) = (session as u32, node as NodeId);
        let request = Request { session, node, start, end, context, call, outcome };
        self.events.push((end, Event::Request(request)));
    }

    /// A write to a node that is about to go down: it may take place or not.
    fn lost_request(&mut self, node: usize) {
        let Some(session) = self.free_session() else { return };
        let context = self.sessions[session].context.clone().filter(|context| self.has_reached(node, context));
        let (keys, value) = (self.keys(), self.next_value());
        let replaces = if context.is_some() && self.random.percent(50) { Replaces::Seen } else { Replaces::Held };
        if self.random.percent(60) {
            let seen = context.as_deref().filter(|_| replaces == Replaces::Seen);
            self.accept(node, &keys, value, seen);
        }
        let call = write_call(&keys, value, replaces);
        self.push(session, node, call, context, Outcome::Unknown);
    }

    fn next_value(&mut self) -> Value {
        self.values += 1;
        self.values
    }

    fn has_reached(&self, node: usize, context: &Context) -> bool {
        let vector = self.vector(node);
        context.wait.iter().all(|dot| self.covers(&vector, *dot))
    }

    fn request(&mut self) {
        let Some(session) = self.free_session() else { return };
        let node = self.random.below(self.nodes.len());
        if self.random.percent(10) {
            // Hands its context to another session, or forgets it.
            let other = self.random.below(self.sessions.len());
            self.sessions[session].context = self.sessions[other].context.clone().filter(|_| other != session);
        }
        let context = self.sessions[session].context.clone().filter(|_| self.random.percent(60));
        let (call, keys) = self.call(context.is_some());
        let refusal = match &context {
            _ if !self.nodes[node].is_up => Some(Refusal::Unreachable),
            None if self.bug == Some(Bug::Refuses) && self.random.percent(3) => Some(Refusal::Overloaded),
            Some(context) if self.bug != Some(Bug::IgnoresContext) && !self.has_reached(node, context) => {
                Some(Refusal::ContextNotReached)
            }
            _ => None,
        };
        let outcome = match (refusal, &call) {
            (Some(refusal), _) => Outcome::Refused { refusal },
            (None, Call::Read { keys, resolve }) => self.read(node, keys, *resolve),
            (None, Call::Write { value, replaces, .. }) => {
                let (value, seen) = (*value, context.as_deref().filter(|_| *replaces == Replaces::Seen));
                let dot = self.accept(node, &keys, value, seen);
                let context = match seen {
                    Some(seen) => self.after_write(seen, dot),
                    None => of_state(self.vector(node)),
                };
                Outcome::Written { dot, context: context.into() }
            }
        };
        if let Outcome::Read { context, .. } | Outcome::Written { context, .. } = &outcome {
            self.sessions[session].context = Some(context.clone());
        }
        self.push(session, node, call, context, outcome);
    }

    fn call(&mut self, has_context: bool) -> (Call, Vec<(Key, bool)>) {
        let keys = self.keys();
        if self.random.percent(50) {
            let resolve = [Resolve::All, Resolve::Arrival, Resolve::Newest][self.random.below(3)];
            return (Call::Read { keys: keys.iter().map(|(key, _)| key.clone()).collect(), resolve }, keys);
        }
        let replaces = if has_context && self.random.percent(80) { Replaces::Seen } else { Replaces::Held };
        (write_call(&keys, self.next_value(), replaces), keys)
    }
}

fn of_state(vector: Vector) -> Context {
    Context { wait: vector.clone(), chars: 10 + 24 * vector.len(), seen: vector, dots: Vec::new() }
}

fn write_call(keys: &[(Key, bool)], value: Value, replaces: Replaces) -> Call {
    let names = |wanted: bool| keys.iter().filter(|(_, has)| *has == wanted).map(|(key, _)| key.clone()).collect();
    Call::Write { value, keys: names(true), deletes: names(false), replaces }
}
