//! A store that fails when told to, as a disk can't be made to in a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use causeway::causality::VersionVector;
use causeway::replica::{Adopted, Append, Checkpoint, KeyStates, OpRange, Siblings, Unreadable};
use causeway::storage::{
    Basis, BatchLimit, Damage, DiskSpace, Fill, LogHold, LogId, LogRun, LogSize, PeerState, Piece, Snapshot, Storage,
    StorageError, StoredOp,
};

/// A store with faults that can be switched on.
pub(crate) struct Faulty {
    inner: Box<dyn Storage>,
    /// Commits fail while this is set.
    pub(crate) fail_commits: AtomicBool,
    /// Reads of keys fail while this is set.
    pub(crate) fail_reads: AtomicBool,
    /// Reads of keys panic while this is set.
    pub(crate) panic_on_reads: AtomicBool,
    /// Commits wait while this is set.
    pub(crate) hold_commits: AtomicBool,
    /// Reads of the whole state wait while this is set.
    pub(crate) hold_snapshots: AtomicBool,
    /// What is read of the whole state is damaged while this is set.
    pub(crate) damage_snapshots: AtomicBool,
}

impl Faulty {
    pub(crate) fn new(inner: impl Storage) -> Self {
        Self {
            inner: Box::new(inner),
            fail_commits: AtomicBool::new(false),
            fail_reads: AtomicBool::new(false),
            panic_on_reads: AtomicBool::new(false),
            hold_commits: AtomicBool::new(false),
            hold_snapshots: AtomicBool::new(false),
            damage_snapshots: AtomicBool::new(false),
        }
    }

    fn check(&self, switch: &AtomicBool) -> Result<(), StorageError> {
        assert!(!self.panic_on_reads.load(Ordering::SeqCst), "told to panic");
        if switch.load(Ordering::SeqCst) {
            return Err(StorageError::Engine("told to fail".to_owned()));
        }
        Ok(())
    }
}

impl KeyStates for Faulty {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        self.check(&self.fail_reads)?;
        KeyStates::siblings(&*self.inner, key)
    }
}

impl Storage for Faulty {
    fn commit(&self, appends: &[Append], checkpoint: &Checkpoint) -> Result<(), StorageError> {
        while self.hold_commits.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.check(&self.fail_commits)?;
        self.inner.commit(appends, checkpoint)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        while self.hold_snapshots.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.check(&self.fail_reads)?;
        let snapshot = self.inner.snapshot()?;
        Ok(if self.damage_snapshots.load(Ordering::SeqCst) { Arc::new(UnreadableSnapshot(snapshot)) } else { snapshot })
    }

    fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.inner.ops(ranges, limit)
    }

    fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.inner.ops_after(position, limit)
    }

    fn log_start(&self) -> u64 {
        self.inner.log_start()
    }

    fn log_runs(&self) -> Vec<LogRun> {
        self.inner.log_runs()
    }

    fn trim(&self, through: u64) -> Result<VersionVector, StorageError> {
        self.inner.trim(through)
    }

    fn hold_log(&self) -> LogHold {
        self.inner.hold_log()
    }

    fn begin_fill(&self, peer: PeerState, basis: Basis) -> Result<Box<dyn Fill>, StorageError> {
        self.inner.begin_fill(peer, basis)
    }

    fn give_up_log(&self) -> Result<VersionVector, StorageError> {
        self.inner.give_up_log()
    }

    fn damage(&self) -> Damage {
        self.inner.damage()
    }

    fn adopt(&self, fill: Box<dyn Fill>) -> Result<Adopted, StorageError> {
        self.inner.adopt(fill)
    }

    fn log_id(&self) -> LogId {
        self.inner.log_id()
    }

    fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        self.inner.op_bytes(ranges)
    }

    fn log_size(&self) -> Result<LogSize, StorageError> {
        self.inner.log_size()
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        self.inner.disk_bytes()
    }

    fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        self.inner.disk_space()
    }
}

/// A state that is there, and whose keys can't be read.
struct UnreadableSnapshot(Arc<dyn Snapshot>);

impl Snapshot for UnreadableSnapshot {
    fn vector(&self) -> &VersionVector {
        self.0.vector()
    }

    fn siblings(&self, key: &str) -> Result<Siblings, StorageError> {
        Err(StorageError::Damaged { record: format!("key {key}"), problem: "its checksum is wrong".to_owned() })
    }

    fn keys(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<(String, Siblings)>, StorageError> {
        Err(StorageError::Damaged { record: "a key".to_owned(), problem: "its checksum is wrong".to_owned() })
    }

    fn piece(&self, _: Option<&str>, _: BatchLimit) -> Result<Piece, StorageError> {
        Err(StorageError::Damaged { record: "a key".to_owned(), problem: "its checksum is wrong".to_owned() })
    }

    fn conflicts(&self, prefix: &str, _: Option<&str>, _: usize) -> Result<Vec<(String, Siblings)>, StorageError> {
        self.keys(prefix, None, 1)
    }
}
