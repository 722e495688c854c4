//! [`NodeHandle`]: everything that shells can ask of a node.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::watch::{self, error::RecvError};
use tokio::time::{Instant, sleep, timeout_at};

use super::admission::{Admission, Admitted, Overloaded};
use super::cluster::Peers;
use super::courier::{Bags, Reply};
use super::draining::{Draining, Gate, UnderWay};
use super::filling::{Filling, Step};
use super::history::History;
use super::progress::{StateProgress, StateTotals, Transfers};
use super::room::{NoRoom, Room};
use crate::causality::{Dot, NodeId, VersionVector, WallMs};
use crate::format::state::{StateAnswer, StatePiece, Taken};
use crate::replica::{Adopted, Answer, Key, LinkId, OpRange, Push, Rejection, Value, View, Write, WriteError, Written};
use crate::storage::{
    BatchLimit, Damage, DiskSpace, Fill, LogHold, LogId, LogSize, Snapshot, Storage, StorageError, StoredOp,
};

/// Who waits for the view to become something looks at every change of it at first, and then from time to time: thousands
/// that wait for what does not come must not take the time of everybody else at every commit.
const MAX_LOOKS_IN_A_ROW: u32 = 64;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the owner's thread takes in.
pub(super) enum Command {
    Write(Write, Waiting<Result<Written, WriteError>>),
    Push(Push, Waiting<Result<Answer, Rejection>>),
    Answered {
        link: LinkId,
        carried: Vec<Dot>,
        answer: Answer,
    },
    StateAnswered {
        link: LinkId,
        answer: Answer,
        taken: bool,
    },
    SendFailed {
        link: LinkId,
        rejection: Option<Rejection>,
    },
    /// A peer's whole state is here.
    Adopt {
        fill: Box<dyn Fill>,
        progress: StateProgress,
        reply: oneshot::Sender<Result<(), StorageError>>,
    },
    /// It was put in the place of this node's.
    Adopted {
        outcome: Result<Box<Adopted>, StorageError>,
    },
    /// A part of the log was dropped.
    Trimmed {
        outcome: Result<VersionVector, StorageError>,
    },
    /// A group commit ended.
    Committed {
        through: u64,
        outcome: Result<(), StorageError>,
    },
    Stop,
}

/// A request that the owner has or will get, with its place among those admitted: it takes that place until
/// it is answered, also when who asked has gone away, because it takes the memory until then.
pub(super) struct Waiting<T> {
    reply: Reply<T>,
    admitted: Admitted,
    /// Of a write.
    under_way: Option<UnderWay>,
}

impl<T: std::marker::Send + 'static> Waiting<T> {
    pub(super) fn answer(self, outcome: T, bags: &mut Bags) {
        self.admitted.answered();
        drop(self.under_way);
        self.reply.give(outcome, bags);
    }
}

/// Who belongs to the cluster, by this node's configuration.
#[derive(Clone, Debug)]
pub struct Members {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// This node.
    pub own: NodeId,
    /// How many nodes the configured list has, this one included.
    pub count: usize,
    /// Where the others are looked for, in the list's order.
    pub addresses: Arc<[String]>,
    /// Ids named as removed.
    pub removed: Arc<BTreeSet<NodeId>>,
}

/// Uses a node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) members: Members,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) view: watch::Receiver<Arc<View>>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) writes: Arc<Admission>,
    pub(super) pushes: Arc<Admission>,
    pub(super) room: Room,
    pub(super) gate: Arc<Gate>,
    pub(super) history: Arc<History>,
    pub(super) peers: Peers,
    pub(super) transfers: Arc<Transfers>,
    pub(super) filling: Arc<Filling>,
    pub(super) started: WallMs,
}

/// A write that got no dot.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The node takes no more writes.
    #[error(transparent)]
    Draining(#[from] Draining),
    /// The disk has too little room.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Too many are waiting.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The replica refused it.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// The node is stopping; the outcome is unknown if the request was under way.
    #[error("this node is stopping")]
    Stopping,
}

/// A push that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The disk has too little room for its ops.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Too many are waiting.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The replica rejected it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// A context that this node did not reach in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("this node lacks ops that the context includes")]
pub struct NotReached {
    /// What it lacks, an entry an origin.
    pub lacking: Vec<Lacking>,
}

/// What a node lacks of one origin.
#[derive(Debug, Clone)]
pub struct Lacking {
    /// The last op wanted.
    pub wanted: Dot,
    /// How far this node has that origin.
    pub have: u64,
    /// Whether some other member may still supply it: one is known to have it, or one has not been heard
    /// of. `false`: every member was heard, and none has it (its node restarted without it).
    pub obtainable: bool,
}

