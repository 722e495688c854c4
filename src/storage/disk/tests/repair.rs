//! Damage that is come upon while a store is open: what goes on, and what it is repaired with.

use super::*;
use crate::causality::{Hlc, Incarnation, NodeId, Origin};
use crate::replica::{Key, Sibling};
use crate::storage::PeerState;

const OWN: Origin = Origin { node: NodeId(0), incarnation: Incarnation(7) };
const PEER: Origin = Origin { node: NodeId(1), incarnation: Incarnation(3) };

/// Nothing is kept in memory that was written, and files of the log have a commit each.
const IN_PIECES: DiskOptions = DiskOptions {
    cache_bytes: 0,
    hot_bytes: 0,
    outline_bytes: 0,
    write_buffer_bytes: 1,
    tail_bytes: 0,
    segment_bytes: 1,
};

fn open_in_pieces(directory: &OnDisk, options: DiskOptions) -> (DiskStorage, Recovered) {
    DiskStorage::open_with(&path(directory), &identity(), options).unwrap()
}

/// A store with these keys, each in a table of its own, and the same log.
fn store(directory: &OnDisk, options: DiskOptions, keys_written: &[&str]) -> (DiskStorage, Log) {
    let (store, _) = open_in_pieces(directory, options);
    let mut log = Log::default();
    for (key, counter) in keys_written.iter().zip(1..) {
        log.write(&store, OWN.dot(counter), &[(key, Some(key))]);
        // What became a table behind the last commit is read from memory up to the next one.
        keys(&store).engine().wait_for_tables().unwrap();
    }
    (store, log)
}

/// Flips a bit of every file with that text in it.
fn flip_in_files(directory: &Path, text: &str) {
    let mut flipped = 0;
    for (file, mut bytes) in contents(directory) {
        let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) else { continue };
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
        flipped += 1;
    }
    assert!(flipped > 0, "nothing has {text}");
}

/// The state of a peer that has the first of this node's ops, with the value of each, and one key of its own.
fn peer(keys_had: &[&str]) -> (PeerState, Vec<(Key, Siblings)>) {
    let of = |key: &str, dot| Siblings::new(vec![Sibling { dot, hlc: Hlc(1), arrival: 1, value: key.into() }]);
    let had = keys_had.iter().zip(1..).map(|(key, counter)| (Key::from(*key), of(key, OWN.dot(counter))));
    let mut had: Vec<_> = had.chain([(Key::from("theirs"), of("theirs", PEER.dot(1)))]).collect();
    had.sort_by(|(left, _), (right, _)| left.cmp(right));
    let vector = [OWN.dot(keys_had.len() as u64), PEER.dot(1)].into_iter().collect();
    (PeerState { vector, ancestry: Ancestry::new() }, had)
}

fn held(store: &DiskStorage) -> Vec<(String, String)> {
    let keys = store.snapshot().unwrap().keys("", None, 99).unwrap();
    keys.into_iter().map(|(key, siblings)| (key, values(&siblings).join(" "))).collect()
}

fn expected(keys: &[&str]) -> Vec<(String, String)> {
    let mut keys: Vec<_> = keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())).collect();
    keys.sort();
    keys
}

#[test]
fn damaged_keys_are_noted_and_had_again_from_a_peer_and_the_log() {
    let directory = OnDisk::new();
    let (store, mut log) = store(&directory, IN_PIECES, &["first key", "second key", "third key"]);
    assert_eq!(store.damage(), Damage::default());
    flip_in_files(&path(&directory).join("store/keys"), "second key");
    assert!(matches!(store.snapshot().unwrap().siblings("second key"), Err(StorageError::Damaged { .. })));
    assert!(store.damage().keys && store.damage().found > 0);
    assert!(!store.damage().log);
    // It goes on meanwhile, and merging tables, which comes upon it, stops nothing.
    for counter in 4..40 {
        log.write(&store, OWN.dot(counter), &[("later", Some("later"))]);
        keys(&store).engine().wait_for_tables().unwrap();
    }
    let (state, had) = peer(&["first key", "second key"]);
    let mut fill = store.begin_fill(state, Basis::Log).unwrap();
    fill.put(had, None).unwrap();
    while fill.catch_up().unwrap() > 0 {}
    log.write(&store, OWN.dot(40), &[("last", Some("last"))]);
    let adopted = store.adopt(fill).unwrap();
    assert!(adopted.ancestry.includes(&adopted.checkpoint.vector, &log.checkpoint.vector));
    let all = expected(&["first key", "second key", "third key", "later", "last", "theirs"]);
    assert_eq!(held(&store), all);
    assert_eq!((store.damage().keys, store.damage().log), (false, false));
    drop(store);
    assert_eq!(held(&open_in_pieces(&directory, IN_PIECES).0), all);
}

