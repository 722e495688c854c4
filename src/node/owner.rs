//! The owner's thread: takes commands in, feeds the replica, carries out its effects. It waits for the disk only to read key
//! states; what changes the store it leaves to the committer, one thing at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::committer::Work;
use super::courier::Bags;
use super::filling::Filling;
use super::handle::{Command, Waiting};
use super::history::History;
use super::observer::Observer;
use super::progress::StateProgress;
use super::trimming::{LOOK_EVERY, Trimming};
use super::wall_now;
use crate::causality::{Dot, NodeId};
use crate::replica::{
    Adopted, Answer, Append, Effect, Input, MonoMs, Now, OpRange, Rejection, Replica, RequestId, Send, TICK_MS, View,
    WriteError, Written,
};
use crate::storage::{Damage, Fill, Storage, StorageError};

/// How many commands are taken in a row before the owner looks at its clock and the committer again.
const MAX_COMMANDS_IN_A_ROW: usize = 1_024;

pub(super) struct Owner {
    pub(super) own: NodeId,
    pub(super) replica: Replica,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) started: Instant,
    pub(super) inbox: Receiver<Command>,
    pub(super) work: Sender<Work>,
    pub(super) history: Arc<History>,
    pub(super) filling: Arc<Filling>,
    pub(super) trimming: Trimming,
    pub(super) orders: Vec<mpsc::Sender<Send>>,
    pub(super) view: watch::Sender<Arc<View>>,
    pub(super) waiting: InProgress,
}

/// What is under way.
#[derive(Default)]
pub(super) struct InProgress {
    stopping: bool,
    /// Staged, and not yet handed to the committer.
    staged: Vec<Append>,
    /// Those of this node among them, and when the first was staged.
    staged_own: Option<(OpRange, Instant)>,
    /// The committer has something to do.
    committing: bool,
    /// A peer's state that is to be adopted as soon as nothing else is under way to the disk.
    adoption: Option<Adoption>,
    /// Writes and pushes that came meanwhile: what they would do depends on the state.
    held_back: VecDeque<Command>,
    /// What of the store was known to be damaged at the last look.
    damage: Damage,
    next_request: u64,
    writes: BTreeMap<RequestId, Waiting<Result<Written, WriteError>>>,
    pushes: BTreeMap<RequestId, Waiting<Result<Answer, Rejection>>>,
    bags: Bags,
}

struct Adoption {
    /// Until the committer has it.
    fill: Option<Box<dyn Fill>>,
    progress: StateProgress,
    reply: oneshot::Sender<Result<(), StorageError>>,
}

impl Owner {
    pub(super) fn run(mut self) {
        while !self.waiting.stopping || self.waiting.committing || !self.waiting.staged.is_empty() {
            // The log and what is damaged are looked at also when nothing comes.
            let tick = self.next_tick().map_or(LOOK_EVERY, |at| at.saturating_duration_since(Instant::now()));
            let first = match self.inbox.recv_timeout(tick.min(LOOK_EVERY)) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let commands = first.into_iter().chain(self.inbox.try_iter()).take(MAX_COMMANDS_IN_A_ROW);
            for command in commands.collect::<Vec<_>>() {
                self.take(command);
            }
            if self.next_tick().is_some_and(|at| at <= Instant::now()) {
                self.feed(Input::Tick);
            }
            self.commit();
        }
    }

    /// When the replica wants to be told that time has passed.
    fn next_tick(&self) -> Option<Instant> {
        let due = self.replica.due()?;
        self.started.checked_add(Duration::from_millis(due.0.next_multiple_of(TICK_MS)))
    }

