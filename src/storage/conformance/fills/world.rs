//! Two nodes of which one adopts the other's state, whatever they do before, meanwhile and after it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{ALL, Basis, Subject, VersionVector, range};
use super::{
    Adopted, Append, Checkpoint, KEYS, KeyStates, LEAP, Node, Origin, Siblings, Storage, commit, content, format,
};
use crate::storage::{Fill, StorageError};

/// What happens to the two nodes, or to one of them.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write {
        keys: Vec<usize>,
        delete: bool,
        replace: bool,
    },
    /// Gets the first of what it lacks.
    Deliver(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = proptest::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 1..=2);
    prop_oneof![
        6 => (keys, any::<bool>(), any::<bool>()).prop_map(|(keys, delete, replace)| Step::Write { keys, delete, replace }),
        2 => (1..5usize).prop_map(Step::Deliver),
        1 => Just(Step::Restart),
    ]
}

fn take(step: &Step, node: &mut Node, other: &Node) -> Vec<Append> {
    match step {
        Step::Write { keys, delete, replace } => {
            let value = format!("{}.{}", node.origin, node.checkpoint.position);
            let value = (!delete).then_some(value.as_str());
            let entries: Vec<_> = keys.iter().map(|key| (KEYS[*key], value)).collect();
            vec![node.write(&entries, *replace)]
        }
        Step::Deliver(count) => node.lacks(other, *count).into_iter().map(|op| node.deliver(op)).collect(),
        Step::Restart => {
            node.restart();
            vec![]
        }
    }
}

/// What happens before a state is adopted, while it is filled, and before the next is.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) before: Vec<(bool, Step)>,
    /// How many keys a piece has, and what this node does behind it.
    pieces: Vec<(usize, Option<Step>)>,
    catches_up: bool,
    /// This node's keys can't be read.
    on_log: bool,
    between: Vec<Step>,
    pub(super) after: Vec<(bool, Step)>,
    pub(super) reopens: bool,
}

pub(super) fn script() -> impl Strategy<Value = Script> {
    let steps = || proptest::collection::vec((any::<bool>(), step()), 0..25);
    let pieces = proptest::collection::vec((0..4usize, proptest::option::of(step())), 8);
    let between = proptest::collection::vec(step(), 0..4);
    (steps(), pieces, any::<[bool; 3]>(), between, steps()).prop_map(
        |(before, pieces, [catches_up, on_log, reopens], between, after)| Script {
            before,
            pieces,
            catches_up,
            on_log,
            between,
            after,
            reopens,
        },
    )
}

pub(super) struct World<S: Subject> {
    subject: S,
    store: Option<S::Store>,
    own: Node,
    peer: Node,
}

impl<S: Subject> World<S> {
    pub(super) fn new() -> Self {
        let subject = S::new();
        let store = Some(subject.open().0);
        Self { subject, store, own: Node::new(0), peer: Node::new(1) }
    }

    pub(super) fn store(&self) -> &S::Store {
        self.store.as_ref().unwrap()
    }

    pub(super) fn steps(&mut self, steps: &[(bool, Step)]) {
        for (is_own, step) in steps {
            if *is_own { self.own_step(step) } else { drop(take(step, &mut self.peer, &self.own)) }
        }
    }

    fn own_step(&mut self, step: &Step) {
        let appends = take(step, &mut self.own, &self.peer);
        commit(self.store(), &appends, &self.own);
    }

    /// Fills and adopts the peer's state as it is now.
    pub(super) fn adopt(&mut self, script: &Script) -> Adopted {
        let peer = self.peer.clone();
        let mut fill = self.begin(&peer, script.on_log);
        let mut keys = peer.keys();
        for (count, step) in &script.pieces {
            let piece: Vec<_> = keys.drain(..keys.len().min(*count)).collect();
            if let Some((through, _)) = piece.last().cloned() {
                fill.put(piece, Some(&through)).unwrap();
            }
            step.iter().for_each(|step| self.own_step(step));
        }
        fill.put(keys, None).unwrap();
        if script.catches_up {
            while fill.catch_up().unwrap() > 0 {}
        }
        script.between.iter().for_each(|step| self.own_step(step));
        let floor = self.expected_floor(&peer);
        let adopted = self.store().adopt(fill).unwrap();
        // Where the peer's ops had led, had they been delivered.
        let mut delivered = self.own.clone();
        let missed = delivered.lacks(&peer, usize::MAX);
        missed.into_iter().for_each(|op| drop(delivered.deliver(op)));
        let Checkpoint { vector, totals, hlc, .. } = delivered.checkpoint.clone();
        let Adopted { checkpoint, ancestry, .. } = &adopted;
        assert_eq!((&checkpoint.vector, checkpoint.totals, ancestry), (&vector, totals, &delivered.ancestry));
        assert!(checkpoint.hlc <= hlc.max(peer.checkpoint.hlc) && checkpoint.hlc >= self.own.checkpoint.hlc);
        assert!(checkpoint.position > self.own.checkpoint.position + LEAP / 2);
        assert_eq!(content(self.store().snapshot().unwrap().keys("", None, 99).unwrap()), content(delivered.keys()));
        assert!(ancestry.includes(&adopted.floor, &floor), "{} lacks some of {floor}", adopted.floor);
        let (hlc, log) = (self.own.checkpoint.hlc, std::mem::take(&mut self.own.log));
        self.own.adopt(&adopted, self.store.as_ref().unwrap());
        (self.own.checkpoint.hlc, self.own.log) = (hlc, log);
        adopted
    }

