//! A state that was filled and adopted: what it holds, what is seen before and after it, and what is left of one that is not.

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::world::{World, script};
use super::trimming::trim;
use super::{
    ALL, Ancestry, Basis, BatchLimit, Checkpoint, Dot, Entry, Hlc, Incarnation, Key, Op, Origin, PeerState, Piece,
    Siblings, Storage, Subject, origin, range, values,
};
use crate::format;
use crate::replica::{Adopted, Append, KeyStates, LEAP, Totals};

const KEYS: [&str; 6] = ["a", "a/b", "b", "c", "é", "z"];

/// A node that takes writes and ops of others, and where they lead.
#[derive(Clone)]
struct Node {
    origin: Origin,
    states: BTreeMap<Key, Siblings>,
    checkpoint: Checkpoint,
    ancestry: Ancestry,
    log: Vec<Arc<Op>>,
}

impl Node {
    fn new(id: u32) -> Self {
        let (states, checkpoint, ancestry, log) = Default::default();
        Self { origin: origin(id, 1), states, checkpoint, ancestry, log }
    }

    /// The next op is of another incarnation.
    fn restart(&mut self) {
        let Origin { node, incarnation } = self.origin;
        self.origin = Origin::new(node, Incarnation(incarnation.0 + 1));
    }

    fn write(&mut self, entries: &[(&str, Option<&str>)], replace: bool) -> Append {
        let (vector, node) = (&self.checkpoint.vector, self.origin.node);
        let dot = self.origin.dot(vector.get(self.origin) + 1);
        let parents = if dot.counter == 1 { vector.entries_of(node).collect() } else { vec![] };
        let entries = entries.iter().map(|(key, value)| {
            let held = self.states.get(*key).into_iter().flat_map(Siblings::iter);
            let replaces = held.map(|sibling| sibling.dot).filter(|_| replace).collect();
            Entry { key: Key::from(*key), value: value.map(Into::into), replaces }
        });
        let entries = entries.collect();
        let hlc = Hlc(self.checkpoint.hlc.0 + 1);
        self.deliver(Arc::new(Op { dot, parents, deps: vec![], hlc, entries, trace: None, idempotency_key: None }))
    }

    fn deliver(&mut self, op: Arc<Op>) -> Append {
        self.checkpoint.position += 1;
        let position = self.checkpoint.position;
        self.ancestry.insert(op.dot.origin, &op.parents);
        self.ancestry.advance(&mut self.checkpoint.vector, op.dot);
        self.checkpoint.hlc = self.checkpoint.hlc.max(op.hlc);
        let states = op.entries.iter().map(|entry| {
            let siblings = self.states.entry(entry.key.clone()).or_default();
            siblings.apply(op.dot, op.hlc, position, entry);
            (entry.key.clone(), siblings.clone())
        });
        let states = states.collect();
        self.checkpoint.totals = Totals::default();
        self.states.values().for_each(|siblings| self.checkpoint.totals.add(siblings));
        self.log.push(op.clone());
        Append { position, op, states }
    }

    /// The first ops of another node that this one lacks.
    fn lacks(&self, other: &Self, count: usize) -> Vec<Arc<Op>> {
        let lacks = |op: &&Arc<Op>| !self.ancestry.covers(&self.checkpoint.vector, op.dot);
        other.log.iter().filter(lacks).take(count).cloned().collect()
    }

    fn state(&self) -> PeerState {
        PeerState { vector: self.checkpoint.vector.clone(), ancestry: self.ancestry.clone() }
    }

    fn keys(&self) -> Vec<(Key, Siblings)> {
        let keys = self.states.iter().filter(|(_, siblings)| !siblings.is_empty());
        keys.map(|(key, siblings)| (key.clone(), siblings.clone())).collect()
    }

    /// It adopts a state as the store did.
    fn adopt(&mut self, adopted: &Adopted, store: &impl Storage) {
        self.checkpoint = adopted.checkpoint.clone();
        self.ancestry = adopted.ancestry.clone();
        let keys = store.snapshot().unwrap().keys("", None, 99).unwrap();
        self.states = keys.into_iter().map(|(key, siblings)| (key.into(), siblings)).collect();
    }
}

/// What a key holds that is the same on every node, in the order of the dots.
type Content = Vec<(Dot, Hlc, String)>;

fn content(keys: impl IntoIterator<Item = (impl AsRef<str>, Siblings)>) -> Vec<(String, Content)> {
    let of_key = |siblings: Siblings| {
        let of_sibling = siblings.iter().map(|sibling| (sibling.dot, sibling.hlc, sibling.value.to_string()));
        let mut siblings: Vec<_> = of_sibling.collect();
        siblings.sort();
        siblings
    };
    keys.into_iter().map(|(key, siblings)| (key.as_ref().to_owned(), of_key(siblings))).collect()
}

