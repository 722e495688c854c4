//! What every store must do, run on each of them.
#![allow(clippy::unwrap_used)]

mod conflicts;
mod fills;
mod ops;
mod trimming;

use std::collections::BTreeMap;
use std::sync::Arc;

use tempfile::TempDir;

use super::{
    Basis, BatchLimit, DiskOptions, DiskStorage, Identity, LogRun, LogSize, MemoryStorage, PeerState, Piece, Storage,
    StoredOp,
};
use crate::causality::{Ancestry, Dot, Hlc, Incarnation, NodeId, Origin, Parents, VersionVector};
use crate::format;
use crate::replica::{Append, Checkpoint, Entry, Key, KeyStates, Op, OpRange, Recovered, Siblings, Value};

/// A store that can be closed and opened again.
pub(super) trait Subject {
    type Store: Storage;

    fn new() -> Self;
    fn open(&self) -> (Self::Store, Recovered);
}

struct InMemory(MemoryStorage);

impl Subject for InMemory {
    type Store = MemoryStorage;

    fn new() -> Self {
        Self(MemoryStorage::new())
    }

    fn open(&self) -> (MemoryStorage, Recovered) {
        (self.0.clone(), self.0.recovered())
    }
}

/// A data directory that goes away with it.
pub(super) struct OnDisk(pub(super) TempDir);

pub(super) fn identity() -> Identity {
    Identity { cluster: "causeway".to_owned(), node: NodeId(0) }
}

impl Subject for OnDisk {
    type Store = DiskStorage;

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> (DiskStorage, Recovered) {
        DiskStorage::open(&self.0.path().join("data"), &identity()).unwrap()
    }
}

/// The same, with every commit in files of its own.
struct InPieces(OnDisk);

impl Subject for InPieces {
    type Store = DiskStorage;

    fn new() -> Self {
        Self(OnDisk::new())
    }

    fn open(&self) -> (DiskStorage, Recovered) {
        let options =
            DiskOptions { write_buffer_bytes: 1, segment_bytes: 1, tail_bytes: 300, ..DiskOptions::default() };
        DiskStorage::open_with(&self.0.0.path().join("data"), &identity(), options).unwrap()
    }
}

pub(super) fn origin(node: u32, incarnation: u64) -> Origin {
    Origin::new(NodeId(node), Incarnation(incarnation))
}

/// Puts ops into a log as a replica does.
#[derive(Default)]
pub(super) struct Log {
    pub(super) checkpoint: Checkpoint,
    pub(super) ancestry: Ancestry,
    /// What the ops wrote.
    pub(super) states: BTreeMap<Key, Siblings>,
}

impl Log {
    /// An op that replaces all that is held, and what follows from it.
    pub(super) fn append(&mut self, store: &impl Storage, dot: Dot, entries: &[(&str, Option<&str>)]) -> Append {
        self.append_with(store, dot, vec![], entries, true)
    }

    /// The same for the first op of an incarnation.
    pub(super) fn append_child(
        &mut self,
        store: &impl Storage,
        dot: Dot,
        parents: Parents,
        entries: &[(&str, Option<&str>)],
    ) -> Append {
        self.append_with(store, dot, parents, entries, true)
    }

    fn append_with(
        &mut self,
        store: &impl Storage,
        dot: Dot,
        parents: Parents,
        entries: &[(&str, Option<&str>)],
        replace: bool,
    ) -> Append {
        self.checkpoint.position += 1;
        let position = self.checkpoint.position;
        self.checkpoint.hlc = Hlc(1000 + position);
        let hlc = self.checkpoint.hlc;
        let mut states = Vec::new();
        let entries = entries.iter().map(|(key, value)| {
            let mut siblings = self.states.get(*key).cloned().unwrap_or_else(|| store.siblings(key).unwrap());
            let replaces = siblings.iter().map(|sibling| sibling.dot).filter(|_| replace).collect();
            let entry = Entry { key: Key::from(*key), value: value.map(Value::from), replaces };
            siblings.apply(dot, hlc, position, &entry);
            states.push((entry.key.clone(), siblings));
            entry
        });
        let entries = entries.collect();
        self.states.extend(states.iter().cloned());
        self.ancestry.insert(dot.origin, &parents);
        self.ancestry.advance(&mut self.checkpoint.vector, dot);
        let op = Op { dot, parents, deps: vec![], hlc, entries, trace: None, idempotency_key: None };
        Append { position, op: Arc::new(op), states }
    }

