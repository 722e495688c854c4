//! A state transfer as its sender has it: this node's state as of one instant, and how far of it the peer has come.
//!
//! Promises: the log keeps what came since that instant for as long as the transfer lives, so that the peer can be given
//! that afterwards; pieces are read off the threads that serve requests; where it goes on is what the peer last said, so
//! whatever is cut off or restarted, nothing is left out. Must not decide when there is a transfer: the replica does.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::failure::Failure;
use crate::causality::{NodeId, VersionVector, WallMs};
use crate::format::state::{self, StateHead, Taken};
use crate::node::{NodeHandle, StateProgress, wall_now};
use crate::replica::{Key, Push, View};
use crate::storage::{BatchLimit, LogHold, Snapshot, StorageError};

/// A transfer that nothing was asked of for so long is given up.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(60);

/// And one that has not come any farther for so long, which is more than the last piece may take. It holds the log: a peer
/// that takes nothing, though it answers, would have it grow without end.
const MAX_STUCK: Duration = Duration::from_secs(120);

/// How long the newest commit may take to be published.
const PUBLISHED: Duration = Duration::from_secs(2);

/// Keys of one piece.
const MAX_KEYS: usize = 1 << 16;

/// How long an order may wait for its turn, and how much time a piece is worth: the peer's statement must not get old.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// This node's state on its way to one peer.
pub(super) struct Transfer {
    id: u64,
    snapshot: Arc<dyn Snapshot>,
    head: Arc<StateHead>,
    /// Behind which key the next piece begins.
    after: Option<Key>,
    progress: StateProgress,
    began: Instant,
    /// Since when it could have come any farther, and has not.
    waits_since: Instant,
    _hold: LogHold,
}

/// A piece, ready to be sent.
pub(super) struct Piece {
    pub(super) body: Bytes,
    pub(super) is_last: bool,
    pub(super) keys: u64,
    after: Option<Key>,
}

impl Transfer {
    /// Of the state as it is now.
    pub(super) async fn begin(handle: &NodeHandle, peer: NodeId) -> Result<Self, Failure> {
        // First, so that nothing is trimmed that the state does not include.
        let hold = handle.hold_log();
        let snapshot = handle.snapshot().map_err(unreadable)?;
        // A commit is in the store a moment before the parents of the incarnations that it began are published.
        let includes = |view: &View| view.ancestry.includes(&view.vector, snapshot.vector());
        if !handle.until(PUBLISHED, includes).await {
            return Err(Failure::Unreadable("the newest commit is not published".to_owned()));
        }
        let view = handle.status().view;
        let keys = view.totals.keys;
        let ancestry = (*view.ancestry).clone();
        let head = Arc::new(StateHead { vector: snapshot.vector().clone(), ancestry, keys });
        let progress = StateProgress { peer, began: wall_now(), keys: 0, bytes: 0, all_keys: keys };
        let now = Instant::now();
        let id = name(progress.began);
        Ok(Self { id, snapshot, head, after: None, progress, began: now, waits_since: now, _hold: hold })
    }

    pub(super) fn peer(&self) -> NodeId {
        self.progress.peer
    }

    /// What the state includes.
    pub(super) fn vector(&self) -> &VersionVector {
        &self.head.vector
    }

    pub(super) fn progress(&self) -> StateProgress {
        self.progress
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.waits_since.elapsed() >= MAX_STUCK
    }

    /// The next piece, of about so many bytes.
    pub(super) async fn next(&self, push: Push, bytes: usize) -> Result<Piece, Failure> {
        let (id, snapshot, head, after) = (self.id, self.snapshot.clone(), self.head.clone(), self.after.clone());
        let read = tokio::task::spawn_blocking(move || {
            let found = snapshot.piece(after.as_deref(), BatchLimit { ops: MAX_KEYS, bytes })?;
            let head = after.is_none().then_some(&*head);
            let body = state::encode_piece(&push, id, after.as_deref(), head, &found.keys, found.is_last);
            Ok(Piece { body: body.into(), is_last: found.is_last, after, keys: found.keys.len() as u64 })
        });
        read.await.map_err(|error| Failure::Unreadable(error.to_string()))?.map_err(unreadable)
    }

