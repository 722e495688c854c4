//! What is kept in memory of keys, so that not every look-up asks the engine: in shards, each behind a lock.
//!
//! Promises: what is found is what the engine holds at the reader's instant; memory is bounded. Commits and readers
//! share a shard's lock only for as long as one look-up takes.
//!
//! What is kept is good from the position at which it was read or written on, until a commit writes the key. A commit
//! replaces it *before* it becomes visible, so a reader of an older instant may find one that is too new: it asks the
//! engine. A reader puts in what it read only if no commit has written to the shard since its instant: else the
//! key may have changed meanwhile, and nobody would ever replace what is wrong.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Weighter};

const SHARDS: usize = 64;

pub(super) struct Kept<K, V, W> {
    shards: Vec<Mutex<Shard<K, V, W>>>,
}

pub(super) struct Shard<K, V, W> {
    /// The position of the last commit that wrote one of its keys, whether that is in here or not.
    changed: u64,
    kept: Cache<K, Since<V>, W>,
}

#[derive(Clone)]
pub(super) struct Since<V> {
    /// From which on it is good.
    position: u64,
    pub(super) value: V,
}

impl<K: Eq + Hash, V: Clone, W: Weighter<K, Since<V>> + Clone> Kept<K, V, W> {
    /// Nothing yet; as much as has so much weight together, and about so many.
    pub(super) fn new(weight: u64, estimate: u64, weighter: &W) -> Self {
        let shards = SHARDS as u64;
        let estimate = usize::try_from(estimate / shards).unwrap_or(usize::MAX);
        let kept = || Cache::with_weighter(estimate, weight / shards, weighter.clone());
        Self { shards: (0..SHARDS).map(|_| Mutex::new(Shard { changed: 0, kept: kept() })).collect() }
    }

    /// The shard of a key with this hash.
    pub(super) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<K, V, W>> {
        // A panic between two of these steps leaves something in or out, never what is wrong.
        self.shards[hash as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much weight is kept, and how many.
    #[cfg(test)]
    pub(super) fn size(&self) -> (u64, usize) {
        let sizes = self.shards.iter().map(|shard| shard.lock().expect("no other thread has it"));
        sizes.fold((0, 0), |(weight, count), shard| (weight + shard.kept.weight(), count + shard.kept.len()))
    }
}

impl<K: Eq + Hash, V: Clone, W: Weighter<K, Since<V>>> Shard<K, V, W> {
    /// What there is of `key` in the state at `position`, if that is known.
    pub(super) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q, position: u64) -> Option<V> {
        self.kept.get(key).filter(|since| since.position <= position).map(|since| since.value.clone())
    }

    /// Keeps what was read from the state at `position`.
    pub(super) fn keep(&mut self, key: impl Into<K>, position: u64, value: &V) {
        if self.changed <= position {
            self.kept.insert(key.into(), Since { position, value: value.clone() });
        }
    }

    /// A commit up to `position`, not visible yet, makes this of the key; that is kept if something was.
    pub(super) fn replace<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q, position: u64, value: &V) {
        self.changed = position;
        if let Some(mut since) = self.kept.get_mut(key) {
            *since = Since { position, value: value.clone() };
        }
    }

    /// The same, and it is kept whether something was or not. `None`: there is nothing to keep.
    pub(super) fn put(&mut self, key: K, position: u64, value: Option<V>) {
        self.changed = position;
        match value {
            Some(value) => self.kept.insert(key, Since { position, value }),
            None => drop(self.kept.remove(&key)),
        }
    }
}