    fn begin(&self, peer: &Node, on_log: bool) -> Box<dyn Fill> {
        let begin = |basis| self.store().begin_fill(peer.state(), basis);
        if !on_log {
            return begin(Basis::State).unwrap();
        }
        let mut ancestry = self.own.ancestry.clone();
        peer.ancestry.iter().for_each(|(origin, parents)| ancestry.insert(origin, parents));
        let floor = self.store().give_up_log().unwrap();
        match begin(Basis::Log) {
            Err(StorageError::Unfit(_)) if !ancestry.includes(&peer.checkpoint.vector, &floor) => {
                begin(Basis::State).unwrap()
            }
            Err(error) => panic!("{error}"),
            Ok(fill) => {
                assert!(ancestry.includes(&peer.checkpoint.vector, &floor), "what is in neither would be lost");
                fill
            }
        }
    }

    /// At least what the log never had.
    fn expected_floor(&self, peer: &Node) -> VersionVector {
        let missed = self.own.lacks(peer, usize::MAX);
        missed.into_iter().map(|op| op.dot).collect()
    }

    /// What is stored is what the node holds, in every view of it; and the log has what it should.
    pub(super) fn check(&self, adopted: &Adopted) {
        let (store, own) = (self.store(), &self.own);
        let snapshot = store.snapshot().unwrap();
        assert_eq!(*snapshot.vector(), own.checkpoint.vector);
        let held: Vec<_> = own.keys().into_iter().map(|(key, siblings)| (key.to_string(), siblings)).collect();
        assert_eq!(snapshot.keys("", None, 99).unwrap(), held);
        for key in KEYS {
            let siblings = own.states.get(key).cloned().unwrap_or_default();
            assert_eq!((&store.siblings(key).unwrap(), &snapshot.siblings(key).unwrap()), (&siblings, &siblings));
            let dots = |siblings: &Siblings| siblings.iter().map(|sibling| sibling.dot).collect::<Vec<_>>();
            assert_eq!(dots(&store.outline(key).unwrap()), dots(&siblings));
        }
        let conflicts: Vec<_> = held.into_iter().filter(|(_, siblings)| siblings.len() > 1).collect();
        assert_eq!(snapshot.conflicts("", None, 99).unwrap(), conflicts);
        // All that came since is there, and of what came before that is not gone each op that is asked for.
        assert_eq!(store.log_start(), adopted.checkpoint.position);
        let since = store.ops_after(0, ALL).unwrap();
        let positions = adopted.checkpoint.position + 1..=own.checkpoint.position;
        assert!(since.iter().map(|op| op.position).eq(positions));
        let (ops, ancestry) = (&own.log, &own.ancestry);
        for op in ops.iter().filter(|op| !ancestry.covers(&adopted.floor, op.dot)) {
            let found = store.ops(&[range(op.dot.origin, op.dot.counter, op.dot.counter)], ALL).unwrap();
            assert_eq!(found.len(), 1, "{} is gone", op.dot);
            assert_eq!(*found[0].bytes, format::op::encode(op));
        }
        let size = store.log_size().unwrap();
        let origins: BTreeSet<Origin> = ops.iter().map(|op| op.dot.origin).collect();
        let all: Vec<_> = origins.into_iter().map(|origin| range(origin, 1, u64::MAX)).collect();
        assert_eq!(store.ops(&all, ALL).unwrap().len() as u64, size.ops);
        assert_eq!(store.op_bytes(&all).unwrap(), size.bytes);
    }

    pub(super) fn reopen(&mut self, adopted: &Adopted) {
        drop(self.store.take());
        let (store, recovered) = self.subject.open();
        self.store = Some(store);
        assert_eq!(recovered.checkpoint, self.own.checkpoint);
        assert_eq!((recovered.ancestry, recovered.floor), (self.own.ancestry.clone(), adopted.floor.clone()));
    }
}
