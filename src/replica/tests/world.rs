//! A few replicas with stores and a network that do nothing by themselves: each step is asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use super::super::*;
use crate::causality::WallMs;

/// A node: a replica, and what its disk holds.
pub(super) struct Node {
    /// The id that it is started with. Its address leads to the first that has it.
    id: usize,
    pub(super) replica: Replica,
    pub(super) keys: BTreeMap<Key, Siblings>,
    pub(super) log: BTreeMap<u64, Arc<Op>>,
    recovered: Recovered,
    /// Appended, not yet durable.
    staged: Vec<Append>,
    boots: u64,
    /// A copy of the disk, as a backup would hold it.
    copy: Option<Disk>,
}

/// What survives: key states, log, and the rest.
type Disk = (BTreeMap<Key, Siblings>, BTreeMap<u64, Arc<Op>>, Recovered);

impl KeyStates for BTreeMap<Key, Siblings> {
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.get(key).cloned().unwrap_or_default())
    }

    // As wrong as it may be.
    fn outline(&self, key: &str) -> Result<Siblings, Unreadable> {
        Ok(self.siblings(key)?.outlined())
    }
}

/// Something under way between two nodes.
#[derive(Clone, Debug)]
pub(super) enum Letter {
    Push {
        from: usize,
        to: usize,
        link: LinkId,
        carried: Vec<Dot>,
        push: Push,
    },
    /// A whole state at once: what becomes of one that comes in pieces is for the store to see to.
    State {
        from: usize,
        to: usize,
        link: LinkId,
        push: Push,
        state: Box<State>,
    },
    StateAnswer {
        from: usize,
        to: usize,
        link: LinkId,
        answer: Answer,
    },
    Answer {
        from: usize,
        to: usize,
        link: LinkId,
        carried: Vec<Dot>,
        outcome: Result<Answer, Rejection>,
    },
}

/// A node's state, as it is sent to another.
#[derive(Clone, Debug)]
pub(super) struct State {
    keys: BTreeMap<Key, Siblings>,
    vector: VersionVector,
    ancestry: Arc<Ancestry>,
}

impl Letter {
    pub(super) fn ends(&self) -> (usize, usize) {
        match self {
            Letter::Push { from, to, .. }
            | Letter::Answer { from, to, .. }
            | Letter::State { from, to, .. }
            | Letter::StateAnswer { from, to, .. } => (*from, *to),
        }
    }

    /// Who sent what this is or answers, over which of its links.
    fn sender(&self) -> (usize, LinkId) {
        match self {
            Letter::Push { from, link, .. } | Letter::State { from, link, .. } => (*from, *link),
            Letter::Answer { to, link, .. } | Letter::StateAnswer { to, link, .. } => (*to, *link),
        }
    }
}

pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) letters: VecDeque<Letter>,
    /// Pairs (from, to) between which nothing passes.
    pub(super) cut: BTreeSet<(usize, usize)>,
    pub(super) now_ms: u64,
    /// Answers to writes and effects to look at, since they were last taken.
    pub(super) effects: Vec<(usize, Effect)>,
    /// Pushes received and not yet answered: (receiver, request) → (sender, link, carried).
    open: BTreeMap<(usize, RequestId), (usize, LinkId, Vec<Dot>)>,
    next_request: u64,
    /// Every op that was ever on a disk.
    pub(super) archive: BTreeMap<Dot, Arc<Op>>,
    pub(super) batch_ops: usize,
    /// How many addresses there are.
    addresses: usize,
    /// Whether two processes of one id were ever let live.
    has_twins: bool,
    tune: fn(&mut ReplicaOptions),
}

