//! The engine: one LSM tree that holds the state of the keys. It has no journal; the op log is that.
//!
//! What is written is in memory first. When a write buffer is full, the checkpoint is put into it as its last record and
//! it is set aside to become a table. So what is on disk is always the state after some commit, whole, and says which.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use lsm_tree::config::{
    BlockSizePolicy, BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PartitioningPolicy, PinningPolicy,
    RestartIntervalPolicy,
};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, DescriptorTable, Guard, SequenceNumberCounter, UserKey, UserValue,
};

use super::DiskOptions;
use super::instants::{Instant, Instants};
use super::upkeep::Upkeep;
use super::{record, tables};
use crate::causality::Ancestry;
use crate::format;
use crate::format::op::MAX_KEY_BYTES;
use crate::replica::{Checkpoint, Siblings};
use crate::storage::StorageError;
use crate::storage::damage::Notes;

/// Table files kept open.
const MAX_OPEN_FILES: usize = 256;

pub(super) struct Engine {
    // Dropped first: it ends the threads that use the tree.
    upkeep: Upkeep,
    tree: AnyTree,
    /// The number of the next write. The tree takes numbers too, when it rearranges its tables.
    seqno: SequenceNumberCounter,
    instants: Arc<Instants>,
    write_buffer_bytes: u64,
    notes: Notes,
    /// The directory is in use for as long as the engine is, which may be longer than the store: snapshots hold it.
    _lock: Arc<File>,
}

/// What a commit writes.
pub(super) struct Changes<'a> {
    /// The last state of every key it writes; empty: the key is gone.
    pub(super) states: Vec<(&'a str, &'a Siblings)>,
    /// Other records; `None` removes.
    pub(super) records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Engine {
    /// Opens the tree in a directory, or creates an empty one where there is none.
    pub(super) fn open(path: &Path, lock: Arc<File>, options: DiskOptions, notes: Notes) -> Result<Self, StorageError> {
        tables::check(path)?;
        // Readers begin above 0, which stands for no instant at all.
        let seqno = SequenceNumberCounter::new(1);
        let tree =
            config(path, &seqno, options).open().map_err(|error| engine_error(&path.display().to_string(), error))?;
        seqno.fetch_max(tree.get_highest_persisted_seqno().map_or(0, |highest| highest + 1));
        let instants = Arc::new(Instants::default());
        let upkeep = Upkeep::start(tree.clone(), instants.clone(), notes.clone())
            .map_err(|error| StorageError::Engine(error.to_string()))?;
        Ok(Self { upkeep, tree, seqno, instants, write_buffer_bytes: options.write_buffer_bytes, notes, _lock: lock })
    }

    /// The state after the last write. Not while one is going on.
    pub(super) fn now(&self) -> Instant {
        self.instants.hold(self.seqno.get())
    }

    /// Waits until there is room for a write.
    pub(super) fn wait_for_room(&self) -> Result<(), StorageError> {
        self.upkeep.wait_for_room()
    }

    /// Writes, in memory, all at one time for readers who ask for what is there [`now`](Self::now) afterwards. One write
    /// after the other. Whether a write buffer is full then.
    pub(super) fn write(&self, changes: Changes) -> bool {
        let seqno = self.seqno.next();
        let mut buffered = 0;
        for (key, siblings) in changes.states {
            (_, buffered) = if siblings.is_empty() {
                self.tree.remove(key, seqno)
            } else {
                self.tree.insert(key, format::siblings::encode(siblings), seqno)
            };
        }
        for (key, value) in changes.records {
            (_, buffered) = match value {
                Some(value) => self.tree.insert(key, value, seqno),
                None => self.tree.remove(key, seqno),
            };
        }
        buffered >= self.write_buffer_bytes
    }

    /// Lets a write buffer become a table. Only with a checkpoint that is durable: the table goes to disk.
    pub(super) fn set_aside(&self, checkpoint: &Checkpoint) {
        let seqno = self.seqno.next();
        self.upkeep.expect_checkpoint(seqno, checkpoint.position);
        self.tree.insert(record::CHECKPOINT, format::checkpoint::encode(checkpoint), seqno);
        self.set_part_aside();
    }

    /// The same of a state that is not whole yet.
    pub(super) fn set_part_aside(&self) {
        self.tree.rotate_memtable();
        self.upkeep.flush();
    }

    /// Its tables were found to be as of that position.
    pub(super) fn has_checkpoint(&self, position: u64) {
        self.upkeep.has_checkpoint(position);
    }

    /// The position of the last checkpoint that is on disk, and of the last that was set aside.
    pub(super) fn checkpoints(&self) -> (u64, u64) {
        self.upkeep.checkpoints()
    }

    /// Puts a record into a table as it is.
    #[cfg(test)]
    pub(super) fn plant(&self, key: &[u8], value: Vec<u8>) {
        self.tree.insert(key, value, self.seqno.next());
        self.set_part_aside();
        self.wait_for_tables().expect("upkeep goes well");
    }

    /// Waits until nothing is set aside any more.
    pub(super) fn wait_for_tables(&self) -> Result<(), StorageError> {
        self.upkeep.wait_for_tables()
    }

    pub(super) fn get(&self, instant: &Instant, key: &[u8]) -> Result<Option<UserValue>, StorageError> {
        self.noted(self.tree.get(key, instant.seqno).map_err(of_tables))
    }

    pub(super) fn siblings(&self, instant: &Instant, key: &str) -> Result<Siblings, StorageError> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(Siblings::default());
        }
        match self.get(instant, key.as_bytes())? {
            Some(bytes) => self.noted(record::decode_siblings(key, &bytes)),
            None => Ok(Siblings::default()),
        }
    }

    /// What a read came to; if that is damage, it is noted.
    pub(super) fn noted<T>(&self, outcome: Result<T, StorageError>) -> Result<T, StorageError> {
        self.notes.noted(outcome)
    }

    /// Whether some of it is known to be damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.notes.is_damaged()
    }

    /// The records of a range of keys, in order.
    pub(super) fn range(
        &self,
        instant: &Instant,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl Iterator<Item = Result<(UserKey, UserValue), StorageError>> + use<> {
        let records = self.tree.range::<&[u8], _>(range, instant.seqno, None);
        let notes = self.notes.clone();
        records.map(move |record| notes.noted(record.into_inner().map_err(of_tables)))
    }

    /// The state that is on disk says what it is as of; nothing is there before the first table.
    pub(super) fn checkpoint(&self, instant: &Instant) -> Result<Checkpoint, StorageError> {
        let Some(bytes) = self.get(instant, record::CHECKPOINT)? else {
            return if self.tree.table_count() == 0 {
                Ok(Checkpoint::default())
            } else {
                Err(StorageError::damaged("the store", "it has no checkpoint"))
            };
        };
        format::checkpoint::decode(&bytes).map_err(|error| StorageError::damaged("the checkpoint", error))
    }

    /// The parents of all incarnations.
    pub(super) fn ancestry(&self, instant: &Instant) -> Result<Ancestry, StorageError> {
        let mut ancestry = Ancestry::new();
        for record in self.range(instant, (Bound::Included(record::ANCESTRY), Bound::Unbounded)) {
            let (key, value) = record?;
            if !key.starts_with(record::ANCESTRY) {
                break;
            }
            let origin = record::read_ancestry_key(&key)?;
            let parents = format::ancestry::decode(origin, &value)
                .map_err(|error| StorageError::damaged(format!("the ancestry of {origin}"), error))?;
            ancestry.insert(origin, &parents);
        }
        Ok(ancestry)
    }
}