/// A node's own view, at one instant.
#[derive(Clone)]
pub struct Status {
    /// What the replica knows.
    pub view: Arc<View>,
    /// Writes and pushes waiting for the disk.
    pub waiting_requests: usize,
    /// Bytes of their keys and values.
    pub waiting_bytes: usize,
    /// How many writes may wait, as long as they take what they take now.
    pub may_wait: usize,
    /// How many were refused because too many were waiting.
    pub refused_requests: u64,
    /// This node's state on its way to peers, by their places in the configured list.
    pub sending: Vec<Option<StateProgress>>,
    /// A peer's state on its way to this node.
    pub filling: Option<StateProgress>,
    /// What went over in this run, there and here.
    pub moved: StateTotals,
}

impl NodeHandle {
    /// Who belongs to the cluster.
    pub fn members(&self) -> &Members {
        &self.shared.members
    }

    /// Whether a write of about so many bytes would be taken now. Its body need not be looked at when it would not.
    pub fn would_write(&self, bytes: usize) -> Result<(), SetError> {
        self.would_take()?;
        Ok(self.shared.writes.has_room(bytes)?)
    }

    /// The same of a write whose body is still to come, behind so many others with so many bytes. `true`: these count, so there
    /// is a place for it when it has come ([`Self::write_expected`]).
    pub fn would_write_behind(&self, coming: usize, coming_bytes: usize, bytes: usize) -> Result<bool, SetError> {
        self.would_take()?;
        let is_busy = self.shared.writes.is_busy();
        let (coming, coming_bytes) = if is_busy { (coming, coming_bytes) } else { (0, 0) };
        self.shared.writes.has_room_behind(coming, coming_bytes, bytes)?;
        Ok(is_busy)
    }

    /// Whether so many bytes on their way may keep others out.
    pub fn is_crowded(&self, coming_bytes: usize) -> bool {
        self.shared.writes.is_busy() && self.shared.writes.is_half_full(coming_bytes)
    }

    /// Whether writes are taken at all.
    fn would_take(&self) -> Result<(), SetError> {
        if self.is_draining() {
            return Err(Draining.into());
        }
        if self.shared.view.borrow().read_only {
            return Err(WriteError::ReadOnly.into());
        }
        Ok(self.has_room()?)
    }

    /// How many writes may wait for the disk at its present pace.
    pub fn may_wait(&self) -> usize {
        self.shared.writes.may_wait()
    }

    /// Writes: returns once it is durable and visible on this node.
    pub async fn write(&self, write: Write) -> Result<Written, SetError> {
        self.write_admitted(write, Admission::admit).await
    }

    /// Writes what [`Self::would_write_behind`] let come: it is taken although more wait by now than may at the disk's present pace.
    pub async fn write_expected(&self, write: Write) -> Result<Written, SetError> {
        self.write_admitted(write, Admission::admit_expected).await
    }

    async fn write_admitted(
        &self,
        write: Write,
        admit: fn(Arc<Admission>, usize) -> Result<Admitted, Overloaded>,
    ) -> Result<Written, SetError> {
        let bytes = write.entries.iter().map(|(key, value)| size(key, value.as_ref())).sum();
        let under_way = Some(self.shared.gate.enter()?);
        self.take_room(bytes)?;
        let admitted = admit(self.shared.writes.clone(), bytes)?;
        let (reply, outcome) = Reply::here();
        self.shared
            .commands
            .send(Command::Write(write, Waiting { reply, admitted, under_way }))
            .map_err(|_| SetError::Stopping)?;
        Ok(outcome.await.map_err(|_| SetError::Stopping)??)
    }

    /// Takes a peer's push: returns once all of it that could be delivered is durable and visible.
    pub async fn push(&self, push: Push) -> Result<Answer, PushError> {
        let entries = push.ops.iter().flat_map(|op| &op.entries);
        let bytes = entries.map(|entry| size(&entry.key, entry.value.as_ref())).sum();
        // Without ops it only asks what is here.
        if !push.ops.is_empty() {
            self.take_room(bytes)?;
        }
        let admitted = self.shared.pushes.clone().admit(bytes)?;
        let (reply, outcome) = Reply::here();
        let waiting = Waiting { reply, admitted, under_way: None };
        self.shared.commands.send(Command::Push(push, waiting)).map_err(|_| PushError::Stopping)?;
        Ok(outcome.await.map_err(|_| PushError::Stopping)??)
    }

    /// Hands in a peer's answer to a [`Send`](crate::replica::Send).
    pub fn answered(&self, link: LinkId, carried: Vec<Dot>, answer: Answer) {
        // A node that is stopping has no use for it.
        let _ = self.shared.commands.send(Command::Answered { link, carried, answer });
    }

