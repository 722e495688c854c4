//! The store on disk: an op log ([`oplog`]) and an LSM tree with the state of the keys.
//!
//! A data directory holds `identity` (whose it is, and its format), `lock` (held while it is open) and `store`, in which
//! there are `log` (the op log) and `keys` (the engine's files), or `keys.N` once the state of a peer was adopted
//! ([`generation`]).
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
mod fill;
mod generation;
mod hot;
mod instants;
mod kept;
mod outlines;
mod record;
mod recovery;
mod redo;
mod restoring;
mod snapshot;
mod tables;
#[cfg(test)]
mod tests;
mod upkeep;

pub use restoring::Restoring;

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use self::conflicts::ConflictChanges;
use self::engine::{Changes, Engine};
use self::fill::{DiskFill, Sources};
use self::generation::{Home, Keys, Removals};
use self::snapshot::DiskSnapshot;
use super::damage::{Damage, Found, Notes};
use super::files;
use super::oplog::{self, Appender, OpLog};
use super::{
    Basis, BatchLimit, DiskSpace, Fill, Identity, LogHold, LogHolds, LogId, LogRun, LogSize, OpenError, PeerState,
    Snapshot, Storage, StorageError, StoredOp, check_order,
};
use crate::causality::{Ancestry, VersionVector};
use crate::format::base::Base;
use crate::replica::{Adopted, Append, Checkpoint, KeyStates, OpRange, Recovered, Siblings, Unreadable};

const STORE: &str = "store";
/// A store on its way to being one.
const UNFINISHED_STORE: &str = "store.new";
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

impl DiskOptions {
    /// The same for a log that is trimmed to about so many bytes: its files are small parts of that.
    pub fn with_log_limit(self, bytes: u64) -> Self {
        Self { segment_bytes: (bytes / 16).clamp(1 << 20, 64 << 20), ..self }
    }
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self::with_caches(192 << 20)
    }
}

/// One node's data on disk. Open at most once at a time, in one process.
pub struct DiskStorage {
    log_id: LogId,
    sources: Sources,
    commits: Mutex<Commits>,
    home: Home,
    path: PathBuf,
}

/// Commits come one after the other.
struct Commits {
    appender: Appender,
    keys: Arc<Keys>,
    /// As of the last.
    checkpoint: Checkpoint,
    ancestry: Ancestry,
    /// What the log does not have, although the state includes it.
    floor: VersionVector,
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
        let claimed = directory::claim(path, identity)?;
        let (lock, log_id) = (claimed.lock.clone(), claimed.log);
        let store = path.join(STORE);
        if !store.try_exists().map_err(|error| directory::io_error(path, error))? {
            directory::upgrade(path, identity, &claimed)?;
            create(path, &lock, options).map_err(|error| directory::unusable(path, error))?;
        }
        let (removals, found) = (Arc::new(Removals::default()), Found::default());
        let home = Home { store: store.clone(), lock, options, removals, found };
        let open = || {
            let (appender, log) =
                oplog::open(&store.join(LOG), options.segment_bytes, options.tail_bytes, home.found.clone())?;
            let keys = Keys::new(home.open(log.last_base().generation)?, options);
            let recovered = recovery::recover(keys.engine(), &log, &appender)?;
            home.remove_others(keys.generation.number).map_err(StorageError::Log)?;
            Ok((appender, log, Arc::new(keys), recovered))
        };
        let (appender, log, keys, recovered) = open().map_err(|error| directory::unusable(path, error))?;
        directory::upgrade(path, identity, &claimed)?;
        let Recovered { checkpoint, ancestry, floor, .. } = recovered.clone();
        let published = Arc::new(ArcSwap::from_pointee(DiskSnapshot::take(keys.clone(), &checkpoint)));
        let newest = Arc::new(AtomicU64::new(keys.generation.number));
        let sources = Sources { log, holds: LogHolds::default(), published, newest };
        let commits = Mutex::new(Commits { appender, keys, checkpoint, ancestry, floor, failed: false });
        let path = path.to_owned();
        Ok((Self { log_id, sources, commits, home, path }, recovered))
    }

    /// For what comes between commits. Not after one that failed.
    fn lock_commits(&self) -> Result<MutexGuard<'_, Commits>, StorageError> {
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if commits.failed { Err(StorageError::Engine("an earlier commit failed".to_owned())) } else { Ok(commits) }
    }

    fn publish(&self, commits: &Commits) {
        let snapshot = DiskSnapshot::take(commits.keys.clone(), &commits.checkpoint);
        self.sources.published.store(Arc::new(snapshot));
    }
}

