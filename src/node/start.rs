//! Starting a node, and stopping it.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Instant;
use std::{io, thread};

use tokio::sync::{mpsc, oneshot, watch};

use super::admission::{Admission, AdmissionLimit};
use super::cluster::{Asked, MAX_QUESTIONS, Peers};
use super::committer::Committer;
use super::filling::Filling;
use super::handle::{Command, Members, NodeHandle, Shared};
use super::history::History;
use super::observer::Observer;
use super::owner::{InProgress, Owner};
use super::progress::Transfers;
use super::room::Room;
use super::trimming::Trimming;
use super::wall_now;
use crate::causality::{MAX_INCARNATIONS, NodeId};
use crate::replica::{Recovered, Replica, ReplicaOptions, Seed, Send, View};
use crate::storage::Storage;

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
    /// About how much the log may take, whoever still lacks some of it.
    pub max_log_bytes: u64,
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
    let NodeOptions { replica: replica_options, seed, admission, addresses, min_free_bytes, max_log_bytes } = options;
    let members = members(&replica_options, addresses);
    let (question_senders, questions) = replica_options.peers.iter().map(|_| mpsc::channel(MAX_QUESTIONS)).unzip();
    let history = Arc::new(History::behind(recovered.checkpoint.position));
    let peers = Peers::new(question_senders);
    let (order_senders, orders): (_, Vec<_>) = replica_options.peers.iter().map(|_| mpsc::channel(1)).unzip();
    let replica = Replica::new(replica_options, seed, recovered);
    let first_view = replica.view();
    warn_of_incarnations(&first_view, members.own);
    let (view_sender, view) = watch::channel(Arc::new(first_view));
    let (commands, inbox) = channel();
    let (work, committer_inbox) = channel();
    let (ended_sender, ended) = oneshot::channel();
    let transfers = Arc::new(Transfers::new(orders.len()));
    let filling = Arc::new(Filling::new(transfers.clone()));

    let committer = Committer {
        storage: storage.clone(),
        inbox: committer_inbox,
        done: commands.clone(),
        observer: observer.clone(),
    };
    let owner = Owner {
        own: members.own,
        replica,
        storage: storage.clone(),
        observer,
        started: Instant::now(),
        inbox,
        work,
        history: history.clone(),
        filling: filling.clone(),
        trimming: Trimming::new(max_log_bytes),
        orders: order_senders,
        view: view_sender,
        waiting: InProgress::default(),
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
            writes: Arc::new(Admission::of_writes(admission)),
            pushes: Arc::new(Admission::of_pushes(admission)),
            room,
            gate: Arc::default(),
            history,
            transfers,
            filling,
            peers,
            started: wall_now(),
        }),
    };
    Ok(Running { handle, orders, questions, ended, owner })
}

fn members(options: &ReplicaOptions, addresses: Vec<String>) -> Members {
    Members {
        cluster: options.cluster.clone(),
        own: options.node,
        count: options.peers.len() + 1,
        addresses: addresses.into(),
        removed: Arc::new(options.removed.clone()),
    }
}

/// Says it when there are not many incarnations left: of this node's id, whose writes end with them.
fn warn_of_incarnations(view: &View, own: NodeId) {
    let had = view.ancestry.incarnations(&view.vector, own);
    if view.out_of_incarnations {
        tracing::error!(
            had,
            limit = MAX_INCARNATIONS,
            "this node's id has had all the incarnations it may have: it takes NO WRITES; put one with another id in its place"
        );
    } else if had >= MAX_INCARNATIONS / 10 * 9 {
        tracing::warn!(
            had,
            limit = MAX_INCARNATIONS,
            "this node was restarted very often: when it has had its last incarnation it takes no writes; put one with \
             another id in its place"
        );
    }
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
