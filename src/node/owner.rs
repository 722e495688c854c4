//! The owner's and the committer's threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::sync::{mpsc, oneshot, watch};

use super::cluster::{Asked, MAX_QUESTIONS, Peers};
use super::courier::Bags;
use super::handle::{Admission, AdmissionLimit, Command, Members, NodeHandle, Shared, Waiting};
use super::history::History;
use super::observer::Observer;
use super::progress::Transfers;
use super::room::Room;
use super::wall_now;
use crate::causality::{Dot, NodeId};
use crate::replica::{
    Answer, Append, Checkpoint, Effect, Input, MonoMs, Now, OpRange, Recovered, Rejection, Replica, ReplicaOptions,
    RequestId, Seed, Send, TICK_MS, View, WriteError, Written,
};
use crate::storage::{Storage, StorageError};

/// How many commands are taken in a row before the owner looks at its clock and the committer again.
const MAX_COMMANDS_IN_A_ROW: usize = 1_024;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// How its replica behaves.
    pub replica: ReplicaOptions,
    /// Fresh random bits.
    pub seed: Seed,
    /// How much may wait for the disk.
    pub admission: AdmissionLimit,
    /// Where the peers are looked for, in the order of `replica.peers`, for people to see.
    pub addresses: Vec<String>,
    /// With less of the disk free no writes are taken; 0: whatever is free.
    pub min_free_bytes: u64,
}

/// A node that runs.
pub struct Running {
    /// For the shells.
    pub handle: NodeHandle,
    /// What is to be sent to each peer, in the order of `ReplicaOptions::peers`. One order is under way at a
    /// time; each must be followed by `NodeHandle::answered` or `NodeHandle::send_failed`.
    pub orders: Vec<mpsc::Receiver<Send>>,
    /// Questions to each peer, in the same order. Each is answered, or dropped when there is no answer.
    pub questions: Vec<mpsc::Receiver<Asked>>,
    /// Resolves when the node's thread has ended, for whatever reason.
    pub ended: oneshot::Receiver<()>,
    owner: JoinHandle<()>,
}

impl Running {
    /// Finishes what was taken in, and ends the node's threads. Blocks until they have ended.
    pub fn stop(self) {
        // If the thread has ended already there is nothing to stop.
        let _ = self.handle.shared.commands.send(Command::Stop);
        if self.owner.join().is_err() {
            tracing::error!("the node's thread had panicked");
        }
    }
}

/// Starts a node on what its storage holds.
pub fn start(
    options: NodeOptions,
    storage: Arc<dyn Storage>,
    recovered: Recovered,
    observer: Arc<dyn Observer>,
) -> io::Result<Running> {
    let NodeOptions { replica: replica_options, seed, admission, addresses, min_free_bytes } = options;
    let members = Members {
        cluster: replica_options.cluster.clone(),
        own: replica_options.node,
        count: replica_options.peers.len() + 1,
        addresses: addresses.into(),
    };
    let (question_senders, questions) = replica_options.peers.iter().map(|_| mpsc::channel(MAX_QUESTIONS)).unzip();
    let history = Arc::new(History::behind(recovered.checkpoint.position));
    let peers = Peers::new(question_senders);
    let (order_senders, orders): (_, Vec<_>) = replica_options.peers.iter().map(|_| mpsc::channel(1)).unzip();
    let replica = Replica::new(replica_options, seed, recovered);
    let (view_sender, view) = watch::channel(Arc::new(replica.view()));
    let (commands, inbox) = channel();
    let (group_sender, groups) = channel();
    let (ended_sender, ended) = oneshot::channel();

    let committer = Committer { storage: storage.clone(), groups, done: commands.clone(), observer: observer.clone() };
    let owner = Owner {
        own: members.own,
        replica,
        storage: storage.clone(),
        observer,
        started: Instant::now(),
        inbox,
        groups: group_sender,
        staged: Vec::new(),
        staged_own: None,
        history: history.clone(),
        committing: false,
        next_request: 0,
        writes: BTreeMap::new(),
        pushes: BTreeMap::new(),
        orders: order_senders,
        view: view_sender,
        bags: Bags::default(),
    };
    let owner = spawn(owner, committer, ended_sender)?;
    let disk = storage.clone();
    // What can't be asked is told by what needs the disk.
    let room = Room::new(min_free_bytes, move || disk.disk_space().map_or(u64::MAX, |space| space.free));
    let handle = NodeHandle {
        shared: Arc::new(Shared {
            members,
            commands,
            view,
            storage,
            admission: Arc::new(Admission::new(admission)),
            room,
            history,
            transfers: Transfers::new(orders.len()),
            peers,
            started: wall_now(),
        }),
    };
    Ok(Running { handle, orders, questions, ended, owner })
}

/// Starts the two threads. That of the owner ends last, and says so.
fn spawn(owner: Owner, committer: Committer, ended: oneshot::Sender<()>) -> io::Result<JoinHandle<()>> {
    let committer = thread::Builder::new().name("commit".to_owned()).spawn(move || committer.run())?;
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        owner.run();
        // It ends because the owner's end of the channel is gone; until it has, it holds the storage open.
        if committer.join().is_err() {
            tracing::error!("the committer's thread had panicked");
        }
        // Whoever waits for the end is told even when `run` panics, by the sender's drop.
        drop(ended);
    })
}

/// Appends that go into one commit, with the checkpoint after the last of them.
struct Group {
    appends: Vec<Append>,
    checkpoint: Checkpoint,
}

struct Committer {
    storage: Arc<dyn Storage>,
    groups: Receiver<Group>,
    done: Sender<Command>,
    observer: Arc<dyn Observer>,
}