#[test]
fn what_neither_the_log_nor_the_peer_has_is_not_given_up() {
    let directory = OnDisk::new();
    let (store, log) = store(&directory, IN_PIECES, &["first key", "second key", "third key"]);
    store.trim(2).unwrap();
    let (state, _) = peer(&["first key"]);
    let refused = store.begin_fill(state, Basis::Log).map(drop);
    assert!(matches!(&refused, Err(StorageError::Unfit(_))), "{refused:?}");
    // One that was begun before the log was given up finds that it is not there any more.
    let (state, had) = peer(&["first key", "second key"]);
    let mut fill = store.begin_fill(state, Basis::Log).unwrap();
    fill.put(had, None).unwrap();
    flip_in_files(&path(&directory).join("store/log"), "third key");
    assert!(matches!(fill.catch_up(), Err(StorageError::Damaged { .. })));
    store.give_up_log().unwrap();
    assert!(matches!(store.adopt(fill), Err(StorageError::Unfit(_))));
    assert_eq!(held(&store), expected(&["first key", "second key", "third key"]));
    assert_eq!(store.commits.lock().unwrap().checkpoint, log.checkpoint);
}

/// In a file that is closed, and in the one that is appended to.
#[test]
fn a_damaged_log_is_given_up_and_the_keys_stay() {
    for (segment_bytes, damaged, left) in [(1, "second key", 1), (1, "third key", 0), (1 << 20, "second key", 0)] {
        let directory = OnDisk::new();
        let options = DiskOptions { segment_bytes, ..IN_PIECES };
        let (store, mut log) = store(&directory, options, &["first key", "second key", "third key"]);
        assert_eq!(store.give_up_log().unwrap(), VersionVector::new(), "it is whole");
        let _hold = store.hold_log();
        flip_in_files(&path(&directory).join("store/log"), damaged);
        assert!(matches!(store.ops(&[range(OWN, 1, 3)], ALL), Err(StorageError::Damaged { .. })));
        assert!(store.damage().log && !store.damage().keys);
        let floor = store.give_up_log().unwrap();
        assert_eq!(floor, [OWN.dot(3 - left)].into_iter().collect());
        assert!(!store.damage().log);
        assert_eq!(store.ops(&[range(OWN, 1, 3)], ALL).unwrap().len() as u64, left);
        log.write(&store, OWN.dot(4), &[("fourth key", Some("fourth key"))]);
        for _ in 0..2 {
            assert_eq!(store.ops(&[range(OWN, 1, 9)], ALL).unwrap().len() as u64, left + 1);
        }
        drop(store);
        let (store, recovered) = open_in_pieces(&directory, options);
        assert_eq!((recovered.checkpoint, recovered.floor), (log.checkpoint, floor));
        assert_eq!(held(&store), expected(&["first key", "second key", "third key", "fourth key"]));
    }
}

/// What a directory shows, read as far as it can be.
fn check_shown(store: &DiskStorage, expected: &[&str]) {
    let snapshot = store.snapshot().unwrap();
    for key in expected {
        match snapshot.siblings(key) {
            Ok(siblings) => assert_eq!(values(&siblings), [*key]),
            Err(error) => assert!(matches!(error, StorageError::Damaged { .. }), "{error}"),
        }
    }
    match snapshot.keys("", None, 99) {
        Ok(keys) => expected.iter().for_each(|key| assert!(keys.iter().any(|(found, _)| found == key))),
        Err(error) => assert!(matches!(error, StorageError::Damaged { .. }), "{error}"),
    }
    match store.ops(&[range(OWN, 1, 3)], ALL) {
        Ok(ops) => assert_eq!(ops.len(), 3),
        Err(error) => assert!(matches!(error, StorageError::Damaged { .. }), "{error}"),
    }
}

/// In every file. What was written last may be gone: that can't be told from a commit that was interrupted.
#[test]
fn a_bit_that_flips_anywhere_is_noticed_or_does_not_matter() {
    let directory = OnDisk::new();
    let (store, mut log) = store(&directory, IN_PIECES, &["first key", "second key", "third key"]);
    log.write(&store, OWN.dot(4), &[("last", Some("last"))]);
    keys(&store).engine().wait_for_tables().unwrap();
    drop(store);
    let scratch = directory.0.path().join("scratch");
    let (mut opened, mut refused) = (0, 0);
    for (file, bytes) in contents(&path(&directory)) {
        let step = (bytes.len() / MAX_FLIPS_A_FILE).max(1);
        for at in (0..bytes.len()).step_by(step) {
            copy(&path(&directory), &scratch);
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(scratch.join(file.strip_prefix(path(&directory)).unwrap()), bytes).unwrap();
            match DiskStorage::open_with(&scratch, &identity(), IN_PIECES) {
                Ok((store, _)) => {
                    opened += 1;
                    check_shown(&store, &["first key", "second key", "third key"]);
                }
                Err(_) => refused += 1,
            }
            fs::remove_dir_all(&scratch).unwrap();
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} {refused}");
}

const MAX_FLIPS_A_FILE: usize = 16;
