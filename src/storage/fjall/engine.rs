//! The engine: how it is set up, created and opened, and single reads and batches.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};

use super::{EngineOptions, directory, journal, record};
use crate::format;
use crate::format::op::MAX_KEY_BYTES;
use crate::replica::{Checkpoint, Siblings};
use crate::storage::{OpenError, StorageError};

const STORE: &str = "store";
/// A store on its way to being one.
const UNFINISHED_STORE: &str = "store.new";

/// Journals that wait for their ops to be in tables. Opening replays them and the one in use (about 64 MiB),
/// so this is the least that the engine allows.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// Write buffers of the keyspaces with small records.
const SMALL_WRITE_BUFFER_BYTES: u64 = 4 << 20;

/// Table files kept open.
const MAX_OPEN_FILES: usize = 256;

/// The open engine. Fields are dropped in this order: the lock goes last.
pub(super) struct Engine {
    pub(super) keys: Keyspace,
    pub(super) ops: Keyspace,
    pub(super) order: Keyspace,
    pub(super) meta: Keyspace,
    db: Database,
    path: PathBuf,
    _lock: File,
}

impl Engine {
    /// Opens the store in a directory that was claimed, and creates it first where there is none.
    pub(super) fn open(path: &Path, lock: File, options: EngineOptions) -> Result<Self, OpenError> {
        let store = path.join(STORE);
        if !store.try_exists().map_err(|error| directory::io_error(path, error))? {
            create(path, options).map_err(|error| open_error(path, error))?;
        }
        journal::check(path, &store)?;
        let db = open_database(&store, options).map_err(|error| open_error(path, error))?;
        let keyspace = |name| {
            if !db.keyspace_exists(name) {
                let problem = format!("its keyspace '{name}' is missing");
                return Err(OpenError::Damaged { path: path.to_owned(), problem });
            }
            db.keyspace(name, KeyspaceCreateOptions::default).map_err(|error| open_error(path, error))
        };
        Ok(Self {
            keys: keyspace("keys")?,
            ops: keyspace("ops")?,
            order: keyspace("order")?,
            meta: keyspace("meta")?,
            db,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole store as it is now.
    pub(super) fn instant(&self) -> ::fjall::Snapshot {
        self.db.snapshot()
    }

    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    /// Adds the checkpoint to a batch, and makes it durable and then visible.
    pub(super) fn finish(&self, mut batch: OwnedWriteBatch, checkpoint: &Checkpoint) -> Result<(), StorageError> {
        write_checkpoint(&mut batch, &self.keys, &self.meta, checkpoint);
        batch.durability(Some(PersistMode::SyncData)).commit().map_err(engine_error)
    }

    pub(super) fn checkpoint(&self, instant: &::fjall::Snapshot) -> Result<Checkpoint, StorageError> {
        let bytes = instant.get(&self.meta, record::CHECKPOINT).map_err(engine_error)?;
        let bytes = bytes.ok_or_else(|| StorageError::damaged("the store", "it has no checkpoint"))?;
        format::checkpoint::decode(&bytes).map_err(|error| StorageError::damaged("the checkpoint", error))
    }

    pub(super) fn siblings(&self, instant: &::fjall::Snapshot, key: &str) -> Result<Siblings, StorageError> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(Siblings::default());
        }
        match instant.get(&self.keys, key).map_err(engine_error)? {
            Some(bytes) => record::decode_siblings(key, &bytes),
            None => Ok(Siblings::default()),
        }
    }
}

/// Creates an empty store under another name first, so that under its own there is only ever a whole one.
fn create(path: &Path, options: EngineOptions) -> Result<(), ::fjall::Error> {
    let unfinished = path.join(UNFINISHED_STORE);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let db = open_database(&unfinished, options)?;
    let keyspace = |name, write_buffer_bytes| {
        db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(write_buffer_bytes))
    };
    let keys = keyspace("keys", options.write_buffer_bytes)?;
    keyspace("ops", options.write_buffer_bytes)?;
    keyspace("order", SMALL_WRITE_BUFFER_BYTES)?;
    let meta = keyspace("meta", SMALL_WRITE_BUFFER_BYTES)?;
    let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
    write_checkpoint(&mut batch, &keys, &meta, &Checkpoint::default());
    batch.commit()?;
    drop((keys, meta, db));
    directory::sync_all(&unfinished)?;
    fs::rename(&unfinished, path.join(STORE))?;
    Ok(directory::sync_dir(path)?)
}

fn write_checkpoint(batch: &mut OwnedWriteBatch, keys: &Keyspace, meta: &Keyspace, checkpoint: &Checkpoint) {
    batch.insert(keys, record::KEYS_POSITION, record::encode_position(checkpoint.position));
    batch.insert(meta, record::CHECKPOINT, format::checkpoint::encode(checkpoint));
}

fn open_database(store: &Path, options: EngineOptions) -> Result<Database, ::fjall::Error> {
    Database::builder(store)
        .cache_size(options.cache_bytes)
        .max_journaling_size(MAX_JOURNAL_BYTES)
        .max_cached_files(Some(MAX_OPEN_FILES))
        .open()
}

fn open_error(path: &Path, error: ::fjall::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        ::fjall::Error::Locked => OpenError::InUse { path },
        ::fjall::Error::Io(source) => OpenError::Io { path, source },
        ::fjall::Error::JournalRecovery(error) => {
            OpenError::Damaged { path, problem: format!("its journal can't be replayed: {error}") }
        }
        other => OpenError::Engine { path, problem: other.to_string() },
    }
}

pub(super) fn engine_error(error: ::fjall::Error) -> StorageError {
    StorageError::Engine(error.to_string())
}
