//! The states of the model: nodes that deliver, write, lose what was not synced and come back from old copies.
//!
//! Vectors, ancestry, contexts, siblings and ops are the product's own values; what surrounds them (whose turn it is,
//! what an op depends on, which incarnation counts) is written down here a second time, as briefly as it can be said.
//! Beside each state go plain sets of ops, of which the product knows nothing: `truth` judges by them.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use causeway::causality::{Ancestry, CausalContext, Dot, Hlc, Incarnation, NodeId, Origin, VersionVector};
use causeway::replica::{Entry, Op, Siblings};

use crate::{Rules, Variant};

/// A set of ops, each named by its place among all that were ever accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpSet(u16);

impl OpSet {
    pub(crate) fn with(self, id: usize) -> Self {
        Self(self.0 | 1 << id)
    }

    pub(crate) fn has(self, id: usize) -> bool {
        self.0 & 1 << id != 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn includes(self, other: Self) -> bool {
        other.without(self) == Self::default()
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..u16::BITS as usize).filter(move |id| self.has(*id))
    }
}

/// An op, and what is true of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Accepted {
    pub(crate) op: Op,
    /// The process that took it.
    pub(crate) process: usize,
    /// All that its node's log had before it.
    pub(crate) before: OpSet,
    /// All that whoever wrote it had seen; of a write without a context, all that its node held.
    pub(crate) seen: OpSet,
}

/// What a node holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Holding {
    /// The truth: the ops that were delivered.
    pub(crate) held: OpSet,
    pub(crate) vector: VersionVector,
    pub(crate) ancestry: Ancestry,
    pub(crate) keys: Vec<Siblings>,
}

/// A running process with its volume.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Process {
    /// Whose it is. Two processes have the same when a copy of a volume is started elsewhere.
    pub(crate) node: NodeId,
    /// What is synced: visible, and still there after a crash.
    pub(crate) durable: Arc<Holding>,
    /// That, and what is written behind it.
    pub(crate) staged: Arc<Holding>,
    /// Writes that are not synced, with the client who waits and carried a context.
    pub(crate) waiting: Vec<(usize, Option<usize>)>,
    /// The incarnation that counts; none before the first write of this run.
    pub(crate) origin: Option<Origin>,
    /// Entries of other nodes that changed since this origin's last op.
    pub(crate) changed: BTreeMap<Origin, u64>,
}

/// Someone who carries a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Client {
    pub(crate) context: CausalContext,
    /// The truth: what its token has it wait for, and what it has seen.
    pub(crate) wait: OpSet,
    pub(crate) seen: OpSet,
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) writes: usize,
    pub(crate) crashes: usize,
    pub(crate) restores: usize,
}

/// A state of the whole cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// All ops ever accepted, in that order; also those that were lost.
    pub(crate) ops: Vec<Arc<Accepted>>,
    pub(crate) processes: Vec<Process>,
    pub(crate) clients: Vec<Client>,
    /// The copy of a volume: whose, and what it holds.
    pub(crate) copy: Option<(usize, Arc<Holding>)>,
    /// How many incarnations were ever opened.
    pub(crate) incarnations: u64,
    pub(crate) left: Left,
}

impl Holding {
    /// What an empty volume holds.
    pub(crate) fn empty() -> Arc<Self> {
        Arc::new(Self { keys: vec![Siblings::default(); KEYS.len()], ..Self::default() })
    }

    /// Why `op` can't be delivered yet: the first dot that it lacks.
    pub(crate) fn first_missing(&self, op: &Op, variant: Variant) -> Option<Dot> {
        let previous = (op.dot.counter > 1).then(|| op.dot.origin.dot(op.dot.counter - 1));
        let deps = op.deps.iter().copied().filter(|_| variant != Variant::DependenciesAreIgnored);
        let mut wanted = previous.into_iter().chain(op.parents.iter().copied()).chain(deps);
        wanted.find(|dot| !self.ancestry.covers(&self.vector, *dot))
    }

