//! Outlines: of keys that have one value, which op wrote it. That is all a write has to know that replaces it, and takes a
//! third of the memory of a hot state, so it is known of many more keys.
//!
//! Promises: what is found is what the engine holds at the reader's instant, by the same rules as for
//! [hot states](super::hot); memory is bounded. Keys are told apart by 128 bits of hashes from random seeds: among a
//! billion keys two are taken for one with a chance of 10⁻²¹.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::unsync::Cache;

use crate::causality::Dot;

const SHARDS: usize = 64;

/// What an entry takes: hash, position, dot, and its slot in the cache.
const ENTRY_BYTES: u64 = 80;

pub(super) struct Outlines {
    shards: Vec<Mutex<Shard>>,
    seeds: [RandomState; 2],
}

struct Shard {
    /// The position of the last commit that wrote one of its keys.
    changed: u64,
    dots: Cache<u128, Outline>,
}

#[derive(Clone, Copy)]
struct Outline {
    /// The position from which on it is good.
    since: u64,
    dot: Dot,
}

impl Outlines {
    /// None yet; as many as fit into so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let of_shard = usize::try_from(bytes / ENTRY_BYTES).unwrap_or(usize::MAX) / SHARDS;
        let shard = || Mutex::new(Shard { changed: 0, dots: Cache::new(of_shard) });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), seeds: [RandomState::new(), RandomState::new()] }
    }

    /// The op that wrote the one value of `key` in the state at `position`, if that is known.
    pub(super) fn get(&self, key: &str, position: u64) -> Option<Dot> {
        let (shard, hash) = self.shard(key);
        let found = shard.dots.get(&hash).copied();
        drop(shard);
        found.filter(|outline| outline.since <= position).map(|outline| outline.dot)
    }

    /// Keeps what was read from the state at `position`.
    pub(super) fn keep(&self, key: &str, position: u64, dot: Dot) {
        let (mut shard, hash) = self.shard(key);
        if shard.changed <= position {
            shard.dots.insert(hash, Outline { since: position, dot });
        }
    }

    /// A commit up to `position`, not visible yet, leaves the key with this one value, or with none or several.
    pub(super) fn replace(&self, key: &str, position: u64, dot: Option<Dot>) {
        let (mut shard, hash) = self.shard(key);
        shard.changed = position;
        match dot {
            Some(dot) => shard.dots.insert(hash, Outline { since: position, dot }),
            None => drop(shard.dots.remove(&hash)),
        }
    }

    fn shard(&self, key: &str) -> (MutexGuard<'_, Shard>, u128) {
        let [high, low] = self.seeds.each_ref().map(|seed| u128::from(seed.hash_one(key)));
        let shard = &self.shards[low as usize % SHARDS];
        // A panic between two of these steps leaves an outline in or out, never a wrong one.
        (shard.lock().unwrap_or_else(PoisonError::into_inner), high << 64 | low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Incarnation, NodeId, Origin};

    fn dot(counter: u64) -> Dot {
        Origin::new(NodeId(0), Incarnation(1)).dot(counter)
    }

    #[test]
    fn what_was_read_or_committed_is_found_from_then_on() {
        let outlines = Outlines::new(1 << 20);
        outlines.keep("read", 3, dot(2));
        assert_eq!(outlines.get("read", 3), Some(dot(2)));
        assert_eq!(outlines.get("read", 2), None, "nobody looked at what was there before");
        outlines.replace("read", 4, Some(dot(4)));
        assert_eq!(outlines.get("read", 3), None);
        assert_eq!(outlines.get("read", 4), Some(dot(4)));
        outlines.replace("read", 5, None);
        assert_eq!(outlines.get("read", 9), None);
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_kept_after_it() {
        let outlines = Outlines::new(1 << 20);
        outlines.replace("k", 4, None);
        outlines.keep("k", 3, dot(2));
        assert_eq!(outlines.get("k", 4), None);
    }

    #[test]
    fn memory_is_bounded() {
        let outlines = Outlines::new(1 << 20);
        for key in 0..100_000 {
            outlines.keep(&format!("key {key}"), 1, dot(1));
        }
        let kept: usize =
            outlines.shards.iter().map(|shard| shard.lock().expect("no other thread has it").dots.len()).sum();
        assert!(kept as u64 <= (1 << 20) / ENTRY_BYTES && kept > 6_000, "{kept}");
    }
}
