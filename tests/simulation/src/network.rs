//! The network between machines: which ways are open, how long a message takes, which get lost or come twice.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use causeway::causality::Dot;
use causeway::replica::{Key, LinkId};
use fastrand::Rng;

use crate::Micros;
use crate::schedule::Settings;

/// How many old pushes are kept to be replayed.
const KEPT: usize = 64;

/// Something under way.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The machine and the run of its process that sent it, or that is to get the answer.
    pub sender: (usize, u64),
    /// Which of its links.
    pub link: LinkId,
    /// Names the try, so that an answer that comes after it was given up is known as such. 0: nobody waits.
    pub number: u64,
    /// The last op of each origin in it.
    pub carried: Vec<Dot>,
    /// What it is.
    pub kind: Kind,
    /// As the formats write it down.
    pub bytes: Arc<[u8]>,
}

/// What a letter can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A push.
    Push,
    /// A piece of the sender's state, of the transfer of that name, which begins behind a key.
    Piece(u64, Option<Key>),
}

/// The ways between machines.
pub struct Network {
    cut: BTreeSet<(usize, usize)>,
    /// Which machine an address leads to.
    pub routes: Vec<usize>,
    rng: Rng,
    settings: Settings,
    old: VecDeque<(usize, Kind, Arc<[u8]>)>,
}

impl Network {
    /// All ways open.
    pub fn new(seed: u64, settings: &Settings) -> Self {
        Self {
            cut: BTreeSet::new(),
            routes: (0..settings.nodes).collect(),
            rng: Rng::with_seed(seed ^ 0x006e_6574),
            settings: settings.clone(),
            old: VecDeque::new(),
        }
    }

    /// Closes the way from one machine to another.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Opens all ways.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether something can pass.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Whether nothing reaches a machine from any other.
    pub fn is_cut_off(&self, machine: usize) -> bool {
        (0..self.settings.nodes).all(|other| other == machine || !self.is_open(other, machine))
    }

    /// From now on nothing is lost, nothing comes twice, and addresses lead where they should.
    pub fn calm(&mut self) {
        (self.settings.loss, self.settings.twice) = (0, 0);
        self.restore_addresses();
    }

    /// Addresses lead where they should.
    pub fn restore_addresses(&mut self) {
        self.routes = (0..self.settings.nodes).collect();
    }

    /// How long each copy of a message takes: none when it is lost, two when it comes twice.
    pub fn send(&mut self, from: usize, to: usize) -> Vec<Micros> {
        let lost = self.rng.u64(0..1_000) < self.settings.loss;
        let copies = 1 + usize::from(self.rng.u64(0..1_000) < self.settings.twice);
        let (shortest, longest) = self.settings.latency;
        let times = [self.rng.u64(shortest..longest), self.rng.u64(shortest..longest)];
        if lost || !self.is_open(from, to) { Vec::new() } else { times[..copies].to_vec() }
    }

    /// Keeps a push that might come again much later.
    pub fn remember(&mut self, to: usize, kind: Kind, bytes: Arc<[u8]>) {
        if self.old.len() == KEPT {
            self.old.pop_front();
        }
        self.old.push_back((to, kind, bytes));
    }

    /// An old push to this machine.
    pub fn old_push(&mut self, to: usize) -> Option<(Kind, Arc<[u8]>)> {
        let pushes: Vec<_> = self.old.iter().filter(|(receiver, ..)| *receiver == to).collect();
        if pushes.is_empty() {
            return None;
        }
        let (_, kind, bytes) = pushes[self.rng.usize(0..pushes.len())];
        Some((kind.clone(), bytes.clone()))
    }
}