    /// Appends and commits one op.
    pub(super) fn write(&mut self, store: &impl Storage, dot: Dot, entries: &[(&str, Option<&str>)]) -> Append {
        let append = self.append(store, dot, entries);
        store.commit(std::slice::from_ref(&append), &self.checkpoint).unwrap();
        append
    }
}

pub(super) fn values(siblings: &Siblings) -> Vec<&str> {
    siblings.iter().map(|sibling| &*sibling.value).collect()
}

fn stored(append: &Append) -> StoredOp {
    StoredOp { position: append.position, dot: append.op.dot, bytes: format::op::encode(&append.op).into() }
}

pub(super) fn range(origin: Origin, first: u64, last: u64) -> OpRange {
    OpRange { origin, first, last }
}

pub(super) const ALL: BatchLimit = BatchLimit { ops: usize::MAX, bytes: usize::MAX };

fn a_commit_is_visible_as_a_whole<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    let first = log.append(&store, own.dot(1), &[("a", Some("1")), ("b", Some("2"))]);
    let second = log.append(&store, own.dot(2), &[("c", Some("3"))]);
    store.commit(&[first.clone(), second.clone()], &log.checkpoint).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(*snapshot.vector(), log.checkpoint.vector);
    for (key, state) in first.states.iter().chain(&second.states) {
        assert_eq!(snapshot.siblings(key).unwrap(), *state);
        assert_eq!(store.siblings(key).unwrap(), *state);
    }
    assert_eq!(store.ops(&[range(own, 1, 2)], ALL).unwrap(), [stored(&first), stored(&second)]);
    assert!(store.disk_bytes().unwrap() > 0);
}

fn a_snapshot_does_not_change<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    let empty = store.snapshot().unwrap();
    let mut snapshots = Vec::new();
    for counter in 1..=20 {
        let value = counter.to_string();
        log.write(&store, own.dot(counter), &[("k", Some(&value)), (&format!("only{counter}"), Some("x"))]);
        snapshots.push((counter, store.snapshot().unwrap()));
    }
    assert!(empty.vector().is_empty() && empty.keys("", None, 10).unwrap().is_empty());
    for (counter, snapshot) in snapshots {
        assert_eq!(snapshot.vector().get(own), counter);
        assert_eq!(values(&snapshot.siblings("k").unwrap()), [counter.to_string()]);
        assert_eq!(snapshot.keys("only", None, 100).unwrap().len() as u64, counter);
    }
}

fn a_key_without_values_is_gone<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    log.write(&store, own.dot(1), &[("k", Some("1")), ("other", Some("1"))]);
    log.write(&store, own.dot(2), &[("k", None)]);
    let listed = |store: &S::Store| -> Vec<String> {
        let keys = store.snapshot().unwrap().keys("", None, 10).unwrap();
        keys.into_iter().map(|(key, _)| key).collect()
    };
    assert!(store.siblings("k").unwrap().is_empty());
    assert_eq!(listed(&store), ["other"]);
    drop(store);
    let (store, _) = subject.open();
    assert_eq!(listed(&store), ["other"]);
    log.write(&store, own.dot(3), &[("k", Some("again"))]);
    assert_eq!(values(&store.siblings("k").unwrap()), ["again"]);
}

fn the_last_state_of_a_key_counts<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    let mut group = vec![log.append(&store, own.dot(1), &[("gone", Some("1")), ("kept", None)])];
    group.push(log.append(&store, own.dot(2), &[("gone", None), ("kept", Some("2"))]));
    store.commit(&group, &log.checkpoint).unwrap();
    drop(store);
    let (store, _) = subject.open();
    assert!(store.siblings("gone").unwrap().is_empty());
    assert_eq!(values(&store.siblings("kept").unwrap()), ["2"]);
}

fn siblings_keep_their_order_of_arrival<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let mut log = Log::default();
    for (node, value) in [(2, "first"), (0, "second"), (1, "third")] {
        let append = log.append_with(&store, origin(node, 7).dot(1), vec![], &[("k", Some(value))], false);
        store.commit(&[append], &log.checkpoint).unwrap();
    }
    let before = store.siblings("k").unwrap();
    assert_eq!(values(&before), ["first", "second", "third"]);
    drop(store);
    let (store, _) = subject.open();
    assert_eq!(store.siblings("k").unwrap(), before);
    assert_eq!(store.snapshot().unwrap().siblings("k").unwrap(), before);
}