    fn take(&mut self, command: Command) {
        match command {
            // The end would never come under load. Who asked is told that the node is stopping.
            Command::Write(..) | Command::Push(..) | Command::Adopt { .. } if self.waiting.stopping => {}
            Command::Write(..) | Command::Push(..) if self.waiting.adoption.is_some() => {
                self.waiting.held_back.push_back(command);
            }
            Command::Write(write, waiting) => {
                let request = self.name_request();
                self.waiting.writes.insert(request, waiting);
                self.feed(Input::Write { request, write });
            }
            Command::Push(push, waiting) => {
                let request = self.name_request();
                self.waiting.pushes.insert(request, waiting);
                self.feed(Input::Push { request, push });
            }
            Command::Answered { link, carried, answer } => self.feed(Input::Answered { link, carried, answer }),
            Command::StateAnswered { link, answer, taken } => self.feed(Input::StateAnswered { link, answer, taken }),
            Command::SendFailed { link, rejection } => self.feed(Input::SendFailed { link, rejection }),
            Command::Committed { through, outcome } => self.committed(through, outcome),
            Command::Trimmed { outcome } => {
                self.waiting.committing = false;
                let is_news = self.trimming.is_news(outcome.is_err());
                match outcome {
                    Ok(floor) => self.feed(Input::Trimmed { floor }),
                    Err(error) if is_news => tracing::error!(%error, "old ops could not be dropped from the log"),
                    Err(_) => {}
                }
            }
            // There is no other: none is begun before this one is adopted.
            Command::Adopt { fill, progress, reply } => {
                self.waiting.adoption = Some(Adoption { fill: Some(fill), progress, reply });
            }
            Command::Adopted { outcome } => self.adopted(outcome),
            Command::Stop => self.waiting.stopping = true,
        }
    }

    fn committed(&mut self, through: u64, outcome: Result<(), StorageError>) {
        self.waiting.committing = false;
        match outcome {
            Ok(()) => {
                // First, so that the disk is busy while this commit's requests are answered.
                self.commit();
                self.history.visible(through, wall_now());
                self.feed(Input::Persisted { through });
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed: this node is READ-ONLY until it is restarted");
                self.waiting.staged.clear();
                self.waiting.staged_own = None;
                self.feed(Input::PersistFailed);
            }
        }
    }

