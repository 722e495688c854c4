//! The store on disk: an op log ([`oplog`]) and an LSM tree with the state of the keys.
//!
//! A data directory holds `identity` (whose it is, and its format), `lock` (held while it is open) and `store`, in which
//! there are `log` (the op log) and `keys` (the engine's files).
//!
//! A commit is appended to the log and synced; then its changes go into the engine, in memory, and it becomes visible.
//! (To change the keys while another thread syncs was tried: handing that over costs more than it gains.)
//! The engine writes to disk later, in large pieces, each the whole state after some commit; opening does again what the
//! log has behind it. So there is one sync a commit, and the two can't come apart without being noticed.
//!
//! Must not be opened by anything else, and the files must not be changed by anyone.

mod conflicts;
mod directory;
mod engine;
mod hot;
mod instants;
mod kept;
mod outlines;
mod record;
mod recovery;
mod snapshot;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use self::conflicts::ConflictChanges;
use self::engine::{Changes, Engine};
use self::hot::HotStates;
use self::outlines::Outlines;
use self::snapshot::DiskSnapshot;
use super::files;
use super::oplog::{self, Appender, OpLog};
use super::{
    BatchLimit, DiskSpace, Fill, Identity, LogHold, LogId, LogRun, LogSize, OpenError, PeerState, Snapshot, Storage,
    StorageError, StoredOp, check_order,
};
use crate::causality::{Dot, VersionVector};
use crate::replica::{Adopted, Append, Checkpoint, KeyStates, OpRange, Recovered, Siblings, Unreadable};

const STORE: &str = "store";
/// A store on its way to being one.
const UNFINISHED_STORE: &str = "store.new";
const KEYS: &str = "keys";
const LOG: &str = "log";

/// How much memory the store may use, and how its files are cut.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// For blocks read from disk.
    pub cache_bytes: u64,
    /// For the states of keys that are read often.
    pub hot_bytes: u64,
    /// For which op wrote the value of a key, which is all that a write has to know.
    pub outline_bytes: u64,
    /// For what is written and not yet in a table. Under sustained writes up to five times that.
    pub write_buffer_bytes: u64,
    /// For the newest ops, which peers are about to get.
    pub tail_bytes: usize,
    /// A file of the op log that has so many is followed by another.
    pub segment_bytes: u64,
}

impl DiskOptions {
    /// The defaults, with so much memory for what is kept of the disk.
    pub fn with_caches(bytes: u64) -> Self {
        let eighth = bytes / 8;
        Self {
            cache_bytes: 2 * eighth,
            hot_bytes: 3 * eighth,
            outline_bytes: 3 * eighth,
            write_buffer_bytes: 32 << 20,
            tail_bytes: 8 << 20,
            segment_bytes: 64 << 20,
        }
    }
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self::with_caches(192 << 20)
    }
}

/// One node's data on disk. Open at most once at a time, in one process.
pub struct DiskStorage {
    engine: Arc<Engine>,
    log: Arc<OpLog>,
    log_id: LogId,
    hot: Arc<HotStates>,
    outlines: Outlines,
    /// The state as of the last commit.
    published: ArcSwap<DiskSnapshot>,
    commits: Mutex<Commits>,
    path: PathBuf,
}

/// Commits come one after the other.
struct Commits {
    appender: Appender,
    /// One failed: what is on disk is unknown, so nothing may follow.
    failed: bool,
}