fn keys_are_listed_in_byte_order<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    let mut sorted = ["a", "a/1", "a/10", "a/2", "aé", "b", "z", "Ä", "é", "日本", "\u{10ffff}", "😀", "\u{0}"];
    for (counter, key) in (1..).zip(sorted) {
        log.write(&store, own.dot(counter), &[(key, Some(key))]);
    }
    sorted.sort();
    let snapshot = store.snapshot().unwrap();
    let list = |prefix: &str, after: Option<&str>, limit: usize| -> Vec<String> {
        let keys = snapshot.keys(prefix, after, limit).unwrap();
        assert!(keys.iter().all(|(key, siblings)| values(siblings) == [key.as_str()]));
        keys.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(list("", None, 100), sorted);
    assert_eq!(list("a/", None, 100), ["a/1", "a/10", "a/2"]);
    assert_eq!(list("a/", Some("a/1"), 1), ["a/10"]);
    assert_eq!(list("a/", Some("a/2"), 10), [""; 0]);
    assert_eq!(list("b", Some("a"), 10), ["b"], "what comes before the prefix limits nothing");
    assert_eq!(list("b", Some("c"), 10), [""; 0]);
    assert_eq!(list("é", None, 10), ["é"]);
    assert_eq!(list("", None, 0), [""; 0]);
    let mut paged = Vec::new();
    while paged.len() < sorted.len() {
        let page = list("", paged.last().map(String::as_str), 2);
        assert!(!page.is_empty());
        paged.extend(page);
    }
    assert_eq!(paged, sorted);
    let long = "x".repeat(100_000);
    assert_eq!(list(&long, None, 10), [""; 0]);
    assert_eq!(list("", Some(&long), 10), sorted[sorted.iter().position(|key| *key == "z").unwrap()..]);
    assert!(snapshot.siblings(&long).unwrap().is_empty());
    assert!(snapshot.siblings("").unwrap().is_empty());
}

fn large_values_are_kept<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    let value = "0123456789abcdef".repeat(1 << 16);
    let names: Vec<String> = (0..9).map(|index| format!("large{index}")).collect();
    let entries: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some(value.as_str()))).collect();
    let longest_key = "k".repeat(format::op::MAX_KEY_BYTES);
    let large = log.write(&store, own.dot(1), &entries);
    log.write(&store, own.dot(2), &[(&longest_key, Some("v"))]);
    drop(store);
    let (store, _) = subject.open();
    for name in &names {
        assert_eq!(values(&store.siblings(name).unwrap()), [&value]);
    }
    assert_eq!(values(&store.siblings(&longest_key).unwrap()), ["v"]);
    let limit = BatchLimit { ops: 10, bytes: 1 << 20 };
    assert_eq!(store.ops(&[range(own, 1, 2)], limit).unwrap(), [stored(&large)]);
}

fn what_was_committed_is_recovered<S: Subject>() {
    let subject = S::new();
    let (store, recovered) = subject.open();
    assert_eq!(recovered.checkpoint, Checkpoint::default());
    assert_eq!(recovered.ancestry, Ancestry::new());
    let mut log = Log::default();
    log.write(&store, origin(0, 7).dot(1), &[("k", Some("1"))]);
    log.write(&store, origin(1, 5).dot(1), &[("k", Some("2"))]);
    let parents = vec![origin(0, 7).dot(1)];
    let second_life = log.append_with(&store, origin(0, 9).dot(1), parents, &[("k", Some("3"))], true);
    log.checkpoint.totals.keys = 1;
    store.commit(&[second_life], &log.checkpoint).unwrap();
    drop(store);
    for _ in 0..2 {
        let (_store, recovered) = subject.open();
        assert_eq!(recovered.checkpoint, log.checkpoint);
        assert_eq!(recovered.ancestry, log.ancestry);
        assert!(recovered.ancestry.covers(&recovered.checkpoint.vector, origin(0, 7).dot(1)));
    }
    let (store, _) = subject.open();
    log.write(&store, origin(0, 9).dot(2), &[("k", Some("4"))]);
    assert_eq!(*store.snapshot().unwrap().vector(), log.checkpoint.vector);
}

