//! States kept in memory are those of the reader's instant, whatever is committed meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const KEYS: u64 = 7;

/// What a key's value is once `counter` ops are there, of which each writes the next key.
fn expected(key: u64, counter: u64) -> u64 {
    (0..KEYS).map(|back| counter.saturating_sub(back)).find(|counter| counter % KEYS == key).unwrap_or(0)
}

#[test]
fn readers_see_each_key_as_of_their_instant_while_commits_go_on() {
    let directory = OnDisk::new();
    let (store, _) = directory.open();
    let own = origin(0, 7);
    let done = AtomicBool::new(false);
    let read = || {
        let mut reads = 0;
        while !done.load(Ordering::Relaxed) || reads < 1_000 {
            let snapshot = store.snapshot().unwrap();
            let counter = snapshot.vector().get(own);
            for key in 0..KEYS {
                let siblings = snapshot.siblings(&format!("key{key}")).unwrap();
                let found = siblings.latest().map_or(0, |latest| latest.value.parse().unwrap());
                assert_eq!(found, expected(key, counter), "key{key} after {counter} ops");
                reads += 1;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(read);
        scope.spawn(read);
        let mut log = Log::default();
        for counter in 1..=500 {
            log.write(&store, own.dot(counter), &[(&format!("key{}", counter % KEYS), Some(&counter.to_string()))]);
        }
        done.store(true, Ordering::Relaxed);
    });
}