impl Committer {
    fn run(self) {
        for Group { appends, checkpoint } in self.groups {
            // A panic in the engine is a failed commit: the node must go read-only, not fall silent.
            let commit = AssertUnwindSafe(|| self.storage.commit(&appends, &checkpoint));
            let began = Instant::now();
            let outcome = catch_unwind(commit).unwrap_or_else(|_| Err(StorageError::Engine("it panicked".to_owned())));
            if outcome.is_ok() {
                self.observer.committed(appends.len(), began.elapsed());
            }
            if self.done.send(Command::Committed { through: checkpoint.position, outcome }).is_err() {
                return;
            }
        }
    }
}

struct Owner {
    own: NodeId,
    replica: Replica,
    storage: Arc<dyn Storage>,
    observer: Arc<dyn Observer>,
    started: Instant,
    inbox: Receiver<Command>,
    groups: Sender<Group>,
    /// Staged, and not yet handed to the committer.
    staged: Vec<Append>,
    /// Those of this node among them, and when the first was staged.
    staged_own: Option<(OpRange, Instant)>,
    history: Arc<History>,
    committing: bool,
    next_request: u64,
    writes: BTreeMap<RequestId, Waiting<Result<Written, WriteError>>>,
    pushes: BTreeMap<RequestId, Waiting<Result<Answer, Rejection>>>,
    orders: Vec<mpsc::Sender<Send>>,
    view: watch::Sender<Arc<View>>,
    bags: Bags,
}

impl Owner {
    fn run(mut self) {
        let mut stopping = false;
        while !stopping || self.committing || !self.staged.is_empty() {
            let received = match self.next_tick() {
                Some(at) => self.inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => self.inbox.recv().map_err(RecvTimeoutError::from),
            };
            let first = match received {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let commands = first.into_iter().chain(self.inbox.try_iter()).take(MAX_COMMANDS_IN_A_ROW);
            for command in commands.collect::<Vec<_>>() {
                match command {
                    Command::Stop => stopping = true,
                    // The end would never come under load. Who asked is told that the node is stopping.
                    Command::Write(..) | Command::Push(..) if stopping => {}
                    other => self.take(other),
                }
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
            Command::Write(write, waiting) => {
                let request = self.name_request();
                self.writes.insert(request, waiting);
                self.feed(Input::Write { request, write });
            }
            Command::Push(push, waiting) => {
                let request = self.name_request();
                self.pushes.insert(request, waiting);
                self.feed(Input::Push { request, push });
            }
            Command::Answered { link, carried, answer } => self.feed(Input::Answered { link, carried, answer }),
            Command::StateAnswered { link, answer, taken } => self.feed(Input::StateAnswered { link, answer, taken }),
            Command::SendFailed { link, rejection } => self.feed(Input::SendFailed { link, rejection }),
            Command::Committed { through, outcome } => {
                self.committing = false;
                match outcome {
                    Ok(()) => {
                        // First, so that the disk is busy while this commit's requests are answered.
                        self.commit();
                        self.history.visible(through, wall_now());
                        self.feed(Input::Persisted { through });
                    }
                    Err(error) => {
                        tracing::error!(%error, "a commit failed: this node is READ-ONLY until it is restarted");
                        self.staged.clear();
                        self.staged_own = None;
                        self.feed(Input::PersistFailed);
                    }
                }
            }
            Command::Stop => unreachable!("taken by `run`"),
        }
    }

    /// Hands what was staged to the committer, if it is idle.
    fn commit(&mut self) {
        if self.committing || self.staged.is_empty() {
            return;
        }
        let group = Group { appends: std::mem::take(&mut self.staged), checkpoint: self.replica.checkpoint() };
        if let Some((ops, since)) = self.staged_own.take() {
            self.history.accepted(ops, since);
        }
        self.groups.send(group).expect("the committer ends only after the owner, which holds this end");
        self.committing = true;
    }

    fn feed(&mut self, input: Input) {
        // Only these inputs can change what the view shows.
        let publish = !matches!(input, Input::Write { .. } | Input::Tick);
        let effects = self.replica.handle(self.now(), input, &*self.storage);
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
        self.bags.send();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append(append) => {
                self.note_own(append.op.dot);
                self.staged.push(append);
            }
            Effect::Written { request, outcome } => {
                if let Some(waiting) = self.writes.remove(&request) {
                    waiting.answer(outcome, &mut self.bags);
                }
            }
            Effect::Pushed { request, outcome } => {
                if let Some(waiting) = self.pushes.remove(&request) {
                    waiting.answer(outcome, &mut self.bags);
                }
            }
            Effect::Send(send) => {
                // There is room: one order is under way at a time. A sender that has ended needs no orders.
                let _ = self.orders[send.link.0].try_send(send);
            }
            Effect::Visible(visible) => self.observer.visible(&visible),
            Effect::Acknowledged { peer, ops, by_state: _ } => {
                let latencies = self.history.acknowledged(peer, &ops, Instant::now(), wall_now());
                self.observer.acknowledged(peer, &ops, &latencies);
            }
            Effect::Peer { link, node, change } => self.observer.peer(link, node, change),
        }
    }

    /// Takes note that an op of this node was staged.
    fn note_own(&mut self, Dot { origin, counter }: Dot) {
        if origin.node != self.own {
            return;
        }
        match &mut self.staged_own {
            Some((ops, _)) if ops.origin == origin => ops.last = counter,
            staged => *staged = Some((OpRange { origin, first: counter, last: counter }, Instant::now())),
        }
    }

    fn name_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn now(&self) -> Now {
        Now { mono: MonoMs(self.started.elapsed().as_millis() as u64), wall: wall_now() }
    }
}