    /// Takes in an op whose turn has come.
    pub(crate) fn deliver(&mut self, id: usize, op: &Op, variant: Variant) {
        self.held = self.held.with(id);
        self.ancestry.insert(op.dot.origin, &op.parents);
        if variant == Variant::FoldingDropsAllOlder && op.dot.counter == 1 {
            let others = self.vector.entries().filter(|dot| dot.origin.node != op.dot.origin.node);
            self.vector = others.chain([op.dot]).collect();
        } else {
            self.ancestry.advance(&mut self.vector, op.dot);
        }
        for entry in &op.entries {
            let siblings = &mut self.keys[key_index(&entry.key)];
            // Orders of arrival would multiply the states, and nothing here looks at them: all arrive at 0.
            siblings.apply(op.dot, op.hlc, 0, entry);
            *siblings = Siblings::new(siblings.iter().cloned().collect());
        }
    }
}

impl Process {
    pub(crate) fn new(node: NodeId, holding: Arc<Holding>) -> Self {
        let staged = holding.clone();
        Self { node, durable: holding, staged, waiting: Vec::new(), origin: None, changed: BTreeMap::new() }
    }

    /// The same process after its start: with what its volume has, and no incarnation yet.
    pub(crate) fn restarted(&self, variant: Variant) -> Self {
        let mut process = Self::new(self.node, self.durable.clone());
        if variant == Variant::IncarnationSurvivesCrash {
            process.origin = self.origin.filter(|origin| self.durable.vector.get(*origin) > 0);
        }
        process
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.waiting.is_empty()
    }

    fn note(&mut self, dot: Dot) {
        // Without an incarnation the next write names everything anyway.
        if dot.origin.node != self.node && self.origin.is_some() {
            self.changed.insert(dot.origin, dot.counter);
        }
    }

    /// Takes in a peer's op. Only while all is synced: behind an unsynced write it would be lost or synced with it,
    /// and both are reached by delivering it before that write or after its sync.
    pub(crate) fn deliver(&mut self, id: usize, op: &Op, variant: Variant) {
        Arc::make_mut(&mut self.durable).deliver(id, op, variant);
        self.staged = self.durable.clone();
        self.note(op.dot);
    }

    /// The next op's dot, parents and dependencies. `name` is the incarnation to open if one is needed.
    fn next_dot(&mut self, name: Incarnation) -> (Dot, Vec<Dot>, Vec<Dot>) {
        let vector = &self.staged.vector;
        let own: Vec<Dot> = vector.entries_of(self.node).collect();
        let (dot, parents) = match (self.origin, own.as_slice()) {
            (Some(origin), [last]) if last.origin == origin => (origin.dot(last.counter + 1), Vec::new()),
            _ => {
                let origin = Origin::new(self.node, name);
                self.origin = Some(origin);
                self.changed = vector.entries().map(|dot| (dot.origin, dot.counter)).collect();
                (origin.dot(1), own)
            }
        };
        let changed = std::mem::take(&mut self.changed).into_iter();
        let others = changed.filter(|(origin, counter)| origin.node != self.node && vector.get(*origin) == *counter);
        (dot, parents, others.map(|(origin, counter)| origin.dot(counter)).collect())
    }
}

impl State {
    /// Takes a write of `client`, or a plain one of anybody, and leaves it unsynced. `entries` are the keys written,
    /// each with whether it gets a value.
    pub(crate) fn write(&mut self, process: usize, client: Option<usize>, entries: &[(usize, bool)], rules: Rules) {
        let id = self.ops.len();
        let name = rules.names.of(self.incarnations + 1);
        let writer = &mut self.processes[process];
        let (before, held) = (writer.staged.held, writer.staged.clone());
        let (dot, parents, deps) = writer.next_dot(name);
        self.incarnations += u64::from(dot.counter == 1);
        let entries = entries.iter().map(|(key, has_value)| {
            let dots = held.keys[*key].iter().map(|sibling| sibling.dot);
            let replaces = match client {
                None => dots.collect(),
                Some(client) => {
                    let seen = &self.clients[client].context.seen;
                    dots.filter(|dot| seen.covers(*dot, &held.ancestry)).collect()
                }
            };
            Entry { key: KEYS[*key].into(), value: has_value.then(|| "v".into()), replaces }
        });
        let entries = entries.collect();
        let op = Op { dot, parents, deps, hlc: Hlc(0), entries, trace: None, idempotency_key: None };
        Arc::make_mut(&mut writer.staged).deliver(id, &op, rules.variant);
        writer.waiting.push((id, client));
        let seen = client.map_or(before, |client| self.clients[client].seen);
        self.ops.push(Arc::new(Accepted { op, process, before, seen }));
        self.left.writes -= 1;
    }

