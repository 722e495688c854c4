//! What only the store on disk can get wrong.
#![allow(clippy::unwrap_used)]

mod adopting;
mod crash;
mod damage;
mod format_3;
mod hot;
mod repair;
mod restarts;
mod restoring;
mod trimming;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::causality::NodeId;
use crate::format::frame;
use crate::format::identity::{self, StoredIdentity};
use crate::storage::conformance::{ALL, Log, OnDisk, Subject, identity, origin, range, values};

fn path(directory: &OnDisk) -> PathBuf {
    directory.0.path().join("data")
}

fn open(path: &Path) -> Result<(DiskStorage, Recovered), OpenError> {
    DiskStorage::open(path, &identity())
}

/// Why a directory can't be opened.
fn refusal(path: &Path) -> OpenError {
    match open(path) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// A store with one key in it, closed.
fn written() -> OnDisk {
    let directory = OnDisk::new();
    let (store, _) = directory.open();
    Log::default().write(&store, origin(0, 7).dot(1), &[("k", Some("v"))]);
    directory
}

/// Copies all of a directory but the lock, as it is at some instant: again, if files came or went meanwhile, as they do
/// where a store is open.
fn copy(from: &Path, to: &Path) {
    for _ in 0..100 {
        let before = names(from);
        if copy_once(from, to).is_ok() && names(from) == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
    panic!("{} does not come to rest", from.display());
}

fn copy_once(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_once(&entry.path(), &to)?;
        } else if entry.file_name() != "lock" {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// The files in a directory. One that goes meanwhile is none.
fn names(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(names(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn keys(store: &DiskStorage) -> Arc<Keys> {
    store.commits.lock().unwrap().keys.clone()
}

/// Everything in a directory, to see that nothing changed.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(contents(&path)) } else { found.push((path.clone(), fs::read(path).unwrap())) }
    }
    found.sort();
    found
}

#[test]
fn a_second_open_is_refused_until_the_first_is_closed() {
    let directory = OnDisk::new();
    let (store, _) = directory.open();
    assert!(matches!(refusal(&path(&directory)), OpenError::InUse { .. }));
    let snapshot = store.snapshot().unwrap();
    drop(store);
    assert!(matches!(refusal(&path(&directory)), OpenError::InUse { .. }), "a snapshot still reads it");
    drop(snapshot);
    directory.open();
}

#[test]
fn the_directory_of_another_node_or_cluster_is_refused() {
    let directory = written();
    let before = contents(&path(&directory));
    for (cluster, node) in [("causeway", 1), ("other", 0)] {
        let expected = Identity { cluster: cluster.to_owned(), node: NodeId(node) };
        match DiskStorage::open(&path(&directory), &expected).map(drop) {
            Err(OpenError::OtherIdentity { found, expected: named, .. }) => {
                assert_eq!((found, named), (identity(), expected));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(contents(&path(&directory)), before);
    directory.open();
}

#[test]
fn a_newer_format_is_refused() {
    let directory = written();
    let newer =
        StoredIdentity { format: directory::FORMAT + 1, cluster: "causeway".to_owned(), node: NodeId(0), log: 7 };
    for bytes in [identity::encode(&newer), frame::seal(5, |bytes| bytes.push(0))] {
        fs::write(path(&directory).join("identity"), bytes).unwrap();
        let before = contents(&path(&directory));
        assert!(matches!(refusal(&path(&directory)), OpenError::NewerFormat { found: 5, newest: 4, .. }));
        assert_eq!(contents(&path(&directory)), before);
    }
}

#[test]
fn an_old_format_is_refused() {
    let directory = written();
    for format in 1..directory::OLDEST_FORMAT {
        let old = StoredIdentity { format, cluster: "causeway".to_owned(), node: NodeId(0), log: 7 };
        fs::write(path(&directory).join("identity"), identity::encode(&old)).unwrap();
        let refusal = refusal(&path(&directory));
        assert!(matches!(refusal, OpenError::OldFormat { found, oldest: 3, .. } if found == format), "{refusal}");
    }
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let directory = OnDisk::new();
    fs::create_dir(path(&directory)).unwrap();
    fs::write(path(&directory).join("letter.txt"), "dear").unwrap();
    assert!(matches!(refusal(&path(&directory)), OpenError::Foreign { .. }));
    assert_eq!(contents(&path(&directory)), [(path(&directory).join("letter.txt"), b"dear".to_vec())]);
}

#[test]
fn a_damaged_identity_is_refused() {
    let directory = written();
    let file = path(&directory).join("identity");
    let mut bytes = fs::read(&file).unwrap();
    bytes[3] ^= 4;
    fs::write(&file, bytes).unwrap();
    assert!(matches!(refusal(&path(&directory)), OpenError::Damaged { .. }));
}

#[test]
fn a_file_in_its_place_is_an_error() {
    let directory = OnDisk::new();
    fs::write(path(&directory), "a file").unwrap();
    assert!(matches!(refusal(&path(&directory)), OpenError::Io { .. }));
}

/// Everything that a first start may leave when it is cut off.
#[test]
fn a_first_start_that_was_cut_off_is_begun_again() {
    let whole_identity = identity::encode(&StoredIdentity {
        format: directory::FORMAT,
        cluster: "causeway".to_owned(),
        node: NodeId(0),
        log: 7,
    });
    let begun: [(&str, &[u8]); 6] = [
        ("lock", b""),
        ("identity.new", &whole_identity[..4]),
        ("identity.new", &whole_identity),
        ("identity", &whole_identity),
        ("store.new/log/00000000000000000001.ops", &[0; 100]),
        ("store.new/keys/half", b"a"),
    ];
    for steps in 0..=begun.len() {
        let directory = OnDisk::new();
        fs::create_dir(path(&directory)).unwrap();
        for (name, bytes) in &begun[..steps] {
            let file = path(&directory).join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        let (store, recovered) = directory.open();
        assert_eq!(recovered.checkpoint, Checkpoint::default());
        Log::default().write(&store, origin(0, 7).dot(1), &[("k", Some("v"))]);
        drop(store);
        assert_eq!(values(&directory.open().0.siblings("k").unwrap()), ["v"]);
        assert!(!path(&directory).join("store.new").exists());
    }
}

#[test]
fn missing_parents_of_the_directory_are_made() {
    let directory = OnDisk::new();
    open(&path(&directory).join("deep/er")).unwrap();
}

#[test]
fn reads_do_not_wait_for_commits() {
    let directory = written();
    let (store, _) = directory.open();
    let _committing = store.commits.lock().unwrap();
    assert_eq!(values(&store.siblings("k").unwrap()), ["v"]);
    assert_eq!(store.snapshot().unwrap().keys("", None, 9).unwrap().len(), 1);
    assert_eq!(store.ops(&[range(origin(0, 7), 1, 1)], ALL).unwrap().len(), 1);
    assert!(store.disk_bytes().unwrap() > 0);
}

/// Tables, compactions and several journals, not only what is in memory.
#[test]
fn much_more_than_fits_in_memory_is_kept() {
    let directory = OnDisk::new();
    let small = DiskOptions {
        cache_bytes: 1 << 20,
        hot_bytes: 1 << 20,
        outline_bytes: 1 << 20,
        write_buffer_bytes: 1 << 20,
        tail_bytes: 1 << 20,
        segment_bytes: 8 << 20,
    };
    let open = || DiskStorage::open_with(&path(&directory), &identity(), small).unwrap();
    let (store, _) = open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    let value = "0123456789abcdef".repeat(1 << 12);
    for counter in 1..=600 {
        let key = format!("key{}", counter % 100);
        log.write(&store, own.dot(counter), &[(&key, Some(&format!("{counter}:{value}")))]);
    }
    let check = |store: &DiskStorage| {
        let snapshot = store.snapshot().unwrap();
        let keys = snapshot.keys("", None, 1000).unwrap();
        assert_eq!(keys.len(), 100);
        for (key, siblings) in keys {
            let number: u64 = key[3..].parse().unwrap();
            let last = if number == 0 { 600 } else { 500 + number };
            assert!(values(&siblings)[0].starts_with(&format!("{last}:")), "{key}");
        }
        let mut next = 1;
        while next <= 600 {
            let ops = store.ops(&[range(own, next, 600)], BatchLimit { ops: 1000, bytes: 4 << 20 }).unwrap();
            assert!(ops.iter().map(|op| op.position).eq(next..next + ops.len() as u64));
            next += ops.len() as u64;
        }
    };
    check(&store);
    drop(store);
    let (store, recovered) = open();
    assert_eq!(recovered.checkpoint, log.checkpoint);
    check(&store);
}