/// Small tables, as of a node's keys, are read faster with all their indexes and filters in memory (about 3 bytes a key) and
/// with short runs of keys between those that are written out; measured, a few percent each.
fn config(path: &Path, seqno: &SequenceNumberCounter, options: DiskOptions) -> Config {
    let bloom = |policy| FilterPolicyEntry::Bloom(policy);
    Config::new(path, seqno.clone(), SequenceNumberCounter::default())
        .use_cache(Arc::new(Cache::with_capacity_bytes(options.cache_bytes)))
        .use_descriptor_table(Some(Arc::new(DescriptorTable::new(MAX_OPEN_FILES))))
        .data_block_size_policy(BlockSizePolicy::all(4 << 10))
        .data_block_restart_interval_policy(RestartIntervalPolicy::all(4))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_partitioning_policy(PartitioningPolicy::all(false))
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .filter_policy(FilterPolicy::new([
            bloom(BloomConstructionPolicy::FalsePositiveRate(0.0001)),
            bloom(BloomConstructionPolicy::BitsPerKey(10.0)),
        ]))
}

fn of_tables(error: lsm_tree::Error) -> StorageError {
    engine_error("a table of the keys", error)
}

/// An error of the engine that has to do with some record.
pub(super) fn engine_error(record: &str, error: lsm_tree::Error) -> StorageError {
    if is_damage(&error) { StorageError::damaged(record, error) } else { StorageError::Engine(error.to_string()) }
}

/// Whether a file does not hold what was written.
fn is_damage(error: &lsm_tree::Error) -> bool {
    match error {
        // A file that is too short. Else the disk failed, or the system did.
        lsm_tree::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
        }
        _ => true,
    }
}
