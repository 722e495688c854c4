//! A trim that was cut off, and readers of what is being trimmed.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::causality::VersionVector;

const IN_PIECES: DiskOptions = DiskOptions {
    cache_bytes: 1 << 20,
    hot_bytes: 1 << 20,
    outline_bytes: 1 << 20,
    write_buffer_bytes: 1,
    tail_bytes: 0,
    segment_bytes: 1,
};

fn open_in_pieces(directory: &OnDisk) -> (DiskStorage, Recovered) {
    DiskStorage::open_with(&path(directory), &identity(), IN_PIECES).unwrap()
}

#[test]
fn a_trim_that_was_cut_off_leaves_a_log_that_begins_later() {
    let directory = OnDisk::new();
    let (store, _) = open_in_pieces(&directory);
    let (mut log, own) = (Log::default(), origin(0, 7));
    let mut vectors = vec![VersionVector::new()];
    for counter in 1..=5 {
        log.write(&store, own.dot(counter), &[("k", Some("v"))]);
        vectors.push(log.checkpoint.vector.clone());
    }
    keys(&store).engine().wait_for_tables().unwrap();
    drop(store);
    let files = (1..5).flat_map(|position| ["index", "ops"].map(|ending| format!("store/log/{position:020}.{ending}")));
    for (gone, file) in files.enumerate() {
        fs::remove_file(path(&directory).join(file)).unwrap();
        let (store, recovered) = open_in_pieces(&directory);
        let start = (gone as u64).div_ceil(2);
        assert_eq!((recovered.floor, store.log_start()), (vectors[start as usize].clone(), start));
        assert_eq!(recovered.checkpoint, log.checkpoint);
        assert_eq!(store.ops(&[range(own, 1, 9)], ALL).unwrap().len() as u64, 5 - start);
    }
}

/// What is on disk of the keys lags behind: a start needs the log for the rest.
#[test]
fn what_a_start_does_again_is_not_trimmed() {
    let directory = OnDisk::new();
    let options = DiskOptions { segment_bytes: 1, ..DiskOptions::default() };
    let open = || DiskStorage::open_with(&path(&directory), &identity(), options).unwrap();
    let (store, _) = open();
    let (mut log, own) = (Log::default(), origin(0, 7));
    for counter in 1..=5 {
        log.write(&store, own.dot(counter), &[(&format!("k{counter}"), Some("v"))]);
    }
    assert!(store.trim(4).unwrap().is_empty());
    assert_eq!(store.ops_after(0, ALL).unwrap().len(), 5);
    // It was seen to.
    keys(&store).engine().wait_for_tables().unwrap();
    assert_eq!(store.trim(4).unwrap().get(own), 4);
    assert_eq!(store.ops_after(0, ALL).unwrap().len(), 1);
    drop(store);
    assert_eq!(open().0.snapshot().unwrap().keys("", None, 9).unwrap().len(), 5);
}

#[test]
fn the_log_is_read_while_it_is_trimmed() {
    let directory = OnDisk::new();
    let (store, _) = open_in_pieces(&directory);
    let own = origin(0, 7);
    let done = AtomicBool::new(false);
    let read = || {
        let mut start = 0;
        while !done.load(Ordering::Relaxed) {
            let ranges = [range(own, 1, u64::MAX), range(origin(1, 7), 1, u64::MAX)];
            let ops = store.ops(&ranges, ALL).unwrap();
            assert!(ops.is_sorted_by(|left, right| left.position + 1 == right.position));
            store.op_bytes(&ranges).unwrap();
            let ops = store.ops_after(0, ALL).unwrap();
            assert!(ops.is_sorted_by(|left, right| left.position + 1 == right.position));
            start = ops.first().map_or(start, |first| {
                assert!(first.position >= start, "what was gone is back");
                first.position
            });
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(read);
        scope.spawn(read);
        let mut log = Log::default();
        for counter in 1..=150 {
            log.write(&store, own.dot(counter), &[("k", Some("v"))]);
            log.write(&store, origin(1, 7).dot(counter), &[("other", Some("v"))]);
            store.trim((2 * counter).saturating_sub(counter % 8)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}