    /// Makes what a process has written durable and visible, and answers those who wait for it.
    pub(crate) fn sync(&mut self, process: usize, variant: Variant) {
        let process = &mut self.processes[process];
        process.durable = process.staged.clone();
        for (id, client) in std::mem::take(&mut process.waiting) {
            let Some(client) = client else { continue };
            let client = &mut self.clients[client];
            client.wait = client.wait.with(id);
            client.seen = client.seen.with(id);
            let context = std::mem::take(&mut client.context);
            client.context = match variant {
                Variant::TokenCoversVector => CausalContext::of_state(process.durable.vector.clone()),
                _ => context.after_write(self.ops[id].op.dot, &process.durable.ancestry),
            };
        }
    }

    /// Gives a process that writes for the first time the first name that no writer has, so that of states which
    /// differ only in the names of nodes one is left. Says its place.
    pub(crate) fn make_room_among_writers(&mut self, process: usize) -> usize {
        let place = process.min(self.processes_that_wrote());
        if place < process {
            self.swap(place, process);
        }
        place
    }

    /// Swaps processes that never wrote into one order: they differ in name only.
    pub(crate) fn normalize(&mut self) {
        let wrote = self.processes_that_wrote();
        for end in (wrote + 1..self.processes.len()).rev() {
            for left in wrote..end {
                if self.processes[left].durable.held > self.processes[left + 1].durable.held {
                    self.swap(left, left + 1);
                }
            }
        }
    }

    fn swap(&mut self, left: usize, right: usize) {
        self.processes.swap(left, right);
        let (node, other) = (self.processes[left].node, self.processes[right].node);
        (self.processes[left].node, self.processes[right].node) = (other, node);
        if let Some((process, _)) = &mut self.copy {
            *process = match *process {
                process if process == left => right,
                process if process == right => left,
                process => process,
            };
        }
    }

    /// How many processes ever wrote: these come first.
    pub(crate) fn processes_that_wrote(&self) -> usize {
        self.ops.iter().map(|accepted| accepted.process + 1).max().unwrap_or(0)
    }
}

/// The keys there are.
pub(crate) const KEYS: [&str; 2] = ["k0", "k1"];

/// The place of a key in [`KEYS`].
pub(crate) fn key_index(key: &str) -> usize {
    KEYS.iter().position(|known| *known == key).expect("only these keys are written")
}

/// In which order the names of incarnations come, one opened after the other. They are random in the product, so
/// nothing may depend on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Names {
    Ascending,
    Descending,
}

impl Names {
    fn of(self, number: u64) -> Incarnation {
        match self {
            Self::Ascending => Incarnation(number),
            Self::Descending => Incarnation(u64::MAX - number),
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // What an op is follows from these: its dot and dependencies from `before` and who took it, and so on. States
        // that differ elsewhere only would be taken for one, and `truth` looks at what is hashed here.
        for accepted in &self.ops {
            let op = &accepted.op;
            (accepted.process, accepted.before, accepted.seen, op.dot, &op.parents, &op.deps).hash(state);
            for entry in &op.entries {
                (&entry.key, entry.value.is_some(), &entry.replaces).hash(state);
            }
        }
        for process in &self.processes {
            (process.node, process.origin, &process.changed, &process.waiting).hash(state);
            process.durable.hash(state);
            if !process.is_synced() {
                process.staged.hash(state);
            }
        }
        for client in &self.clients {
            (client.wait, client.seen, &client.context.seen.dots).hash(state);
            hash_vector(&client.context.wait, state);
            hash_vector(&client.context.seen.vector, state);
        }
        self.copy.is_some().hash(state);
        if let Some((process, holding)) = &self.copy {
            process.hash(state);
            holding.hash(state);
        }
        (self.incarnations, self.left).hash(state);
    }
}

impl Hash for Holding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.held.hash(state);
        hash_vector(&self.vector, state);
        for siblings in &self.keys {
            siblings.len().hash(state);
            siblings.iter().for_each(|sibling| sibling.dot.hash(state));
        }
    }
}

fn hash_vector<H: Hasher>(vector: &VersionVector, state: &mut H) {
    vector.len().hash(state);
    vector.entries().for_each(|dot| dot.hash(state));
}
