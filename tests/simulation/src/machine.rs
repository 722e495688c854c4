//! Machines: a volume, a clock, and the process that runs there, if any.

use std::collections::{BTreeMap, VecDeque};

use causeway::causality::{NodeId, WallMs};
use causeway::replica::{Append, MonoMs, Now, Replica, ReplicaOptions, RequestId, Seed};
use fastrand::Rng;

use crate::Micros;
use crate::schedule::Settings;
use crate::volume::{Commit, Volume};
use crate::world::Happening;
use crate::world::states::{Adoption, Filled, Sending, Waiting};

/// When simulations begin, for wall clocks.
const BEGIN_MS: i64 = 1_800_000_000_000;

/// Where a process may run.
pub struct Machine {
    /// The id that its configuration gives it. Two machines with one id have a copied volume.
    pub node: NodeId,
    /// What its disk holds.
    pub volume: Volume,
    /// What runs.
    pub process: Option<Process>,
    /// A backup, and when it was taken.
    pub backup: Option<(Micros, Volume)>,
    /// What happened while nothing could run.
    pub paused: Option<Vec<Happening>>,
    /// What the next commit will meet.
    pub disk_fault: Option<DiskFault>,
    /// A commit that may be on disk or not: known when somebody looks, at the next start.
    pub unsure: Option<Commit>,
    /// Whether commits take long.
    pub slow: bool,
    /// By how much its wall clock is off.
    pub skew_ms: i64,
    /// Where its wall clock stands still.
    pub frozen: Option<WallMs>,
    /// Since when it may be trusted with names of writes: they are lost with the volume, and when the clock was put
    /// forward they seem too old at the next start.
    pub remembers_since: Micros,
    /// What became of its volume that was not filled since.
    pub replaced: Option<&'static str>,
    /// Decides how long commits take and what becomes of them at a crash.
    pub rng: Rng,
    boots: u64,
}

/// What a commit can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing is written.
    Write,
    /// It may be on disk or not.
    Sync,
    /// Nothing is written: no room.
    Full,
}

/// A run of a node.
pub struct Process {
    /// Names the run; unique in a simulation.
    pub boot: u64,
    /// The real thing.
    pub replica: Replica,
    /// Staged, and not yet handed to the disk.
    pub staged: Vec<Append>,
    /// What the disk is writing.
    pub committing: Option<Commit>,
    /// Whether a commit is under way, to the disk or back.
    pub is_committing: bool,
    /// Writes that wait for their answer: the client's request.
    pub writes: BTreeMap<RequestId, usize>,
    /// Pushes that wait for theirs.
    pub pushes: BTreeMap<RequestId, Waiting>,
    /// Its state on the way to a peer, for each link.
    pub sending: Vec<Option<Sending>>,
    /// How often a piece of its state was sent to a peer that could have had ops.
    pub needless_pieces: u64,
    /// The state of a peer that is coming in.
    pub filling: Option<Filled>,
    /// A state that came in and waits until nothing else is on its way to the disk, or is being adopted.
    pub adoption: Option<Adoption>,
    /// Writes and pushes that came meanwhile.
    pub held_back: VecDeque<Happening>,
    /// When to see whether the log can be trimmed.
    pub next_trim: Micros,
    /// The try under way on each link.
    pub tries: Vec<Option<u64>>,
    /// Clients' requests that wait for their context.
    pub waiting: Vec<usize>,
    /// The most ops that its delivery buffer held, when it was looked at.
    pub most_waiting: usize,
    started: Micros,
    requests: u64,
}

impl Machine {
    /// A machine with an empty disk and nothing running.
    pub fn new(index: usize, node: NodeId, seed: u64) -> Self {
        Self {
            node,
            volume: Volume::default(),
            process: None,
            backup: None,
            paused: None,
            disk_fault: None,
            unsure: None,
            slow: false,
            skew_ms: 0,
            frozen: None,
            remembers_since: 0,
            replaced: None,
            rng: Rng::with_seed(seed ^ (index as u64 + 1) << 32),
            boots: 0,
        }
    }

    /// Starts a process on what the disk holds.
    pub fn start(&mut self, index: usize, settings: &Settings, now: Micros) {
        self.boots += 1;
        let boot = (index as u64 + 1) << 32 | self.boots;
        let peers: Vec<_> = peers(self.node, settings.nodes).map(|peer| Some(NodeId(peer as u32))).collect();
        let (tries, sending) = (vec![None; peers.len()], peers.iter().map(|_| None).collect());
        let mut options = ReplicaOptions::new("simulated", self.node, peers);
        options.max_waiting_ops = settings.waiting_ops;
        options.max_siblings = settings.siblings;
        options.digests_an_interval = settings.digests_an_interval;
        let seed = Seed { boot, random: self.rng.u64(..) };
        self.process = Some(Process {
            boot,
            replica: Replica::new(options, seed, self.volume.recover()),
            staged: Vec::new(),
            committing: None,
            is_committing: false,
            writes: BTreeMap::new(),
            pushes: BTreeMap::new(),
            sending,
            needless_pieces: 0,
            filling: None,
            adoption: None,
            held_back: VecDeque::new(),
            next_trim: 0,
            tries,
            waiting: Vec::new(),
            most_waiting: 0,
            started: now,
            requests: 0,
        });
    }

    /// What its clocks say.
    pub fn now(&self, now: Micros) -> Now {
        let started = self.process.as_ref().map_or(now, |process| process.started);
        let wall = self.frozen.unwrap_or(WallMs((BEGIN_MS + (now / 1_000) as i64 + self.skew_ms) as u64));
        Now { mono: MonoMs((now - started) / 1_000), wall }
    }

    /// Whether it runs and its disk works, as far as anyone has told it otherwise.
    pub fn is_well(&self) -> bool {
        self.process.is_some() && self.paused.is_none() && self.disk_fault.is_none()
    }
}

impl Process {
    /// A new name for a request.
    pub fn name_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }
}

/// The addresses that a node pushes to, in the order of its links.
pub fn peers(node: NodeId, nodes: usize) -> impl Iterator<Item = usize> {
    (0..nodes).filter(move |peer| *peer != node.0 as usize)
}
