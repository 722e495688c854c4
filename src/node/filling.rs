//! Filling: takes a peer's state in, piece by piece, until it can be adopted.
//!
//! Promises: one state at a time; a piece that came before, or comes too early, changes nothing and is answered with how far
//! the state is here. Whoever sends one may stop at any time: nothing of it is visible before it is adopted, and another
//! sender takes over. Must not run on the owner's thread: pieces are written to the disk.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::progress::{StateProgress, Transfers};
use super::wall_now;
use crate::causality::NodeId;
use crate::format::state::{StateHead, StatePiece, Taken};
use crate::replica::{Key, View};
use crate::storage::{Basis, Fill, PeerState, Storage, StorageError};

/// For how long a sender that is silent keeps others from taking over.
const SILENT: Duration = Duration::from_secs(10);

/// After how long without a piece what came of a state is dropped.
const ABANDONED: Duration = Duration::from_secs(60);

/// With so few ops left behind it, a state is brought up to date while nothing else is committed.
const FEW_OPS: u64 = 1_000;

/// How often it is brought up to date before that, at most: ops may come faster than it gets there.
const MAX_ROUNDS: usize = 32;

/// The state that is being filled, if there is one.
#[derive(Default)]
pub(super) struct Filling {
    open: Mutex<Option<Open>>,
    /// Whose state is complete and being adopted: until it is, no other may be begun.
    adopting: Mutex<Option<NodeId>>,
    /// Nodes whose state can't take the place of damaged keys, of which that was said.
    unfit: Mutex<BTreeSet<NodeId>>,
}

struct Open {
    transfer: u64,
    /// The run of the sender. Two may have one id.
    boot: u64,
    fill: Box<dyn Fill>,
    /// All up to this key is there.
    through: Option<Key>,
    heard: Instant,
    progress: StateProgress,
}

/// What became of a piece.
pub(super) enum Step {
    /// It is answered with this.
    Answer(Taken),
    /// It was the last: the state can be adopted.
    Filled(Box<dyn Fill>, StateProgress),
}

impl Filling {
    /// Takes a piece that is meant for this node, of a sender that may send it.
    pub(super) fn take(
        &self,
        piece: StatePiece,
        bytes: u64,
        own: NodeId,
        view: &View,
        storage: &dyn Storage,
        transfers: &Transfers,
    ) -> Result<Step, StorageError> {
        let sender = piece.push.sender.node;
        let mut open = match self.open.try_lock() {
            Ok(open) => open,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            // A piece is being written, this one or another's.
            Err(TryLockError::WouldBlock) => return Ok(Step::Answer(Taken::Busy { with: sender })),
        };
        if let Some(with) = *self.adopting() {
            return Ok(Step::Answer(Taken::Busy { with }));
        }
        if let Some(taken) = self.begin(&mut open, &piece, own, view, storage)? {
            return Ok(Step::Answer(taken));
        }
        let Some(filling) = open.as_mut() else { return Ok(Step::Answer(Taken::UpTo(None))) };
        filling.heard = Instant::now();
        if piece.after != filling.through {
            return Ok(Step::Answer(Taken::UpTo(filling.through.clone())));
        }
        match filling.put(piece, bytes, transfers) {
            Ok(None) => Ok(Step::Answer(Taken::UpTo(filling.through.clone()))),
            Ok(Some(())) => {
                let filled = open.take().expect("it was there a moment ago");
                *self.adopting() = Some(filled.progress.peer);
                transfers.set_filling(None);
                Ok(Step::Filled(filled.fill, filled.progress))
            }
            Err(error) => {
                *open = None;
                transfers.set_filling(None);
                Err(error)
            }
        }
    }

    /// What was filled was adopted, or could not be.
    pub(super) fn adopted(&self) {
        *self.adopting() = None;
    }

