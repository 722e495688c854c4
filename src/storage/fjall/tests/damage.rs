//! Records that are damaged or do not fit together: an error, never "not found", and never taken for whole.

use ::fjall::{Keyspace, PersistMode, Readable};

use super::*;
use crate::causality::Origin;

const OWN: Origin = Origin { node: NodeId(0), incarnation: crate::causality::Incarnation(7) };

/// A store with a few commits, open.
fn store() -> (OnDisk, FjallStorage, Log) {
    let directory = OnDisk::new();
    let (store, _) = directory.open();
    let mut log = Log::default();
    for counter in 1..=3 {
        log.write(&store, OWN.dot(counter), &[("k", Some("v")), ("other", Some("v"))]);
    }
    (directory, store, log)
}

/// Changes one record behind the store's back, with the engine's own checksums right.
fn change(store: &FjallStorage, keyspace: &Keyspace, key: &[u8], change: impl FnOnce(&mut [u8])) {
    let mut bytes = store.engine.instant().get(keyspace, key).unwrap().unwrap().to_vec();
    change(&mut bytes);
    let mut batch = store.engine.batch().durability(Some(PersistMode::SyncData));
    batch.insert(keyspace, key, bytes);
    batch.commit().unwrap();
    look_again(store);
}

/// Lets readers see the store as it is now, as after a commit.
fn look_again(store: &FjallStorage) {
    let checkpoint = store.engine.checkpoint(&store.engine.instant()).unwrap_or_default();
    let snapshot = FjallSnapshot::take(store.engine.clone(), store.hot.clone(), &checkpoint);
    store.published.store(Arc::new(snapshot));
}

fn remove(store: &FjallStorage, keyspace: &Keyspace, key: &[u8]) {
    let mut batch = store.engine.batch().durability(Some(PersistMode::SyncData));
    batch.remove(keyspace, key);
    batch.commit().unwrap();
    look_again(store);
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

/// What opening says about a store after `change` was done to it.
fn problem_after(change: impl FnOnce(&FjallStorage)) -> String {
    let (directory, store, _) = store();
    change(&store);
    drop(store);
    match refusal(&path(&directory)) {
        OpenError::Damaged { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flipped_bit_in_a_key_is_an_error_and_not_a_missing_key() {
    let (_directory, store, _) = store();
    change(&store, &store.engine.keys, b"k", flip);
    let error = store.siblings("k").unwrap_err();
    assert_eq!(error.0, "key 'k' is damaged: key record does not match its checksum");
    let snapshot = store.snapshot().unwrap();
    assert!(matches!(snapshot.siblings("k"), Err(StorageError::Damaged { .. })));
    assert!(matches!(snapshot.keys("", None, 10), Err(StorageError::Damaged { .. })));
    assert_eq!(values(&snapshot.siblings("other").unwrap()), ["v"], "others can still be read");
}

#[test]
fn a_flipped_bit_in_an_op_is_an_error() {
    let (_directory, store, _) = store();
    change(&store, &store.engine.ops, &record::dot_key(OWN.dot(2)), flip);
    assert!(matches!(store.ops(&[range(OWN, 1, 3)], ALL), Err(StorageError::Damaged { .. })));
    assert_eq!(store.ops(&[range(OWN, 3, 3)], ALL).unwrap().len(), 1);
}

#[test]
fn an_op_missing_between_others_is_an_error() {
    let (_directory, store, _) = store();
    remove(&store, &store.engine.ops, &record::dot_key(OWN.dot(2)));
    let error = store.ops(&[range(OWN, 1, 3)], ALL).unwrap_err();
    assert_eq!(error.to_string(), format!("op {} is damaged: it is missing from the log", OWN.dot(2)));
}

#[test]
fn the_bytes_around_a_lost_op_are_an_error_and_not_a_number() {
    let (directory, store, mut log) = store();
    log.write(&store, origin(1, 1).dot(1), &[("k", Some("v"))]);
    remove(&store, &store.engine.ops, &record::dot_key(OWN.dot(3)));
    drop(store);
    let (store, _) = directory.open();
    log.write(&store, OWN.dot(4), &[("k", None)]);
    let error = store.op_bytes(&[range(OWN, 2, 4)]).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

#[test]
fn a_damaged_checkpoint_stops_opening() {
    let (directory, store, _) = store();
    change(&store, &store.engine.meta, record::CHECKPOINT, flip);
    drop(store);
    assert!(matches!(refusal(&path(&directory)), OpenError::Damaged { .. }));
}

#[test]
fn a_missing_checkpoint_is_not_an_empty_store() {
    let problem = problem_after(|store| remove(store, &store.engine.meta, record::CHECKPOINT));
    assert_eq!(problem, "the store is damaged: it has no checkpoint");
}

#[test]
fn a_damaged_ancestry_is_refused() {
    let problem = problem_after(|store| {
        let mut batch = store.engine.batch();
        batch.insert(&store.engine.meta, record::ancestry_key(OWN), b"no frame".as_slice());
        batch.commit().unwrap();
    });
    assert_eq!(problem, format!("the ancestry of {OWN} is damaged: ancestry record does not match its checksum"));
}

#[test]
fn a_part_that_went_back_is_noticed() {
    let earlier = record::encode_position(2);
    let problem = problem_after(|store| {
        change(store, &store.engine.keys, &record::KEYS_POSITION, |bytes| bytes.copy_from_slice(&earlier))
    });
    assert_eq!(problem, "the store is damaged: its keys end at position 2, its checkpoint is of 3");

    let problem = problem_after(|store| remove(store, &store.engine.order, &3u64.to_be_bytes()));
    assert_eq!(problem, "the store is damaged: its ops end at position 2, its checkpoint is of 3");

    let problem = problem_after(|store| remove(store, &store.engine.ops, &record::dot_key(OWN.dot(3))));
    assert_eq!(problem, format!("op {} is damaged: it is missing from the log", OWN.dot(3)));

    let problem = problem_after(|store| {
        for position in 1..=3u64 {
            remove(store, &store.engine.order, &position.to_be_bytes());
        }
    });
    assert_eq!(problem, "the op log is damaged: it has ops without a place in it");
}

#[test]
fn a_log_ahead_of_its_checkpoint_is_noticed() {
    let stranger = origin(5, 5).dot(1);
    let problem = problem_after(|store| {
        let bytes = store.engine.instant().get(&store.engine.ops, record::dot_key(OWN.dot(3))).unwrap().unwrap();
        let mut batch = store.engine.batch();
        batch.insert(&store.engine.ops, record::dot_key(stranger), bytes);
        batch.commit().unwrap();
    });
    assert_eq!(problem, format!("op {stranger} is damaged: it is in the log, but not in the checkpoint"));
}

#[test]
fn an_empty_log_below_a_checkpoint_is_a_trimmed_one() {
    let (directory, store, log) = store();
    for counter in 1..=3u64 {
        remove(&store, &store.engine.order, &counter.to_be_bytes());
        remove(&store, &store.engine.ops, &record::dot_key(OWN.dot(counter)));
    }
    drop(store);
    assert_eq!(open(&path(&directory)).unwrap().1.checkpoint, log.checkpoint);
}
