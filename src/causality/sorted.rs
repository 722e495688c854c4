//! A map in order of its keys whose clones share what neither has changed since: a change copies one chunk, not all. So
//! a start or a commit with one new entry costs the same however many there are.

use std::sync::Arc;

/// How many entries a chunk has at most.
const CHUNK: usize = 256;

/// For how many more entries a chunk makes room at once.
const ROOM: usize = CHUNK / 8;

#[derive(Clone, Debug)]
pub(super) struct Sorted<K, V> {
    /// In order; none is empty.
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Chunk<K, V> {
    /// The key of the first entry, to be found without a look into the chunk.
    first: K,
    entries: Arc<Vec<(K, V)>>,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Copy, V: Clone> Sorted<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        let entries = &*self.chunks.get(self.chunk(key))?.entries;
        entries.binary_search_by_key(&key, |(key, _)| *key).ok().map(|place| &entries[place].1)
    }

    /// Puts it in the place of what `key` has, if that is there.
    pub(super) fn insert(&mut self, key: K, value: V) {
        let number = self.chunk(key);
        let Some(chunk) = self.chunks.get_mut(number) else {
            self.put_chunk(0, vec![(key, value)]);
            self.len = 1;
            return;
        };
        let entries = Arc::make_mut(&mut chunk.entries);
        match entries.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => entries[place].1 = value,
            // What is filled in order leaves full chunks behind.
            Err(CHUNK) => {
                self.put_chunk(number + 1, vec![(key, value)]);
                self.len += 1;
            }
            Err(_) if entries.len() == CHUNK => {
                let rest = entries.split_off(CHUNK / 2);
                entries.shrink_to(CHUNK / 2 + ROOM);
                self.put_chunk(number + 1, rest);
                self.insert(key, value);
            }
            Err(place) => {
                if entries.len() == entries.capacity() {
                    entries.reserve_exact(ROOM);
                }
                entries.insert(place, (key, value));
                chunk.first = entries[0].0;
                self.len += 1;
            }
        }
    }

    fn put_chunk(&mut self, number: usize, entries: Vec<(K, V)>) {
        self.chunks.insert(number, Chunk { first: entries[0].0, entries: Arc::new(entries) });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.chunks.iter().flat_map(|chunk| &*chunk.entries).map(|(key, value)| (*key, value))
    }

    /// The entries from the first on whose key is not below `key`.
    pub(super) fn from(&self, key: K) -> impl Iterator<Item = (K, &V)> {
        let (first, others) = match &self.chunks[self.chunk(key)..] {
            [first, others @ ..] => (&**first.entries, others),
            [] => (&[][..], &[][..]),
        };
        let first = &first[first.partition_point(|(other, _)| *other < key)..];
        first.iter().chain(others.iter().flat_map(|chunk| &*chunk.entries)).map(|(key, value)| (*key, value))
    }

    /// The last entry whose key is not above `key`.
    pub(super) fn last_up_to(&self, key: K) -> Option<(K, &V)> {
        let entries = &*self.chunks.get(self.chunk(key))?.entries;
        let behind = entries.partition_point(|(other, _)| *other <= key);
        entries[..behind].last().map(|(key, value)| (*key, value))
    }

    /// Where an entry is, or would be put.
    fn chunk(&self, key: K) -> usize {
        self.chunks.partition_point(|chunk| chunk.first <= key).saturating_sub(1)
    }
}