    /// Says that a [`Send`](crate::replica::Send) failed.
    pub fn send_failed(&self, link: LinkId, rejection: Option<Rejection>) {
        let _ = self.shared.commands.send(Command::SendFailed { link, rejection });
    }

    /// Hands in a peer's answer to a piece of this node's state.
    pub fn state_answered(&self, link: LinkId, answer: Answer, taken: bool) {
        let _ = self.shared.commands.send(Command::StateAnswered { link, answer, taken });
    }

    /// Says how far this node's state is on its way to a peer; `None`: it is not under way (any more).
    pub fn sending_state(&self, link: LinkId, progress: Option<StateProgress>) {
        self.shared.transfers.set_sending(link.0, progress);
    }

    /// Says that a peer took a piece of this node's state: so many keys, in so many bytes.
    pub fn state_sent(&self, keys: u64, bytes: u64) {
        self.shared.transfers.note_sent(keys, bytes);
    }

    /// Whether a peer's state is on its way to this node. Costs nothing.
    pub fn is_filling(&self) -> bool {
        self.shared.transfers.is_filling()
    }

    /// Keeps in the log what comes from now on, for as long as the hold lives.
    pub fn hold_log(&self) -> LogHold {
        self.shared.storage.hold_log()
    }

    /// Takes a piece of a peer's state, of so many bytes; returns when it may send the next, after the last once the state is
    /// adopted. Goes on to its end also when nobody waits for that any more.
    pub async fn take_state(&self, piece: StatePiece, bytes: usize) -> Result<StateAnswer, PushError> {
        let node = self.clone();
        tokio::spawn(async move { node.take_piece(piece, bytes).await }).await.map_err(|_| PushError::Stopping)?
    }

    async fn take_piece(self, piece: StatePiece, bytes: usize) -> Result<StateAnswer, PushError> {
        let push = piece.push.clone();
        let answer = self.push(push.clone()).await?;
        if self.status().view.read_only {
            return Err(Rejection::ReadOnly.into());
        }
        self.take_room(bytes)?;
        let shared = self.shared.clone();
        let step = tokio::task::spawn_blocking(move || {
            let view = shared.view.borrow().clone();
            let (own, storage) = (shared.members.own, &*shared.storage);
            shared.filling.take(piece, bytes as u64, own, &view, storage)
        });
        let failed = |error: StorageError| PushError::Rejected(Rejection::Unreadable(error.to_string()));
        match step.await.map_err(|_| PushError::Stopping)?.map_err(failed)? {
            Step::Answer(taken) => Ok(StateAnswer { answer, taken }),
            Step::Filled(fill, progress) => {
                let (reply, outcome) = oneshot::channel();
                let adopt = Command::Adopt { fill, progress, reply };
                self.shared.commands.send(adopt).map_err(|_| PushError::Stopping)?;
                let outcome = outcome.await;
                self.shared.filling.adopted();
                outcome.map_err(|_| PushError::Stopping)?.map_err(failed)?;
                Ok(StateAnswer { answer: self.push(push).await?, taken: Taken::All })
            }
        }
    }

    /// The whole state as of the last commit. Costs nothing to speak of; what is read of it may touch the disk.
    pub fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StorageError> {
        self.shared.storage.snapshot()
    }

    /// Ops of the log, in order of their positions.
    pub fn ops(&self, ranges: &[OpRange], limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.shared.storage.ops(ranges, limit)
    }

    /// All ops behind a position of the log, in order and without a gap. May touch the disk.
    pub fn ops_after(&self, position: u64, limit: BatchLimit) -> Result<Vec<StoredOp>, StorageError> {
        self.shared.storage.ops_after(position, limit)
    }

    /// The position behind which the log can be read without a gap.
    pub fn log_start(&self) -> u64 {
        self.shared.storage.log_start()
    }

    /// Which log this node's is.
    pub fn log_id(&self) -> LogId {
        self.shared.storage.log_id()
    }

    /// The encoded bytes of the ops of these ranges that are in the log.
    pub fn op_bytes(&self, ranges: &[OpRange]) -> Result<u64, StorageError> {
        self.shared.storage.op_bytes(ranges)
    }

    /// How much is in the log.
    pub fn log_size(&self) -> Result<LogSize, StorageError> {
        self.shared.storage.log_size()
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> Result<u64, StorageError> {
        self.shared.storage.disk_bytes()
    }

    /// What of the store is known to be damaged.
    pub fn damage(&self) -> Damage {
        self.shared.storage.damage()
    }

    /// Room on the disk.
    pub fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        self.shared.storage.disk_space()
    }

