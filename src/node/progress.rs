//! How far state transfers are, for people to see.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::lock;
use crate::causality::{NodeId, WallMs};

/// How far a state on its way from one node to another is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateProgress {
    /// The other node.
    pub peer: NodeId,
    /// When its first piece was sent or came.
    pub began: WallMs,
    /// Keys that went over.
    pub keys: u64,
    /// Bytes of the pieces.
    pub bytes: u64,
    /// About how many keys there are altogether.
    pub all_keys: u64,
}

impl StateProgress {
    /// About how long it will still take at the pace so far, in milliseconds; `None` while that can't be told.
    pub fn left_ms(&self, now: WallMs) -> Option<u64> {
        let spent = now.0.saturating_sub(self.began.0);
        let left = self.all_keys.saturating_sub(self.keys);
        (self.keys > 0).then(|| (u128::from(spent) * u128::from(left) / u128::from(self.keys)) as u64)
    }
}

/// All that went over in this run, of whatever came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateTotals {
    /// Keys of pieces that peers took.
    pub sent_keys: u64,
    /// Bytes of these pieces.
    pub sent_bytes: u64,
    /// Keys of pieces that this node took.
    pub received_keys: u64,
    /// Bytes of these pieces.
    pub received_bytes: u64,
}

/// All that is on its way to and from this node.
#[derive(Debug)]
pub(super) struct Transfers {
    /// To each peer, by its place in the configured list.
    sending: Mutex<Vec<Option<StateProgress>>>,
    filling: Mutex<Option<StateProgress>>,
    /// Whether that is something: every read looks.
    is_filling: AtomicBool,
    sent: Moved,
    received: Moved,
}

/// Counts what went over.
#[derive(Debug, Default)]
struct Moved {
    keys: AtomicU64,
    bytes: AtomicU64,
}

impl Moved {
    fn add(&self, keys: u64, bytes: u64) {
        self.keys.fetch_add(keys, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Transfers {
    pub(super) fn new(peers: usize) -> Self {
        Self {
            sending: Mutex::new(vec![None; peers]),
            filling: Mutex::default(),
            is_filling: AtomicBool::new(false),
            sent: Moved::default(),
            received: Moved::default(),
        }
    }

    pub(super) fn set_sending(&self, place: usize, progress: Option<StateProgress>) {
        if let Some(slot) = lock(&self.sending).get_mut(place) {
            *slot = progress;
        }
    }

    pub(super) fn set_filling(&self, progress: Option<StateProgress>) {
        let mut filling = lock(&self.filling);
        self.is_filling.store(progress.is_some(), Ordering::Release);
        *filling = progress;
    }

    pub(super) fn is_filling(&self) -> bool {
        self.is_filling.load(Ordering::Acquire)
    }

    pub(super) fn note_sent(&self, keys: u64, bytes: u64) {
        self.sent.add(keys, bytes);
    }

    pub(super) fn note_received(&self, keys: u64, bytes: u64) {
        self.received.add(keys, bytes);
    }

    pub(super) fn totals(&self) -> StateTotals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StateTotals {
            sent_keys: read(&self.sent.keys),
            sent_bytes: read(&self.sent.bytes),
            received_keys: read(&self.received.keys),
            received_bytes: read(&self.received.bytes),
        }
    }

    pub(super) fn sending(&self) -> Vec<Option<StateProgress>> {
        lock(&self.sending).clone()
    }

    pub(super) fn filling(&self) -> Option<StateProgress> {
        *lock(&self.filling)
    }
}