impl Commits {
    fn write(&mut self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let Self { appender, keys, checkpoint: before, ancestry, floor, .. } = self;
        keys.engine().wait_for_room()?;
        let durable = appender.append(appends, checkpoint, || base(keys, before, floor))?;
        // Nobody sees the changes before they are published.
        if change(keys, appends, checkpoint) {
            keys.engine().set_aside(checkpoint);
        }
        appends.iter().for_each(|append| ancestry.insert(append.op.dot.origin, &append.op.parents));
        *before = checkpoint.clone();
        appender.publish(durable)
    }

    /// Goes on in another file of the log, behind a position. Where that may have been done although it failed, nothing may
    /// follow.
    fn go_on(&mut self, position: u64, base: Base) -> Result<(), StorageError> {
        self.failed = true;
        let outcome = self.appender.go_on(position, base);
        self.failed = outcome.is_err() && self.appender.may_have_gone_on(position);
        outcome
    }

    /// Drops the runs of the log up to a position. What it does not have then.
    fn drop_log(&mut self, log: &OpLog, through: u64) -> Result<VersionVector, StorageError> {
        let before = self.floor.clone();
        let trimmed = log.trim(through);
        self.ancestry.join(&mut self.floor, &log.first_vector());
        match trimmed {
            Err(error) if self.floor == before => return Err(error),
            Err(error) => tracing::warn!("could not trim the op log as far as it may be: {error}"),
            Ok(()) => {}
        }
        Ok(self.floor.clone())
    }

    /// Puts a state that was filled in the place of the state.
    fn adopt(&mut self, fill: DiskFill, options: DiskOptions) -> Result<Adopted, StorageError> {
        let (generation, adopted, stored) = fill.finish(&self.checkpoint, &self.floor)?;
        let keys = Arc::new(Keys::new(generation, options));
        let (ancestry, floor) = (adopted.ancestry.clone(), adopted.floor.clone());
        // From here on it may be what a start finds.
        keys.generation.stays(true);
        if let Err(error) = self.go_on(stored.position, Base { leaped: true, ..base(&keys, &stored, &floor) }) {
            keys.generation.stays(self.failed);
            return Err(error);
        }
        self.keys.generation.stays(false);
        (self.keys, self.checkpoint, self.ancestry, self.floor) = (keys, stored, ancestry, floor);
        Ok(adopted)
    }
}

/// What a file of the log begins with that goes on from a state.
fn base(keys: &Keys, checkpoint: &Checkpoint, floor: &VersionVector) -> Base {
    let Checkpoint { vector, hlc, .. } = checkpoint.clone();
    Base { generation: keys.generation.number, vector, floor: floor.clone(), hlc, leaped: false }
}

impl Drop for DiskStorage {
    fn drop(&mut self) {
        // Whoever opens the directory next finds no one in it.
        self.home.removals.wait();
    }
}

/// Changes the keys in memory; whether a write buffer is full then.
fn change(keys: &Keys, appends: &[Append], checkpoint: &Checkpoint) -> bool {
    // Of a key that several ops write, only the last state.
    let mut states: BTreeMap<&str, &Siblings> = BTreeMap::new();
    let mut records = Vec::new();
    let mut conflicts = ConflictChanges::default();
    for Append { op, states: after, .. } in appends {
        op.entries.iter().zip(after).for_each(|(entry, (_, siblings))| conflicts.note(entry, siblings));
        states.extend(after.iter().map(|(key, siblings)| (&**key, siblings)));
        if !op.parents.is_empty() {
            records.push(record::ancestry(op.dot.origin, &op.parents));
        }
    }
    records.extend(conflicts.into_records());
    for (key, siblings) in &states {
        keys.hot.replace(key, checkpoint.position, siblings);
        keys.outlines.replace(key, checkpoint.position, outlines::only(siblings));
    }
    keys.engine().write(Changes { states: states.into_iter().collect(), records })
}