fn commit(store: &impl Storage, appends: &[Append], node: &Node) {
    if !appends.is_empty() {
        store.commit(appends, &node.checkpoint).unwrap();
    }
}

pub(super) fn adopting_a_state_is_delivering_its_ops<S: Subject>() {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(25));
    let result = runner.run(&proptest::collection::vec(script(), 1..3), |scripts| {
        let mut world = World::<S>::new();
        for script in &scripts {
            world.steps(&script.before);
            let adopted = world.adopt(script);
            world.check(&adopted);
            if script.reopens {
                world.reopen(&adopted);
                world.check(&adopted);
            }
            world.steps(&script.after);
            world.check(&adopted);
            world.reopen(&adopted);
            world.check(&adopted);
            let floor = trim(world.store(), adopted.checkpoint.position, u64::MAX);
            prop_assert!(adopted.ancestry.includes(&floor, &adopted.floor));
            world.reopen(&Adopted { floor, ..adopted });
        }
        Ok(())
    });
    result.unwrap();
}

pub(super) fn siblings_that_come_with_a_state_arrive_behind_all_others<S: Subject>() {
    let (subject, mut own, mut peer) = (S::new(), Node::new(0), Node::new(1));
    let (store, _) = subject.open();
    let (first, second) =
        (peer.write(&[("k", Some("theirs 1"))], false), peer.write(&[("k", Some("theirs 2"))], false));
    let both = peer.write(&[("k", Some("both"))], false);
    drop((first, second));
    // Delivered alone: ops of one origin come in order, so it is of another here.
    let mut third = Node::new(2);
    let shared = third.write(&[("k", Some("shared"))], false);
    drop((both, peer.deliver(shared.op.clone())));
    let appends = [own.write(&[("k", Some("own 1"))], false), own.deliver(shared.op)];
    commit(&store, &appends, &own);
    let mut fill = store.begin_fill(peer.state(), Basis::State).unwrap();
    fill.put(peer.keys(), None).unwrap();
    let append = own.write(&[("k", Some("own 2"))], false);
    commit(&store, &[append], &own);
    let adopted = store.adopt(fill).unwrap();
    own.adopt(&adopted, &store);
    let expected = ["own 1", "shared", "own 2", "theirs 1", "theirs 2", "both", "own 3"];
    let append = own.write(&[("k", Some("own 3"))], false);
    commit(&store, &[append], &own);
    assert_eq!(values(&store.siblings("k").unwrap()), expected);
    drop(store);
    assert_eq!(values(&subject.open().0.siblings("k").unwrap()), expected);
}

pub(super) fn snapshots_from_before_a_state_was_adopted_stay_readable<S: Subject>() {
    let (subject, mut own, mut peer) = (S::new(), Node::new(0), Node::new(1));
    let (store, _) = subject.open();
    let append = own.write(&[("k", Some("own")), ("mine", Some("1"))], false);
    commit(&store, &[append], &own);
    peer.write(&[("k", Some("theirs")), ("yours", Some("1"))], false);
    let old = store.snapshot().unwrap();
    let mut fill = store.begin_fill(peer.state(), Basis::State).unwrap();
    fill.put(peer.keys(), None).unwrap();
    assert_eq!(values(&store.siblings("k").unwrap()), ["own"], "nothing is seen before it is adopted");
    store.adopt(fill).unwrap();
    let new = store.snapshot().unwrap();
    for _ in 0..2 {
        assert_eq!(values(&old.siblings("k").unwrap()), ["own"]);
        assert_eq!(values(&new.siblings("k").unwrap()), ["own", "theirs"]);
        let listed = old.keys("", None, 9).unwrap();
        assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["k", "mine"]);
    }
    assert!(old.conflicts("", None, 9).unwrap().is_empty());
    assert_eq!(new.conflicts("", None, 9).unwrap().len(), 1);
    assert_eq!((old.vector().len(), new.vector().len()), (1, 2));
}

pub(super) fn a_state_that_is_not_adopted_leaves_nothing<S: Subject>() {
    let (subject, mut own, mut peer) = (S::new(), Node::new(0), Node::new(1));
    let (store, _) = subject.open();
    let append = own.write(&[("k", Some("own"))], false);
    commit(&store, &[append], &own);
    peer.write(&[("k", Some("theirs")), ("yours", Some("1"))], false);
    let mut given_up = store.begin_fill(peer.state(), Basis::State).unwrap();
    given_up.put(peer.keys(), Some("yours")).unwrap();
    let mut fill = store.begin_fill(peer.state(), Basis::State).unwrap();
    fill.put(peer.keys(), Some("yours")).unwrap();
    match given_up.put(vec![], None) {
        Ok(()) => assert!(store.adopt(given_up).is_err(), "another was begun"),
        Err(_) => drop(given_up),
    }
    drop(fill);
    let append = own.write(&[("k", Some("own again"))], true);
    commit(&store, &[append], &own);
    trim(&store, u64::MAX, u64::MAX);
    drop(store);
    let (store, recovered) = subject.open();
    assert_eq!(recovered.checkpoint, own.checkpoint);
    let keys = store.snapshot().unwrap().keys("", None, 9).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(values(&keys[0].1), ["own again"]);
}