impl DiskStorage {
    /// Opens the data of `identity` in `path`, or creates it where there is nothing yet, and says what it
    /// holds. May be interrupted at any point and done again.
    pub fn open(path: &Path, identity: &Identity) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(path, identity, DiskOptions::default())
    }

    /// The same with other bounds on memory.
    pub fn open_with(path: &Path, identity: &Identity, options: DiskOptions) -> Result<(Self, Recovered), OpenError> {
        let (lock, log_id) = directory::claim(path, identity)?;
        let lock = Arc::new(lock);
        let store = path.join(STORE);
        if !store.try_exists().map_err(|error| directory::io_error(path, error))? {
            create(path, &lock, options).map_err(|error| directory::unusable(path, error))?;
        }
        let open = || {
            let (appender, log) = oplog::open(&store.join(LOG), options.segment_bytes, options.tail_bytes)?;
            let engine = Engine::open(&store.join(KEYS), lock, options)?;
            let recovered = recovery::recover(&engine, &log, &appender)?;
            Ok((appender, log, engine, recovered))
        };
        let (appender, log, engine, recovered) = open().map_err(|error| directory::unusable(path, error))?;
        let (engine, hot) = (Arc::new(engine), Arc::new(HotStates::new(options.hot_bytes)));
        let snapshot = DiskSnapshot::take(engine.clone(), hot.clone(), &recovered.checkpoint);
        let commits = Mutex::new(Commits { appender, failed: false });
        let (published, outlines) = (ArcSwap::from_pointee(snapshot), Outlines::new(options.outline_bytes));
        let path = path.to_owned();
        Ok((Self { engine, log, log_id, hot, outlines, published, commits, path }, recovered))
    }

    fn write(&self, appender: &mut Appender, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        self.engine.wait_for_room()?;
        let durable = appender.append(appends, checkpoint)?;
        // Nobody sees the changes before they are published.
        if self.change(appends, checkpoint) {
            self.engine.set_aside(checkpoint);
        }
        appender.publish(durable)?;
        self.published.store(Arc::new(DiskSnapshot::take(self.engine.clone(), self.hot.clone(), checkpoint)));
        Ok(())
    }

    /// Changes the keys in memory; whether a write buffer is full then.
    fn change(&self, appends: &[Append], checkpoint: &Checkpoint) -> bool {
        // Of a key that several ops write, only the last state.
        let mut states: BTreeMap<&str, &Siblings> = BTreeMap::new();
        let mut records = Vec::new();
        let mut conflicts = ConflictChanges::default();
        for Append { op, states: after, .. } in appends {
            op.entries.iter().zip(after).for_each(|(entry, (_, siblings))| conflicts.note(entry, siblings));
            states.extend(after.iter().map(|(key, siblings)| (&**key, siblings)));
            if !op.parents.is_empty() {
                records.push(record::ancestry(op));
            }
        }
        records.extend(conflicts.into_records());
        for (key, siblings) in &states {
            self.hot.replace(key, checkpoint.position, siblings);
            self.outlines.replace(key, checkpoint.position, only(siblings));
        }
        self.engine.write(Changes { states: states.into_iter().collect(), records })
    }
}

/// Creates an empty store under another name first, so that under its own there is only ever a whole one.
fn create(path: &Path, lock: &Arc<File>, options: DiskOptions) -> Result<(), StorageError> {
    let unfinished = path.join(UNFINISHED_STORE);
    let create = || {
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(unfinished.join(LOG))?;
        oplog::create(&unfinished.join(LOG))
    };
    create().map_err(StorageError::Log)?;
    drop(Engine::open(&unfinished.join(KEYS), lock.clone(), options)?);
    let name = || {
        files::sync_all(&unfinished)?;
        fs::rename(&unfinished, path.join(STORE))?;
        files::sync_dir(path)
    };
    name().map_err(StorageError::Log)
}

impl Storage for DiskStorage {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if commits.failed {
            return Err(StorageError::Engine("an earlier commit failed".to_owned()));
        }
        // Until it is known to have gone well: a panic in the engine leaves it so.
        commits.failed = true;
        check_order(commits.appender.last_position(), appends, checkpoint)?;
        self.write(&mut commits.appender, appends, checkpoint)?;
        commits.failed = false;
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        Ok(self.published.load_full())
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.log.ops(ranges, limit)
    }

    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.log.ops_after(position, limit)
    }

    fn log_start(&self) -> u64 {
        todo!()
    }

    fn log_runs(&self) -> Vec<LogRun> {
        todo!()
    }

    fn trim(&self, _through: u64) -> Result<VersionVector, StorageError> {
        todo!()
    }

    fn hold_log(&self) -> LogHold {
        todo!()
    }

    fn begin_fill(&self, _peer: PeerState) -> Result<Box<dyn Fill>, StorageError> {
        todo!()
    }

    fn adopt(&self, _fill: Box<dyn Fill>) -> Result<Adopted, StorageError> {
        todo!()
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        self.log.op_bytes(ranges)
    }

    fn log_size(&self) -> Result<LogSize, StorageError> {
        Ok(self.log.size())
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        directory::bytes(&self.path).map_err(|error| StorageError::Engine(error.to_string()))
    }

    fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        directory::space(&self.path).map_err(|error| StorageError::Engine(error.to_string()))
    }
}

impl KeyStates for DiskStorage {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.published.load().siblings_once(key)?)
    }

    fn outline(&self, key: &str) -> Result<Siblings, Unreadable> {
        let snapshot = self.published.load();
        if let Some(dot) = self.outlines.get(key, snapshot.position()) {
            return Ok(Siblings::outline(dot));
        }
        let siblings = snapshot.siblings_once(key)?;
        if let Some(dot) = only(&siblings) {
            self.outlines.keep(key, snapshot.position(), dot);
        }
        Ok(siblings)
    }
}

/// The op that wrote the value of a key that has one.
fn only(siblings: &Siblings) -> Option<Dot> {
    siblings.latest().filter(|_| siblings.len() == 1).map(|sibling| sibling.dot)
}