    fn adopting(&self) -> MutexGuard<'_, Option<NodeId>> {
        // Each step leaves it whole.
        self.adopting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the piece's state is the one that is being filled; else, the answer.
    fn begin(
        &self,
        open: &mut Option<Open>,
        piece: &StatePiece,
        own: NodeId,
        view: &View,
        storage: &dyn Storage,
    ) -> Result<Option<Taken>, StorageError> {
        let (sender, boot) = (piece.push.sender.node, piece.push.sender.boot);
        match open {
            Some(filling) if filling.transfer == piece.transfer => return Ok(None),
            Some(filling) if filling.boot != boot && filling.heard.elapsed() < SILENT => {
                return Ok(Some(Taken::Busy { with: filling.progress.peer }));
            }
            _ => {}
        }
        let (Some(StateHead { vector, ancestry, keys }), None) = (&piece.head, &piece.after) else {
            return Ok(Some(Taken::UpTo(None)));
        };
        let basis = if storage.damage().keys { Basis::Log } else { Basis::State };
        if basis == Basis::State && view.ancestry.includes(&view.vector, vector) {
            return Ok(Some(Taken::All));
        }
        // What was begun before goes first: two of them take twice the room.
        *open = None;
        let peer = PeerState { vector: vector.clone(), ancestry: ancestry.clone() };
        let fill = match storage.begin_fill(peer, basis) {
            Err(StorageError::Unfit(why)) => {
                self.say_unfit(sender, &why);
                // Another may have what this one lacks; or it will have it itself.
                return Ok(Some(Taken::Busy { with: own }));
            }
            other => other?,
        };
        match basis {
            Basis::Log => {
                tracing::info!(peer = %sender, keys, "a peer's state is coming, in the place of damaged keys");
            }
            Basis::State => {
                tracing::info!(peer = %sender, keys, "a peer's state is coming: its log does not have what this node lacks any more");
            }
        }
        let progress = StateProgress { peer: sender, began: wall_now(), keys: 0, bytes: 0, all_keys: *keys };
        *open = Some(Open { transfer: piece.transfer, boot, fill, through: None, heard: Instant::now(), progress });
        Ok(None)
    }

    /// Says once of each node that this one's damaged keys can't be had from it.
    fn say_unfit(&self, peer: NodeId, why: &str) {
        if self.unfit.lock().unwrap_or_else(PoisonError::into_inner).insert(peer) {
            tracing::warn!(%peer, "the state of node{peer} can't take the place of damaged keys, so another's is waited for: {why}");
        }
    }

    /// Whether a state was begun of which nothing comes any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.open.try_lock().is_ok_and(|open| open.as_ref().is_some_and(|open| open.heard.elapsed() >= ABANDONED))
    }

    /// Drops a state of which nothing comes any more, and its files.
    pub(super) fn drop_abandoned(&self, transfers: &Transfers) {
        if self.is_abandoned() {
            let abandoned = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
            transfers.set_filling(None);
            if let Some(Open { progress, .. }) = abandoned {
                tracing::warn!(peer = %progress.peer, keys = progress.keys, "nothing comes any more of a peer's state: dropped it");
            }
        }
    }
}

impl Open {
    /// Takes the next piece; whether it was the last.
    fn put(&mut self, piece: StatePiece, bytes: u64, transfers: &Transfers) -> Result<Option<()>, StorageError> {
        let StatePiece { keys, is_last, .. } = piece;
        self.progress.keys += keys.len() as u64;
        self.progress.bytes += bytes;
        let through = keys.last().map(|(key, _)| key.clone()).or_else(|| self.through.clone());
        self.fill.put(keys, through.as_deref().filter(|_| !is_last))?;
        self.through = through;
        transfers.set_filling(Some(self.progress));
        if !is_last {
            return Ok(None);
        }
        for _ in 0..MAX_ROUNDS {
            if self.fill.catch_up()? <= FEW_OPS {
                break;
            }
        }
        Ok(Some(()))
    }
}
