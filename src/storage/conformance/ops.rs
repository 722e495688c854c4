//! Ops as the log gives them back: by range, by position, and how many bytes they have.

use std::sync::Arc;

use super::{ALL, BatchLimit, Log, Storage, StoredOp, Subject, origin, range, stored};
use crate::replica::KeyedOps;

pub(super) fn ops_come_in_order_of_position<S: Subject>() {
    let subject = S::new();
    let (store, _) = subject.open();
    let mut log = Log::default();
    let origins = [origin(0, 7), origin(1, 3), origin(1, 4)];
    let mut counters = [0; 3];
    let mut appended = Vec::new();
    for turn in [0, 1, 0, 0, 2, 1, 2, 2, 0, 1] {
        counters[turn] += 1;
        appended.push(log.append(&store, origins[turn].dot(counters[turn]), &[("k", Some("v"))]));
    }
    store.commit(&appended, &log.checkpoint).unwrap();
    let all = origins.map(|origin| range(origin, 1, 9));
    let expected: Vec<StoredOp> = appended.iter().map(stored).collect();
    assert_eq!(store.ops(&all, ALL).unwrap(), expected);

    let some = [range(origins[2], 2, 3), range(origins[0], 3, 3)];
    assert_eq!(store.ops(&some, ALL).unwrap(), [3, 6, 7].map(|index: usize| expected[index].clone()));
    assert_eq!(store.ops(&all, BatchLimit { ops: 4, ..ALL }).unwrap(), expected[..4]);
    let of_three = expected[..3].iter().map(|op| op.bytes.len()).sum();
    assert_eq!(store.ops(&all, BatchLimit { bytes: of_three, ..ALL }).unwrap(), expected[..3]);
    assert_eq!(store.ops(&all, BatchLimit { bytes: of_three - 1, ..ALL }).unwrap(), expected[..2]);
    assert_eq!(store.ops(&all, BatchLimit { ops: 0, bytes: 0 }).unwrap(), expected[..1], "at least one");
    assert!(store.ops(&[], ALL).unwrap().is_empty());
    assert!(store.ops(&[range(origin(9, 9), 1, u64::MAX), range(origins[0], 3, 2)], ALL).unwrap().is_empty());
}

pub(super) fn a_log_keeps_its_id_which_no_other_has<S: Subject>() {
    let (subject, other) = (S::new(), S::new());
    let id = subject.open().0.log_id();
    let (store, _) = subject.open();
    Log::default().write(&store, origin(0, 7).dot(1), &[("k", Some("v"))]);
    drop(store);
    assert_eq!(subject.open().0.log_id(), id);
    assert_ne!(other.open().0.log_id(), id);
}

pub(super) fn the_log_is_read_on_from_any_position<S: Subject>() {
    let subject = S::new();
    let (mut store, _) = subject.open();
    let mut log = Log::default();
    let origins = [origin(0, 7), origin(1, 3)];
    let mut all: Vec<StoredOp> = Vec::new();
    let check = |store: &S::Store, all: &[StoredOp]| {
        for position in 0..=all.len() {
            let rest = &all[position..];
            let after = |limit| store.ops_after(position as u64, limit).unwrap();
            assert_eq!(after(ALL), rest);
            assert_eq!(after(BatchLimit { ops: 2, ..ALL }), rest[..rest.len().min(2)]);
            assert_eq!(after(BatchLimit { ops: 0, bytes: 0 }), rest[..rest.len().min(1)], "at least one");
            let of_two = rest.iter().take(2).map(|op| op.bytes.len()).sum();
            assert_eq!(after(BatchLimit { bytes: of_two, ..ALL }), rest[..rest.len().min(2)]);
        }
        for position in [all.len() as u64 + 1, u64::MAX - 1, u64::MAX] {
            assert!(store.ops_after(position, ALL).unwrap().is_empty());
        }
    };
    check(&store, &all);
    for round in 0..6 {
        let appends = [0, 1, 1].map(|turn| {
            let counter = log.checkpoint.vector.get(origins[turn]) + 1;
            log.append(&store, origins[turn].dot(counter), &[("k", Some("a value of some length"))])
        });
        // What is not committed is not there.
        assert_eq!(store.ops_after(0, ALL).unwrap(), all);
        store.commit(&appends, &log.checkpoint).unwrap();
        all.extend(appends.iter().map(stored));
        check(&store, &all);
        if round == 2 {
            drop(store);
            store = subject.open().0;
            check(&store, &all);
        }
    }
}

pub(super) fn the_bytes_of_ops_are_known<S: Subject>() {
    let subject = S::new();
    let (mut log, own, other) = (Log::default(), origin(0, 7), origin(1, 7));
    let check = |store: &S::Store| {
        for (first, last) in [(1, 1), (1, 4), (2, 3), (3, 9), (4, 4), (5, 9), (3, 2), (0, 0), (0, 2), (0, u64::MAX)] {
            for ranges in [vec![range(own, first, last)], vec![range(own, first, last), range(other, 1, 9)]] {
                let lengths = store.ops(&ranges, ALL).unwrap().into_iter().map(|op| op.bytes.len() as u64);
                assert_eq!(store.op_bytes(&ranges).unwrap(), lengths.sum::<u64>(), "{ranges:?}");
            }
        }
    };
    let (store, _) = subject.open();
    log.write(&store, own.dot(1), &[("a", Some("1"))]);
    let together = [
        log.append(&store, own.dot(2), &[("b", Some("a longer value"))]),
        log.append(&store, other.dot(1), &[("c", Some("2"))]),
        log.append(&store, own.dot(3), &[("d", Some("a still longer value"))]),
    ];
    store.commit(&together, &log.checkpoint).unwrap();
    check(&store);
    drop(store);
    let (store, _) = subject.open();
    log.write(&store, own.dot(4), &[("e", Some("after a restart"))]);
    check(&store);
}

/// Of the last two commits: a store that is cut up may look no further.
pub(super) fn recent_idempotency_keys_are_recovered<S: Subject>() {
    let subject = S::new();
    let (store, recovered) = subject.open();
    assert_eq!(recovered.keyed, KeyedOps::default());
    let (mut log, own) = (Log::default(), origin(0, 7));
    let mut expected = KeyedOps::default();
    for commit in [1, 3, 5] {
        let appends = [commit, commit + 1].map(|counter| {
            let mut append = log.append(&store, own.dot(counter), &[("k", Some("v")), ("gone", None)]);
            if counter % 2 == 0 && commit > 1 {
                Arc::make_mut(&mut append.op).idempotency_key = Some(format!("key {counter}").into());
            }
            append
        });
        store.commit(&appends, &log.checkpoint).unwrap();
        appends.iter().for_each(|append| expected.note(append.position, &append.op));
    }
    drop(store);
    for _ in 0..2 {
        let (_, recovered) = subject.open();
        assert_eq!(recovered.keyed, expected);
    }
}