    /// Goes on where the peer is after it got a piece, not before it is the turn of the next. Whether that is any farther
    /// than before.
    pub(super) fn goes_on(&mut self, piece: &Piece, taken: &Taken, next_turn: Instant) -> bool {
        let has_moved = self.takes_up(piece, taken);
        if has_moved {
            self.waits_since = next_turn;
        }
        has_moved
    }

    fn takes_up(&mut self, piece: &Piece, taken: &Taken) -> bool {
        if !matches!(taken, Taken::Busy { .. }) {
            self.progress.bytes += piece.body.len() as u64;
        }
        match taken {
            Taken::Busy { .. } => false,
            Taken::All => {
                self.progress.keys += piece.keys;
                true
            }
            Taken::UpTo(key) => {
                let has_moved = *key != piece.after;
                self.progress.keys = match key {
                    // It lost what it had, and begins again.
                    None => 0,
                    Some(key) if Some(key) > piece.after.as_ref() => self.progress.keys + piece.keys,
                    Some(_) => self.progress.keys,
                };
                self.after.clone_from(key);
                has_moved
            }
        }
    }
}

/// A name that no other transfer has.
fn name(began: WallMs) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Other keys each time, so another number.
    RandomState::new().hash_one(began.0)
}

fn unreadable(error: StorageError) -> Failure {
    Failure::Unreadable(error.to_string())
}

/// How fast pieces may follow on each other.
pub(super) struct Pace {
    bytes_per_second: Option<NonZeroU64>,
    /// When the next may go out.
    next: Instant,
}

impl Pace {
    pub(super) fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { bytes_per_second, next: Instant::now() }
    }

    /// How many bytes a piece should have, of at most so many: no more than may go out while an order may wait.
    pub(super) fn piece_bytes(&self, most: usize) -> usize {
        let Some(rate) = self.bytes_per_second else { return most };
        let worth = u128::from(rate.get()) * MAX_WAIT.as_millis() / 1_000;
        most.min(usize::try_from(worth).unwrap_or(most)).max(1)
    }

    /// Until when to wait for the turn of the next, but not for long; and whether it will have come then.
    pub(super) fn turn(&self, now: Instant) -> (Instant, bool) {
        let patience = now + MAX_WAIT;
        (self.next.min(patience), self.next <= patience)
    }

    /// When that is.
    pub(super) fn next_turn(&self, now: Instant) -> Instant {
        self.next.max(now)
    }

    /// So many bytes went out.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        let Some(rate) = self.bytes_per_second else { return };
        self.next = self.next.max(now) + Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Duration = Duration::from_millis(250);

    #[test]
    fn pieces_go_out_at_the_configured_pace_and_no_order_waits_for_long() {
        let mut pace = Pace::new(NonZeroU64::new(100_000));
        let mut now = Instant::now();
        let piece = pace.piece_bytes(1 << 20);
        assert_eq!(piece, 25_000, "a quarter of a second");
        assert!(pace.turn(now).0 <= now, "the first does not wait");
        pace.sent(piece, now);
        for _ in 0..8 {
            assert_eq!(pace.turn(now), (now + QUARTER, true));
            now += QUARTER;
            pace.sent(piece, now);
        }
        now += QUARTER;
        // One key that is larger than that.
        pace.sent(60_000, now);
        assert_eq!(pace.turn(now), (now + QUARTER, false));
        assert_eq!(pace.turn(now + QUARTER), (now + 2 * QUARTER, false));
        assert_eq!(pace.turn(now + 2 * QUARTER), (now + Duration::from_millis(600), true));
        // What was not used is not made up for.
        now += Duration::from_secs(60);
        pace.sent(piece, now);
        assert_eq!(pace.turn(now), (now + QUARTER, true));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(None);
        assert_eq!(pace.piece_bytes(1 << 20), 1 << 20);
        pace.sent(usize::MAX, Instant::now());
        let now = Instant::now();
        assert!(pace.turn(now).0 <= now && pace.turn(now).1);
    }
}
