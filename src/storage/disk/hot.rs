//! Hot states: the siblings of keys that are read often, so that reading them does not ask the engine. They are
//! [kept](super::kept) when they were read.

use std::hash::{BuildHasher, RandomState};

use quick_cache::Weighter;

use super::kept::{Kept, Since};
use crate::replica::{Key, Siblings};

/// What an entry takes besides its text: the cache's slot, the allocations, the parts of a sibling.
const ENTRY_BYTES: usize = 128;
const SIBLING_BYTES: usize = 72;

pub(super) struct HotStates {
    kept: Kept<Key, Siblings, Bytes>,
    hasher: RandomState,
}

/// Weighs a state by the memory that it takes.
#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Since<Siblings>> for Bytes {
    fn weight(&self, key: &Key, state: &Since<Siblings>) -> u64 {
        let values = state.value.iter().map(|sibling| sibling.value.len() + SIBLING_BYTES);
        (ENTRY_BYTES + key.len() + values.sum::<usize>()) as u64
    }
}

impl HotStates {
    /// None yet; as many as fit into so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        Self { kept: Kept::new(bytes, bytes / (2 * ENTRY_BYTES as u64), &Bytes), hasher: RandomState::new() }
    }

    /// The siblings of `key` in the state at `position`, if they are here.
    pub(super) fn get(&self, key: &str, position: u64) -> Option<Siblings> {
        self.kept.shard(self.hasher.hash_one(key)).get(key, position)
    }

    /// Keeps what was read from the state at `position`.
    pub(super) fn keep(&self, key: &str, position: u64, siblings: &Siblings) {
        self.kept.shard(self.hasher.hash_one(key)).keep(key, position, siblings);
    }

    /// A commit up to `position`, not visible yet, writes these siblings.
    pub(super) fn replace(&self, key: &str, position: u64, siblings: &Siblings) {
        self.kept.shard(self.hasher.hash_one(key)).replace(key, position, siblings);
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
        let (weight, _) = hot.kept.size();
        assert!(weight <= 1 << 20 && weight > 1 << 19, "{weight}");
    }
}