    fn adopted(&mut self, outcome: Result<Box<Adopted>, StorageError>) {
        self.waiting.committing = false;
        let Some(Adoption { progress, reply, .. }) = self.waiting.adoption.take() else { return };
        let StateProgress { peer, began, keys, bytes, .. } = progress;
        let outcome = match outcome {
            Ok(adopted) => {
                self.history.visible(adopted.checkpoint.position, wall_now());
                // First: who is answered then is told that no state is wanted any more.
                self.note_damage();
                self.feed(Input::Adopted(adopted));
                let took_ms = wall_now().0.saturating_sub(began.0);
                tracing::info!(%peer, keys, bytes, took_ms, "a peer's state was merged into this node's");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%peer, %error, "a peer's state could not be adopted");
                Err(error)
            }
        };
        // Who sent it may have gone away.
        let _ = reply.send(outcome);
        for command in std::mem::take(&mut self.waiting.held_back) {
            self.take(command);
        }
    }

    /// Gives the committer something to do, if it is idle.
    fn commit(&mut self) {
        if self.waiting.committing {
            return;
        }
        let Some(work) = self.trim().or_else(|| self.group()).or_else(|| self.adoption()) else { return };
        self.work.send(work).expect("the committer ends only after the owner, which holds this end");
        self.waiting.committing = true;
    }

    /// Takes note of damage that was come upon, and of its end.
    fn note_damage(&mut self) {
        let damage = self.storage.damage();
        let before = std::mem::replace(&mut self.waiting.damage, damage);
        let Damage { keys, log, .. } = damage;
        if log && !before.log {
            tracing::error!(
                "ops in the log are DAMAGED: the log is given up to there; who lacks some of it gets the whole state"
            );
        }
        if keys == before.keys {
            return;
        }
        if keys {
            tracing::error!(
                "stored keys are DAMAGED: reads of them fail until a peer's whole state has taken their place"
            );
        } else {
            tracing::info!("the damaged keys were replaced by a peer's state: no key is known to be damaged any more");
        }
        self.trimming.keep_what_peers_lack(keys);
        self.feed(Input::WantsState(keys));
    }

    /// What of the log can go now.
    fn trim(&mut self) -> Option<Work> {
        if !self.trimming.is_due() {
            return None;
        }
        self.note_damage();
        let view = self.view.borrow().clone();
        // It holds the log.
        self.filling.end_if_over(&view);
        // A store that failed takes nothing any more.
        if view.read_only {
            return None;
        }
        if self.waiting.damage.log {
            return Some(Work::GiveUpLog);
        }
        let through = self.trimming.through(&self.storage.log_runs(), &view, wall_now())?;
        Some(Work::Trim { through })
    }

    /// What was staged.
    fn group(&mut self) -> Option<Work> {
        if self.waiting.staged.is_empty() {
            return None;
        }
        if let Some((ops, since)) = self.waiting.staged_own.take() {
            self.history.accepted(ops, since);
        }
        let appends = std::mem::take(&mut self.waiting.staged);
        Some(Work::Commit { appends, checkpoint: self.replica.checkpoint() })
    }

    /// A state that waits until all that was staged is durable.
    fn adoption(&mut self) -> Option<Work> {
        let fill = self.waiting.adoption.as_mut()?.fill.take()?;
        Some(Work::Adopt { fill })
    }

    fn feed(&mut self, input: Input) {
        // Only these inputs can change what the view shows; and time, where a claim ends.
        let publish = !matches!(input, Input::Write { .. } | Input::Tick);
        let effects = self.replica.handle(self.now(), input, &*self.storage);
        let publish = publish || effects.iter().any(|effect| matches!(effect, Effect::Twin { .. }));
        if publish {
            // Before anyone is answered: who has been told of a write must find it.
            let view = Arc::new(self.replica.view());
            let before = self.view.send_replace(view.clone());
            if before.buffer_full != view.buffer_full {
                self.observer.delivery_buffer(&view);
            }
        }
        for effect in effects {
            self.carry_out(effect);
        }
        self.waiting.bags.send();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append(append) => {
                self.note_own(append.op.dot);
                self.waiting.staged.push(append);
            }
            Effect::Written { request, outcome } => {
                if let Some(waiting) = self.waiting.writes.remove(&request) {
                    waiting.answer(outcome, &mut self.waiting.bags);
                }
            }
            Effect::Pushed { request, outcome } => {
                if let Some(waiting) = self.waiting.pushes.remove(&request) {
                    waiting.answer(outcome, &mut self.waiting.bags);
                }
            }
            Effect::Send(send) => {
                // There is room: one order is under way at a time. A sender that has ended needs no orders.
                let _ = self.orders[send.link.0].try_send(send);
            }
            Effect::Visible(visible) => self.observer.visible(&visible),
            Effect::Acknowledged { peer, ops, by_state } => {
                let latencies = self.history.acknowledged(peer, &ops, Instant::now(), wall_now());
                self.observer.acknowledged(peer, &ops, by_state, &latencies);
            }
            Effect::Peer { link, node, change } => self.observer.peer(link, node, change),
            Effect::UnknownMember { node } => self.observer.unknown_member(node),
            Effect::Twin { node, seen } => self.observer.twin(node, seen),
        }
    }

    /// Takes note that an op of this node was staged.
    fn note_own(&mut self, Dot { origin, counter }: Dot) {
        if origin.node != self.own {
            return;
        }
        match &mut self.waiting.staged_own {
            Some((ops, _)) if ops.origin == origin => ops.last = counter,
            staged => *staged = Some((OpRange { origin, first: counter, last: counter }, Instant::now())),
        }
    }

    fn name_request(&mut self) -> RequestId {
        self.waiting.next_request += 1;
        RequestId(self.waiting.next_request)
    }

    fn now(&self) -> Now {
        Now { mono: MonoMs(self.started.elapsed().as_millis() as u64), wall: wall_now() }
    }
}