pub(super) fn a_fill_needs_all_keys_in_order<S: Subject>() {
    let (subject, mut peer) = (S::new(), Node::new(1));
    let (store, _) = subject.open();
    peer.write(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))], false);
    let keys = peer.keys();
    let begin = || store.begin_fill(peer.state(), Basis::State).unwrap();
    let mut fill = begin();
    let reversed = vec![keys[1].clone(), keys[0].clone()];
    assert!(fill.put(reversed, None).is_err());
    assert!(fill.put(vec![keys[1].clone()], Some("a")).is_err(), "behind what it says");
    fill.put(vec![keys[0].clone()], Some("a")).unwrap();
    assert!(fill.put(vec![keys[0].clone()], Some("b")).is_err(), "twice");
    assert!(fill.catch_up().is_err(), "not all are there");
    assert!(store.adopt(fill).is_err());
    let mut fill = begin();
    fill.put(vec![], Some("a")).unwrap();
    fill.put(keys[1..].to_vec(), None).unwrap();
    assert!(fill.put(vec![], None).is_err(), "that was the end");
    store.adopt(fill).unwrap();
    assert_eq!(store.snapshot().unwrap().keys("", None, 9).unwrap().len(), 2, "the peer did not have the other");
}

pub(super) fn a_state_can_be_adopted_by_an_empty_store<S: Subject>() {
    let (subject, mut peer) = (S::new(), Node::new(1));
    peer.write(&[("a", Some("1"))], false);
    peer.restart();
    peer.write(&[("b", Some("2"))], false);
    let (store, _) = subject.open();
    let mut fill = store.begin_fill(peer.state(), Basis::State).unwrap();
    fill.put(peer.keys(), None).unwrap();
    assert_eq!(fill.catch_up().unwrap(), 0);
    let adopted = store.adopt(fill).unwrap();
    assert_eq!((&adopted.floor, &adopted.ancestry), (&peer.checkpoint.vector, &peer.ancestry));
    assert_eq!((adopted.checkpoint.totals, adopted.checkpoint.hlc), (peer.checkpoint.totals, peer.checkpoint.hlc));
    for _ in 0..2 {
        assert_eq!(store.log_start(), adopted.checkpoint.position);
        assert!(store.ops_after(0, ALL).unwrap().is_empty());
    }
    drop(store);
    let (store, recovered) = subject.open();
    // A clock that was only heard is not gone on from.
    assert_eq!(recovered.checkpoint, Checkpoint { hlc: Hlc(0), ..adopted.checkpoint });
    assert_eq!((&recovered.floor, &recovered.ancestry), (&adopted.floor, &adopted.ancestry));
    let mut own = Node::new(0);
    (own.checkpoint, own.ancestry) = (recovered.checkpoint, recovered.ancestry);
    let append = own.write(&[("c", Some("3"))], false);
    commit(&store, &[append], &own);
    assert_eq!(store.snapshot().unwrap().keys("", None, 9).unwrap().len(), 3);
    assert_eq!(store.ops(&[range(origin(0, 1), 1, 9)], ALL).unwrap().len(), 1);
}

pub(super) fn the_pieces_of_a_state_are_the_state<S: Subject>() {
    let (subject, mut own) = (S::new(), Node::new(0));
    let (store, _) = subject.open();
    for key in KEYS {
        for value in ["a value", "and another", "x"].iter().take(1 + own.log.len() % 3) {
            let append = own.write(&[(key, Some(value))], false);
            commit(&store, &[append], &own);
        }
    }
    let snapshot = store.snapshot().unwrap();
    let append = own.write(&[("later", Some("not in it"))], false);
    commit(&store, &[append], &own);
    let expected: Vec<_> = own.keys().into_iter().filter(|(key, _)| &**key != "later").collect();
    for limit in [ALL, BatchLimit { ops: 2, ..ALL }, BatchLimit { bytes: 200, ..ALL }, BatchLimit { ops: 0, bytes: 0 }]
    {
        let mut found: Vec<(Key, Siblings)> = Vec::new();
        loop {
            let Piece { keys, is_last } = snapshot.piece(found.last().map(|(key, _)| &**key), limit).unwrap();
            assert!(keys.len() <= limit.ops.max(1) && (!keys.is_empty() || is_last));
            found.extend(keys.into_iter().map(|(key, bytes)| (key.into(), format::siblings::decode(&bytes).unwrap())));
            if is_last {
                break;
            }
        }
        assert_eq!(found, expected);
    }
}