impl World {
    pub(super) fn new(nodes: usize, tune: fn(&mut ReplicaOptions)) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            letters: VecDeque::new(),
            cut: BTreeSet::new(),
            now_ms: 1_000,
            effects: Vec::new(),
            open: BTreeMap::new(),
            next_request: 0,
            archive: BTreeMap::new(),
            batch_ops: 4,
            addresses: nodes,
            has_twins: false,
            tune,
        };
        for id in 0..nodes {
            let recovered = Recovered::default();
            let replica = world.boot((id, id), 0, recovered.clone());
            let (keys, log, staged) = Default::default();
            world.nodes.push(Node { id, replica, keys, log, recovered, staged, boots: 0, copy: None });
        }
        world
    }

    /// Starts another process, with the id of a node, on a copy of what its disk holds. No address leads to it.
    pub(super) fn start_twin(&mut self, of: usize) -> usize {
        self.has_twins = true;
        let index = self.nodes.len();
        let Node { id, keys, log, recovered, .. } = &self.nodes[of];
        let (id, keys, log, recovered) = (*id, keys.clone(), log.clone(), recovered.clone());
        let replica = self.boot((index, id), 0, recovered.clone());
        self.nodes.push(Node { id, replica, keys, log, recovered, staged: Vec::new(), boots: 0, copy: None });
        index
    }

    fn boot(&self, (index, id): (usize, usize), boots: u64, recovered: Recovered) -> Replica {
        let peers = (0..self.addresses).filter(|peer| *peer != id).map(|peer| Some(NodeId(peer as u32))).collect();
        let mut options = ReplicaOptions::new("test", NodeId(id as u32), peers);
        (self.tune)(&mut options);
        let seed = Seed { boot: index as u64 * 1_000 + boots, random: index as u64 * 1_000 + boots };
        Replica::new(options, seed, recovered)
    }

    /// Kills a node and starts it on what its disk holds. What was under way to and from it is lost.
    pub(super) fn restart(&mut self, id: usize) {
        let boots = self.nodes[id].boots + 1;
        let replica = self.boot((id, self.nodes[id].id), boots, self.nodes[id].recovered.clone());
        let node = &mut self.nodes[id];
        (node.replica, node.boots) = (replica, boots);
        node.staged.clear();
        self.open.retain(|(receiver, _), _| *receiver != id);
        let lost: Vec<Letter> =
            self.letters.iter().filter(|letter| letter.ends().0 == id || letter.ends().1 == id).cloned().collect();
        self.letters.retain(|letter| letter.ends().0 != id && letter.ends().1 != id);
        self.open.retain(|_, (sender, _, _)| *sender != id);
        for letter in lost {
            self.lose(letter);
        }
        self.fail_unanswered();
    }

    pub(super) fn copy_disk(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        node.copy = Some((node.keys.clone(), node.log.clone(), node.recovered.clone()));
    }

    /// Kills a node, puts the copy of its disk in place (nothing, if there is none), and starts it.
    pub(super) fn restore_disk(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        (node.keys, node.log, node.recovered) = node.copy.clone().unwrap_or_default();
        self.restart(id);
    }

    pub(super) fn write(&mut self, node: usize, entries: &[(&str, Option<&str>)], replaces: Replaces) {
        self.write_once(node, entries, replaces, None);
    }

    pub(super) fn write_once(
        &mut self,
        node: usize,
        entries: &[(&str, Option<&str>)],
        replaces: Replaces,
        once: Option<Once>,
    ) {
        let entries = entries.iter().map(|(key, value)| ((*key).into(), value.map(Into::into))).collect();
        let write = Write { entries, replaces, trace: None, once };
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.feed(node, Input::Write { request, write });
    }

    /// Makes durable what a node has staged.
    pub(super) fn persist(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        if node.staged.is_empty() {
            return;
        }
        node.recovered.checkpoint = node.replica.checkpoint();
        for append in std::mem::take(&mut node.staged) {
            node.recovered.ancestry.insert(append.op.dot.origin, &append.op.parents);
            for (key, siblings) in append.states {
                if siblings.is_empty() {
                    node.keys.remove(&key)
                } else {
                    node.keys.insert(key, siblings)
                };
            }
            node.recovered.keyed.note(append.position, &append.op);
            self.archive.insert(append.op.dot, append.op.clone());
            node.log.insert(append.position, append.op);
        }
        let through = node.recovered.checkpoint.position;
        self.feed(id, Input::Persisted { through });
    }

    /// Drops all but the newest ops of a node's log.
    pub(super) fn trim(&mut self, id: usize, keep: usize) {
        let Node { log, recovered, replica, .. } = &mut self.nodes[id];
        while log.len() > keep {
            let (_, op) = log.pop_first().expect("it has more");
            replica.ancestry.join(&mut recovered.floor, &VersionVector::from_iter([op.dot]));
        }
        let floor = recovered.floor.clone();
        self.feed(id, Input::Trimmed { floor });
    }

    /// The ops that a node's state includes.
    pub(super) fn included(&self, id: usize) -> BTreeSet<Dot> {
        let replica = &self.nodes[id].replica;
        let coverage = replica.ancestry.coverage(&replica.applied);
        self.archive.keys().copied().filter(|dot| coverage.covers(*dot)).collect()
    }

    /// What the node's shell and its store do.
    fn adopt(&mut self, id: usize, state: State) {
        self.persist(id);
        let Node { keys, recovered, .. } = &mut self.nodes[id];
        let Checkpoint { vector, position, hlc, .. } = &recovered.checkpoint;
        let peer = PeerState { vector: state.vector, ancestry: Arc::unwrap_or_clone(state.ancestry) };
        let mut filling = Filling::new(vector, *position, recovered.ancestry.clone(), peer);
        let held = std::mem::take(keys).into_iter().map(Ok::<_, Infallible>);
        let Ok(()) = filling.merge(held, state.keys.into_iter().collect(), None, |key, siblings| {
            keys.insert(key, siblings);
            Ok(())
        });
        let adopted = filling.adopted(&recovered.checkpoint, &recovered.floor).expect("nothing came since it began");
        recovered.checkpoint = Checkpoint { hlc: *hlc, ..adopted.checkpoint.clone() };
        (recovered.ancestry, recovered.floor) = (adopted.ancestry.clone(), adopted.floor.clone());
        self.feed(id, Input::Adopted(Box::new(adopted)));
    }

    pub(super) fn fail_commit(&mut self, id: usize) {
        self.nodes[id].staged.clear();
        self.feed(id, Input::PersistFailed);
    }

    /// Lets time pass and every node notice it.
    pub(super) fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        for id in 0..self.nodes.len() {
            self.feed(id, Input::Tick);
        }
    }

    /// Delivers the letter at `index`, or loses it where the way is cut.
    pub(super) fn deliver(&mut self, index: usize) -> Option<Letter> {
        let letter = self.letters.remove(index)?;
        if self.cut.contains(&letter.ends()) {
            self.lose(letter);
            return None;
        }
        let delivered = letter.clone();
        match letter {
            Letter::Push { from, to, link, carried, push } => {
                self.next_request += 1;
                let request = RequestId(self.next_request);
                self.open.insert((to, request), (from, link, carried));
                self.feed(to, Input::Push { request, push });
            }
            Letter::State { from, to, link, push, state } => {
                self.adopt(to, *state);
                self.next_request += 1;
                let request = RequestId(self.next_request);
                self.feed(to, Input::Push { request, push });
                let answer = self.effects.iter().rev().find_map(|(_, effect)| match effect {
                    Effect::Pushed { request: of, outcome: Ok(answer) } if *of == request => Some(answer.clone()),
                    _ => None,
                });
                let answer = answer.expect("it is not a push with ops");
                self.letters.push_back(Letter::StateAnswer { from: to, to: from, link, answer });
            }
            Letter::StateAnswer { to, link, answer, .. } => {
                self.feed(to, Input::StateAnswered { link, answer, taken: true });
            }
            Letter::Answer { to, link, carried, outcome, .. } => self.feed(
                to,
                match outcome {
                    Ok(answer) => Input::Answered { link, carried, answer },
                    Err(rejection) => Input::SendFailed { link, rejection: Some(rejection) },
                },
            ),
        }
        Some(delivered)
    }

    /// Hands a push to a node as if the network had kept a copy; nobody waits for the answer.
    pub(super) fn push_again(&mut self, to: usize, push: Push) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.feed(to, Input::Push { request, push });
    }

    /// A lost push or answer: its sender gives up after a while.
    fn lose(&mut self, letter: Letter) {
        let (sender, link) = letter.sender();
        self.feed(sender, Input::SendFailed { link, rejection: None });
    }

    /// After a restart: senders whose push the node had taken, but not answered, give up.
    fn fail_unanswered(&mut self) {
        let under_way: BTreeSet<(usize, LinkId)> = self
            .letters
            .iter()
            .map(Letter::sender)
            .chain(self.open.values().map(|(sender, link, _)| (*sender, *link)))
            .collect();
        for sender in 0..self.nodes.len() {
            for link in 0..self.addresses - 1 {
                if self.nodes[sender].replica.is_under_way(LinkId(link)) && !under_way.contains(&(sender, LinkId(link)))
                {
                    self.feed(sender, Input::SendFailed { link: LinkId(link), rejection: None });
                }
            }
        }
    }

    fn feed(&mut self, id: usize, input: Input) {
        let now = Now { mono: MonoMs(self.now_ms), wall: WallMs(self.now_ms) };
        let node = &mut self.nodes[id];
        for effect in node.replica.handle(now, input, &node.keys) {
            match &effect {
                Effect::Append(append) => self.nodes[id].staged.push(append.clone()),
                Effect::Send(send) => self.post(id, send.clone()),
                Effect::Pushed { request, outcome } => {
                    if let Some((sender, link, carried)) = self.open.remove(&(id, *request)) {
                        let outcome = outcome.clone();
                        self.letters.push_back(Letter::Answer { from: id, to: sender, link, carried, outcome });
                    }
                }
                Effect::Twin { seen: true, .. } => {
                    assert!(self.has_twins, "no two processes of an id ever lived at the same time");
                }
                _ => {}
            }
            self.effects.push((id, effect));
        }
    }

    /// What the sender's shell does: reads ops of the ranges in order of position, as many as fit.
    fn post(&mut self, from: usize, send: Send) {
        let own = self.nodes[from].id;
        let to = if send.link.0 < own { send.link.0 } else { send.link.0 + 1 };
        if send.state && !send.probe {
            let Node { replica, keys, recovered, .. } = &self.nodes[from];
            let vector = recovered.checkpoint.vector.clone();
            let state = State { keys: keys.clone(), vector, ancestry: replica.ancestry.clone() };
            let (link, push, state) = (send.link, send.push, Box::new(state));
            self.letters.push_back(Letter::State { from, to, link, push, state });
            return;
        }
        let ranges: BTreeMap<Origin, OpRange> = send.ops.iter().map(|range| (range.origin, *range)).collect();
        let wanted = |op: &&Arc<Op>| {
            let dot = op.dot;
            ranges.get(&dot.origin).is_some_and(|range| (range.first..=range.last).contains(&dot.counter))
        };
        // It stops at the last of them: logs may be long.
        let count: u64 = if send.probe { 0 } else { send.ops.iter().map(OpRange::count).sum() };
        let limit = self.batch_ops.min(count as usize);
        let mut ops: Vec<Arc<Op>> =
            self.nodes[from].log.values().rev().filter(wanted).take(count as usize).cloned().collect();
        ops.reverse();
        ops.truncate(limit);
        let carried: crate::causality::VersionVector = ops.iter().map(|op| op.dot).collect();
        let push = Push { ops, ..send.push };
        let carried = carried.entries().collect();
        self.letters.push_back(Letter::Push { from, to, link: send.link, carried, push });
    }

    /// Delivers, persists and ticks until nothing changes any more; bounded.
    pub(super) fn settle(&mut self) {
        for _ in 0..4_000 {
            for id in 0..self.nodes.len() {
                self.persist(id);
            }
            if self.deliver(0).is_none() {
                self.tick(TICK_MS);
            }
            if self.converged() {
                return;
            }
        }
        panic!("not equal after 4,000 steps: {:?}", self.vectors());
    }

    pub(super) fn vectors(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.replica.applied.to_string()).collect()
    }

    fn converged(&self) -> bool {
        let first = &self.nodes[0].replica;
        self.nodes.iter().all(|node| node.staged.is_empty() && node.replica.applied == first.applied)
    }
}
