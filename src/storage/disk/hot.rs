//! Hot states: the siblings of keys that are read often, so that reading them does not ask the engine.
//!
//! Promises: what is found is what the engine holds at the reader's instant; memory is bounded. Commits and readers
//! share a shard's lock only for as long as one look-up takes.
//!
//! A state is good from the position at which it was read or written on, until a commit writes the key. A commit
//! replaces it *before* it becomes visible, so a reader of an older instant may find one that is too new: it asks the
//! engine. A reader puts in what it read only if no commit has written to the shard since its instant: else the
//! key may have changed meanwhile, and nobody would ever replace what is wrong.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::replica::{Key, Siblings};

const SHARDS: usize = 64;

/// What an entry takes besides its text: the cache's slot, the allocations, the parts of a sibling.
const ENTRY_BYTES: usize = 128;
const SIBLING_BYTES: usize = 72;

pub(super) struct HotStates {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

struct Shard {
    /// The position of the last commit that wrote one of its keys, whether that is in here or not.
    changed: u64,
    states: Cache<Key, Hot, Weight>,
}

#[derive(Clone)]
struct Hot {
    /// The position from which on it is good.
    since: u64,
    siblings: Siblings,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Hot> for Weight {
    fn weight(&self, key: &Key, hot: &Hot) -> u64 {
        let values = hot.siblings.iter().map(|sibling| sibling.value.len() + SIBLING_BYTES);
        (ENTRY_BYTES + key.len() + values.sum::<usize>()) as u64
    }
}

impl HotStates {
    /// None yet; as many as fit into so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let of_shard = bytes / SHARDS as u64;
        let estimate = usize::try_from(of_shard).unwrap_or(usize::MAX) / (2 * ENTRY_BYTES);
        let shard = || Shard { changed: 0, states: Cache::with_weighter(estimate, of_shard, Weight) };
        Self { shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(), hasher: RandomState::new() }
    }

    /// The siblings of `key` in the state at `position`, if they are here.
    pub(super) fn get(&self, key: &str, position: u64) -> Option<Siblings> {
        let shard = self.shard(key);
        shard.states.get(key).filter(|hot| hot.since <= position).map(|hot| hot.siblings.clone())
    }

    /// Keeps what was read from the state at `position`.
    pub(super) fn keep(&self, key: &str, position: u64, siblings: &Siblings) {
        let mut shard = self.shard(key);
        if shard.changed <= position {
            shard.states.insert(key.into(), Hot { since: position, siblings: siblings.clone() });
        }
    }

    /// A commit up to `position`, not visible yet, writes these siblings.
    pub(super) fn replace(&self, key: &str, position: u64, siblings: &Siblings) {
        let mut shard = self.shard(key);
        shard.changed = position;
        if let Some(mut hot) = shard.states.get_mut(key) {
            *hot = Hot { since: position, siblings: siblings.clone() };
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[self.hasher.hash_one(key) as usize % SHARDS];
        // A panic between two of these steps leaves a state in or out, never a wrong one.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Hlc, Incarnation, NodeId, Origin};
    use crate::replica::Sibling;

    fn written_at(position: u64) -> Siblings {
        let dot = Origin::new(NodeId(0), Incarnation(1)).dot(position);
        Siblings::new(vec![Sibling { dot, hlc: Hlc(position), arrival: position, value: "v".into() }])
    }

    #[test]
    fn what_was_read_is_found_from_then_on() {
        let hot = HotStates::new(1 << 20);
        hot.keep("k", 3, &written_at(2));
        assert_eq!(hot.get("k", 3), Some(written_at(2)));
        assert_eq!(hot.get("k", 9), Some(written_at(2)));
        assert_eq!(hot.get("k", 2), None, "nobody looked at what was there before");
        assert_eq!(hot.get("other", 3), None);
    }

    #[test]
    fn a_commit_replaces_and_an_older_instant_does_not_see_it() {
        let hot = HotStates::new(1 << 20);
        hot.keep("k", 3, &written_at(2));
        hot.replace("k", 4, &written_at(4));
        assert_eq!(hot.get("k", 3), None);
        assert_eq!(hot.get("k", 4), Some(written_at(4)));
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_kept_after_it() {
        let hot = HotStates::new(1 << 20);
        hot.replace("k", 4, &written_at(4));
        hot.keep("k", 3, &written_at(2));
        assert_eq!(hot.get("k", 4), None);
        hot.keep("k", 4, &written_at(4));
        assert_eq!(hot.get("k", 4), Some(written_at(4)));
    }

    #[test]
    fn a_key_that_is_not_there_is_a_state_too() {
        let hot = HotStates::new(1 << 20);
        hot.keep("k", 3, &Siblings::default());
        assert_eq!(hot.get("k", 3), Some(Siblings::default()));
    }

    #[test]
    fn memory_is_bounded() {
        let hot = HotStates::new(1 << 20);
        for key in 0..100_000 {
            hot.keep(&format!("key {key}"), 1, &written_at(1));
        }
        let weight: u64 =
            hot.shards.iter().map(|shard| shard.lock().expect("no other thread has it").states.weight()).sum();
        assert!(weight <= 1 << 20 && weight > 1 << 19, "{weight}");
    }
}
