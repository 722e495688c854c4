//! Damage: which parts of a store are known to have records that can't be read any more.
//!
//! Promises: whoever comes upon one leaves a note, so that it can be told and repaired; a note goes when what it is about is
//! replaced or dropped. Only damage counts: a disk that says that it failed is an error, and nothing is known of what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::StorageError;

/// What is known to be damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records of keys.
    pub keys: bool,
    /// Ops of the log.
    pub log: bool,
    /// How often a damaged record was come upon since the store was opened, the same or another.
    pub found: u64,
}

/// How often a damaged record was come upon.
#[derive(Clone, Debug, Default)]
pub(super) struct Found(Arc<AtomicU64>);

/// Notes of one part of a store.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    is_damaged: Arc<AtomicBool>,
    found: Found,
}

impl Found {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Notes {
    /// Of a part that is whole as far as anybody knows.
    pub(super) fn new(found: Found) -> Self {
        Self { is_damaged: Arc::default(), found }
    }

    /// Notes it, if a read ended so for damage.
    pub(super) fn noted<T>(&self, outcome: Result<T, StorageError>) -> Result<T, StorageError> {
        if matches!(outcome, Err(StorageError::Damaged { .. })) {
            self.is_damaged.store(true, Ordering::SeqCst);
            self.found.count();
        }
        outcome
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::SeqCst)
    }
}
