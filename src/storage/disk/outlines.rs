//! Outlines: of keys that have one value, which op wrote it. That is all a write has to know that replaces it, and takes a
//! third of the memory of a hot state, so it is [kept](super::kept) of every key that is written or looked up for a write.
//!
//! Keys are told apart by 128 bits of hashes from random seeds: among a billion keys two are taken for one with a chance
//! of 10⁻²¹.

use std::hash::{BuildHasher, RandomState};

use quick_cache::UnitWeighter;

use super::kept::Kept;
use crate::causality::Dot;
use crate::replica::Siblings;

/// What an entry takes: hash, position, dot, and its slot in the cache.
const ENTRY_BYTES: u64 = 80;

/// The op that wrote the value of a key that has one.
pub(super) fn only(siblings: &Siblings) -> Option<Dot> {
    siblings.latest().filter(|_| siblings.len() == 1).map(|sibling| sibling.dot)
}

pub(super) struct Outlines {
    kept: Kept<u128, Dot, UnitWeighter>,
    seeds: [RandomState; 2],
}

impl Outlines {
    /// None yet; as many as fit into so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let entries = bytes / ENTRY_BYTES;
        Self { kept: Kept::new(entries, entries, &UnitWeighter), seeds: [RandomState::new(), RandomState::new()] }
    }

    /// The op that wrote the one value of `key` in the state at `position`, if that is known.
    pub(super) fn get(&self, key: &str, position: u64) -> Option<Dot> {
        let (shard, hash) = self.hashes(key);
        self.kept.shard(shard).get(&hash, position)
    }

    /// Keeps what was read from the state at `position`.
    pub(super) fn keep(&self, key: &str, position: u64, dot: Dot) {
        let (shard, hash) = self.hashes(key);
        self.kept.shard(shard).keep(hash, position, &dot);
    }

    /// A commit up to `position`, not visible yet, leaves the key with this one value, or with none or several.
    pub(super) fn replace(&self, key: &str, position: u64, dot: Option<Dot>) {
        let (shard, hash) = self.hashes(key);
        self.kept.shard(shard).put(hash, position, dot);
    }

    /// What tells a key's shard, and what tells the key.
    fn hashes(&self, key: &str) -> (u64, u128) {
        let [high, low] = self.seeds.each_ref().map(|seed| seed.hash_one(key));
        (low, u128::from(high) << 64 | u128::from(low))
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
        let (_, kept) = outlines.kept.size();
        assert!(kept as u64 <= (1 << 20) / ENTRY_BYTES && kept > 6_000, "{kept}");
    }
}