/// Creates an empty store under another name first, so that under its own there is only ever a whole one.
fn create(path: &Path, lock: &Arc<File>, options: DiskOptions) -> Result<(), StorageError> {
    let unfinished = path.join(UNFINISHED_STORE);
    let create = || {
        files::remove_dir(&unfinished)?;
        fs::create_dir_all(unfinished.join(LOG))?;
        oplog::create(&unfinished.join(LOG))
    };
    create().map_err(StorageError::Log)?;
    drop(Engine::open(&unfinished.join(generation::KEYS), lock.clone(), options, Notes::default())?);
    let name = || {
        files::sync_all(&unfinished)?;
        fs::rename(&unfinished, path.join(STORE))?;
        files::sync_dir(path)
    };
    name().map_err(StorageError::Log)
}

impl Storage for DiskStorage {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        let mut commits = self.lock_commits()?;
        // Until it is known to have gone well: a panic in the engine leaves it so.
        commits.failed = true;
        check_order(commits.appender.last_position(), appends, checkpoint)?;
        commits.write(appends, checkpoint)?;
        self.publish(&commits);
        commits.failed = false;
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        Ok(self.sources.published.load_full())
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.sources.log.ops(ranges, limit)
    }

    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.sources.log.ops_after(position, limit)
    }

    fn log_start(&self) -> u64 {
        self.sources.log.start()
    }

    fn log_runs(&self) -> Vec<LogRun> {
        self.sources.log.runs()
    }

    fn trim(&self, through: u64) -> Result<VersionVector, StorageError> {
        let mut commits = self.lock_commits()?;
        let Commits { keys, checkpoint, floor, .. } = &*commits;
        let through = self.sources.holds.lowest().map_or(through, |held| held.min(through));
        let ends = self.sources.log.runs().into_iter().map(|run| run.last).take_while(|last| *last <= through);
        let Some(wanted) = ends.last() else { return Ok(floor.clone()) };
        // A start does again what the tables lack. So that has to stay, for now.
        let (in_tables, on_the_way) = keys.engine().checkpoints();
        if wanted > on_the_way {
            keys.engine().set_aside(checkpoint);
        }
        commits.drop_log(&self.sources.log, wanted.min(in_tables))
    }

    fn give_up_log(&self) -> Result<VersionVector, StorageError> {
        let mut commits = self.lock_commits()?;
        let Some((through, with_last)) = self.sources.log.damaged_through() else { return Ok(commits.floor.clone()) };
        if with_last {
            let Commits { keys, checkpoint, floor, .. } = &*commits;
            let (position, base) = (checkpoint.position, base(keys, checkpoint, floor));
            commits.go_on(position, base)?;
        }
        let Commits { keys, checkpoint, .. } = &*commits;
        if keys.engine().checkpoints().1 < through {
            keys.engine().set_aside(checkpoint);
        }
        if keys.engine().checkpoints().0 < through {
            keys.engine().wait_for_tables()?;
        }
        commits.drop_log(&self.sources.log, through)
    }

    fn damage(&self) -> Damage {
        let keys = self.sources.published.load().is_damaged();
        Damage { keys, log: self.sources.log.damaged_through().is_some(), found: self.home.found.get() }
    }

    fn hold_log(&self) -> LogHold {
        self.sources.holds.hold(|| self.sources.published.load().position())
    }

    fn begin_fill(&self, peer: PeerState, basis: Basis) -> Result<Box<dyn Fill>, StorageError> {
        // Not while another is adopted: it would begin from a state that is replaced a moment later.
        let commits = self.lock_commits()?;
        Ok(Box::new(DiskFill::begin(self.sources.clone(), &self.home, peer, basis, commits)?))
    }

    fn adopt(&self, fill: Box<dyn Fill>) -> Result<Adopted, StorageError> {
        let Ok(fill) = (fill as Box<dyn Any>).downcast::<DiskFill>() else {
            return Err(StorageError::Engine("a state of another store can't be adopted".to_owned()));
        };
        let mut commits = self.lock_commits()?;
        fill.check(&self.sources)?;
        let adopted = commits.adopt(*fill, self.home.options)?;
        self.publish(&commits);
        Ok(adopted)
    }

    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        self.sources.log.op_bytes(ranges)
    }

    fn log_size(&self) -> Result<LogSize, StorageError> {
        Ok(self.sources.log.size())
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
        Ok(self.sources.published.load().siblings_once(key)?)
    }

    fn outline(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.sources.published.load().outline(key)?)
    }
}