fn after_a_failed_commit_there_are_only_reads<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    log.write(&store, own.dot(1), &[("k", Some("1"))]);
    let committed = log.checkpoint.clone();
    let skipped = log.append(&store, own.dot(2), &[("k", Some("2"))]);
    let out_of_order = log.append(&store, own.dot(3), &[("k", Some("3"))]);
    assert!(store.commit(&[out_of_order], &log.checkpoint).is_err());
    log.checkpoint.position = skipped.position;
    assert!(store.commit(&[skipped], &log.checkpoint).is_err(), "even if it would fit");
    assert_eq!(values(&store.siblings("k").unwrap()), ["1"]);
    assert_eq!(*store.snapshot().unwrap().vector(), committed.vector);
    assert_eq!(store.ops(&[range(own, 1, 9)], ALL).unwrap().len(), 1);
}

fn an_outline_has_the_dots_of_the_siblings<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let mut log = Log::default();
    let check = |store: &S::Store| {
        for key in ["one", "several", "gone", "never"] {
            let dots = |siblings: Siblings| siblings.iter().map(|sibling| sibling.dot).collect::<Vec<Dot>>();
            // Twice: the store may have learnt from the first.
            for _ in 0..2 {
                assert_eq!(dots(store.outline(key).unwrap()), dots(store.siblings(key).unwrap()), "{key}");
            }
        }
    };
    let own = origin(0, 7);
    for counter in 1..=3 {
        let value = (counter < 3).then_some("v");
        log.write(&store, own.dot(counter), &[("one", Some("v")), ("gone", value)]);
        let other = log.append_with(&store, origin(1, 7).dot(counter), vec![], &[("several", Some("v"))], false);
        store.commit(&[other], &log.checkpoint).unwrap();
        check(&store);
    }
    log.write(&store, own.dot(4), &[("several", Some("settled"))]);
    check(&store);
    drop(store);
    let (store, _) = subject.open();
    check(&store);
    log.write(&store, own.dot(5), &[("one", Some("after a restart"))]);
    check(&store);
}

macro_rules! conformance {
    ($($property:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $property() { super::$property::<super::InMemory>(); })* }
        mod in_pieces { $(#[test] fn $property() { super::$property::<super::InPieces>(); })* }
        mod on_disk { $(#[test] fn $property() { super::$property::<super::OnDisk>(); })* }
    };
}

use conflicts::keys_with_siblings_are_listed;
use fills::{
    a_fill_needs_all_keys_in_order, a_state_can_be_adopted_by_an_empty_store,
    a_state_that_is_not_adopted_leaves_nothing, adopting_a_state_is_delivering_its_ops,
    siblings_that_come_with_a_state_arrive_behind_all_others, snapshots_from_before_a_state_was_adopted_stay_readable,
    the_pieces_of_a_state_are_the_state,
};
use ops::{
    a_log_keeps_its_id_which_no_other_has, ops_come_in_order_of_position, recent_idempotency_keys_are_recovered,
    the_bytes_of_ops_are_known, the_log_is_read_on_from_any_position,
};

use trimming::{a_trimmed_log_has_the_rest, what_is_held_is_not_trimmed};

conformance!(
    a_trimmed_log_has_the_rest,
    what_is_held_is_not_trimmed,
    a_fill_needs_all_keys_in_order,
    a_state_can_be_adopted_by_an_empty_store,
    a_state_that_is_not_adopted_leaves_nothing,
    adopting_a_state_is_delivering_its_ops,
    siblings_that_come_with_a_state_arrive_behind_all_others,
    snapshots_from_before_a_state_was_adopted_stay_readable,
    the_pieces_of_a_state_are_the_state,
    an_outline_has_the_dots_of_the_siblings,
    a_commit_is_visible_as_a_whole,
    a_snapshot_does_not_change,
    a_key_without_values_is_gone,
    the_last_state_of_a_key_counts,
    siblings_keep_their_order_of_arrival,
    ops_come_in_order_of_position,
    a_log_keeps_its_id_which_no_other_has,
    the_log_is_read_on_from_any_position,
    the_bytes_of_ops_are_known,
    recent_idempotency_keys_are_recovered,
    keys_are_listed_in_byte_order,
    keys_with_siblings_are_listed,
    large_values_are_kept,
    what_was_committed_is_recovered,
    after_a_failed_commit_there_are_only_reads,
);