    /// How much of the disk has to stay free; 0: nothing.
    pub fn min_free_bytes(&self) -> u64 {
        self.shared.room.min_free()
    }

    /// Whether the disk has room for writes.
    pub fn has_room(&self) -> Result<(), NoRoom> {
        self.take_room(0)
    }

    fn take_room(&self, bytes: usize) -> Result<(), NoRoom> {
        self.shared.room.take(bytes, self.shared.writes.bytes() + self.shared.pushes.bytes())
    }

    /// This node's own view.
    pub fn status(&self) -> Status {
        Status {
            view: self.shared.view.borrow().clone(),
            sending: self.shared.transfers.sending(),
            filling: self.shared.transfers.filling(),
            moved: self.shared.transfers.totals(),
            waiting_requests: self.shared.writes.requests() + self.shared.pushes.requests(),
            waiting_bytes: self.shared.writes.bytes() + self.shared.pushes.bytes(),
            may_wait: self.shared.writes.may_wait(),
            refused_requests: self.shared.writes.refused() + self.shared.pushes.refused(),
        }
    }

    /// Whether the node's thread has ended: nothing changes any more.
    pub fn has_ended(&self) -> bool {
        self.shared.view.has_changed().is_err()
    }

    /// Waits until something behind this position of the log is visible; `None` when the node has ended.
    pub async fn advanced(&self, position: u64) -> Option<Arc<View>> {
        let mut view = self.shared.view.clone();
        let advanced = view.wait_for(|view| view.position > position).await;
        advanced.ok().map(|view| view.clone())
    }

    /// Waits until this node includes all of `vector`.
    pub async fn reached(&self, vector: &VersionVector, wait: Duration) -> Result<(), NotReached> {
        let includes = |view: &View| view.ancestry.includes(&view.vector, vector);
        let asked = self.shared.view.borrow().clone();
        if self.until(wait, includes).await {
            return Ok(());
        }
        let view = self.shared.view.borrow().clone();
        let lacking = vector.entries().filter(|wanted| !view.ancestry.covers(&view.vector, *wanted));
        Err(NotReached {
            lacking: lacking
                .map(|wanted| Lacking {
                    wanted,
                    have: view.ancestry.covered_up_to(&view.vector, wanted.origin),
                    obtainable: obtainable(&asked, &view, wanted),
                })
                .collect(),
        })
    }

    /// Waits until `count` nodes have the op on disk; returns those that have it when it stopped waiting.
    pub async fn durable_on(&self, dot: Dot, count: usize, wait: Duration) -> BTreeSet<NodeId> {
        let own = self.shared.members.own;
        self.until(wait, |view| holders(view, own, dot).len() >= count).await;
        holders(&self.shared.view.borrow(), own, dot)
    }

    /// Waits for a condition on the view; says whether it came true in time.
    pub async fn until(&self, wait: Duration, condition: impl Fn(&View) -> bool) -> bool {
        let deadline = Instant::now() + wait;
        let mut view = self.shared.view.clone();
        let reached = async {
            let mut looks = 0;
            while !condition(&view.borrow_and_update()) {
                looks += 1;
                if looks > MAX_LOOKS_IN_A_ROW {
                    sleep(LOOK_AGAIN).await;
                }
                view.changed().await?;
            }
            Ok::<(), RecvError>(())
        };
        matches!(timeout_at(deadline, reached).await, Ok(Ok(())))
    }
}

fn size(key: &Key, value: Option<&Value>) -> usize {
    key.len() + value.map_or(0, |value| value.len())
}

fn holders(view: &View, own: NodeId, dot: Dot) -> BTreeSet<NodeId> {
    let has = |vector: &VersionVector| view.ancestry.covers(vector, dot);
    let peers = view.links.iter().filter(|link| link.vector.as_ref().is_some_and(has)).filter_map(|link| link.node);
    peers.chain(has(&view.vector).then_some(own)).collect()
}

/// Whether some member may still supply the op. Only a peer that was heard since it was `asked` for can be
/// known to lack it: what is known of it before may be older than the op. One that has an incarnation that
/// this node lacks may have the op by implication.
fn obtainable(asked: &View, view: &View, dot: Dot) -> bool {
    asked.links.iter().zip(&view.links).any(|(before, link)| match &link.vector {
        Some(vector) => {
            let unheard = link.away_since.is_some() || link.heard == before.heard;
            let mut lives = vector.entries_of(dot.origin.node);
            unheard || lives.any(|last| !view.ancestry.covers(&view.vector, last)) || view.ancestry.covers(vector, dot)
        }
        None => true,
    })
}

#[cfg(test)]
#[path = "obtainable_tests.rs"]
mod obtainable_tests;
