//! Filling: takes a peer's state in, piece by piece, until it can be adopted.
//!
//! Promises: one state at a time; a piece that came before, or comes too early, changes nothing and is answered with how far
//! the state is here. Whoever sends one may stop at any time: nothing of it is visible before it is adopted, and another
//! sender takes over; what is not needed any more, or what nothing comes of, holds neither disk nor log. Must not take pieces
//! on the owner's thread: they are written to the disk. To end a state does no work there, its files are removed beside.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::progress::{StateProgress, Transfers};
use super::{lock, wall_now};
use crate::causality::{NodeId, VersionVector};
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
pub(super) struct Filling {
    /// Shows it from its first piece until it is adopted or dropped.
    transfers: Arc<Transfers>,
    open: Mutex<Option<Open>>,
    /// One is complete and being adopted: until it is, no other may be begun.
    is_adopting: AtomicBool,
    /// Nodes whose state can't take the place of damaged keys, of which that was said.
    unfit: Mutex<BTreeSet<NodeId>>,
}

struct Open {
    transfer: u64,
    /// The run of the sender. Two may have one id.
    boot: u64,
    fill: Box<dyn Fill>,
    /// What this node lacks some of, which is why it is filled; `None`: for its damaged keys.
    lacked: Option<VersionVector>,
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
    pub(super) fn new(transfers: Arc<Transfers>) -> Self {
        Self { transfers, open: Mutex::default(), is_adopting: AtomicBool::new(false), unfit: Mutex::default() }
    }

    /// Takes a piece that is meant for this node, of a sender that may send it.
    pub(super) fn take(
        &self,
        piece: StatePiece,
        bytes: u64,
        own: NodeId,
        view: &View,
        storage: &dyn Storage,
    ) -> Result<Step, StorageError> {
        let sender = piece.push.sender.node;
        let open = self.try_open().filter(|_| !self.is_adopting.load(Ordering::SeqCst));
        let Some(mut open) = open else {
            // A piece is being written, this one if it is the sender's; or a state is being adopted.
            let with = self.transfers.filling().map_or(sender, |progress| progress.peer);
            return Ok(Step::Answer(Taken::Busy { with }));
        };
        if let Some(taken) = self.begin(&mut open, &piece, own, view, storage)? {
            return Ok(Step::Answer(taken));
        }
        let Some(filling) = open.as_mut() else { return Ok(Step::Answer(Taken::UpTo(None))) };
        filling.heard = Instant::now();
        if piece.after != filling.through {
            return Ok(Step::Answer(Taken::UpTo(filling.through.clone())));
        }
        let keys = piece.keys.len() as u64;
        let is_last = filling.put(piece, bytes);
        if is_last.is_ok() {
            self.transfers.note_received(keys, bytes);
            self.transfers.set_filling(Some(filling.progress));
        }
        match is_last {
            Ok(false) => Ok(Step::Answer(Taken::UpTo(filling.through.clone()))),
            Ok(true) => {
                let Open { fill, progress, .. } = open.take().expect("it was there a moment ago");
                self.is_adopting.store(true, Ordering::SeqCst);
                Ok(Step::Filled(fill, progress))
            }
            Err(error) => {
                self.close(&mut open);
                Err(error)
            }
        }
    }

    /// What was filled was adopted, or could not be.
    pub(super) fn adopted(&self) {
        self.transfers.set_filling(None);
        self.is_adopting.store(false, Ordering::SeqCst);
    }

    /// What is open, unless a piece is being written.
    fn try_open(&self) -> Option<MutexGuard<'_, Option<Open>>> {
        match self.open.try_lock() {
            Ok(open) => Some(open),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(error)) => {
                // Nobody knows how far the piece got that it panicked over.
                let mut open = error.into_inner();
                self.close(&mut open);
                self.open.clear_poison();
                Some(open)
            }
        }
    }

    fn close(&self, open: &mut Option<Open>) {
        *open = None;
        self.transfers.set_filling(None);
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
        self.close(open);
        let progress = StateProgress { peer: sender, began: wall_now(), keys: 0, bytes: 0, all_keys: *keys };
        self.transfers.set_filling(Some(progress));
        let peer = PeerState { vector: vector.clone(), ancestry: ancestry.clone() };
        let begun = storage.begin_fill(peer, basis).inspect_err(|_| self.transfers.set_filling(None));
        let fill = match begun {
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
        let lacked = (basis == Basis::State).then(|| vector.clone());
        let (transfer, heard) = (piece.transfer, Instant::now());
        *open = Some(Open { transfer, boot, fill, lacked, through: None, heard, progress });
        Ok(None)
    }

    /// Says once of each node that this one's damaged keys can't be had from it.
    fn say_unfit(&self, peer: NodeId, why: &str) {
        if lock(&self.unfit).insert(peer) {
            tracing::warn!(%peer, "the state of node{peer} can't take the place of damaged keys, so another's is waited for: {why}");
        }
    }

    /// Drops a state of which nothing comes any more, or all of which came in another way, and its files.
    pub(super) fn end_if_over(&self, view: &View) {
        let Some(mut open) = self.try_open() else { return };
        let Some(filling) = &*open else { return };
        let (peer, keys) = (filling.progress.peer, filling.progress.keys);
        if filling.lacked.as_ref().is_some_and(|lacked| view.ancestry.includes(&view.vector, lacked)) {
            tracing::info!(%peer, keys, "a peer's state is not needed any more: what it has came in another way");
        } else if filling.heard.elapsed() >= ABANDONED {
            tracing::warn!(%peer, keys, "nothing comes any more of a peer's state: dropped it");
        } else {
            return;
        }
        self.close(&mut open);
    }
}

impl Open {
    /// Takes the next piece; whether it was the last.
    fn put(&mut self, piece: StatePiece, bytes: u64) -> Result<bool, StorageError> {
        let StatePiece { keys, is_last, .. } = piece;
        let count = keys.len() as u64;
        let through = keys.last().map(|(key, _)| key.clone()).or_else(|| self.through.clone());
        self.fill.put(keys, through.as_deref().filter(|_| !is_last))?;
        self.through = through;
        self.progress.keys += count;
        self.progress.bytes += bytes;
        if !is_last {
            return Ok(false);
        }
        for _ in 0..MAX_ROUNDS {
            if self.fill.catch_up()? <= FEW_OPS {
                break;
            }
        }
        Ok(true)
    }
}
