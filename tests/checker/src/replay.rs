//! Goes through the states that each node answered from, in their order, and works out which siblings each key has.
//!
//! Within one life of a node's volume its states are a chain under inclusion, so each write is added once a life, in an
//! order in which causes come first, and drops what it replaced. At each state the properties compare. That makes the
//! cost near linear; compare AWDIT (arXiv 2504.06975), which reaches it for weak isolation levels with other means.

use crate::history::{Micros, Resolve};
use crate::model::{Answer, FinalRecord, Kind, Model, Span};
use crate::origins::Entry;
use crate::properties::arrival_order::Arrivals;
use crate::properties::{causal_delivery, exact_reads, state_order};
use crate::replaced::{Replaced, replaced};
use crate::report::{Property, Verdict};

/// How often a life's states are worked out from the start again when they turn out to be no chain.
const MAX_RESTARTS: usize = 8;

/// A sibling that a key has, or may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alive {
    pub(crate) write: u32,
    /// Whether nothing may have replaced it.
    pub(crate) is_sure: bool,
}

/// A state that a node showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    pub(crate) node: u32,
    life: u32,
    /// How many writes it includes: says which of two states of a chain is the later.
    size: u128,
    pub(crate) event: u32,
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    pub(crate) vector: Span,
    /// What was read from it, if anything.
    pub(crate) states: Option<(Resolve, Span)>,
    /// What a difference breaks.
    pub(crate) property: Property,
}

/// Replays all lives of all nodes.
pub(crate) fn run(model: &Model<'_>, verdict: &mut Verdict) {
    let stations = stations(model);
    let mut replay = Replay::new(model);
    for life in stations.chunk_by(|a, b| (a.node, a.life) == (b.node, b.life)) {
        replay.life(life, verdict);
    }
}

/// The states of which all is known that they include, by node, life and size.
fn stations(model: &Model<'_>) -> Vec<Station> {
    let mut closure = vec![0; model.origins.len()];
    let mut size = |vector| {
        model.origins.close(model.vector(vector), &mut closure);
        closure.iter().map(|counter| u128::from(*counter)).sum()
    };
    let mut stations = Vec::with_capacity(model.answers.len() + model.finals.len());
    for answer in model.answers.iter().filter(|answer| answer.is_of_state()) {
        let &Answer { event, node, life, start, end, context: vector, ref kind, .. } = answer;
        let Some(life) = life.filter(|_| !model.origins.is_unsure(model.vector(vector))) else { continue };
        let states = match *kind {
            Kind::Read { resolve, states } => Some((resolve, states)),
            Kind::Held { .. } | Kind::Seen { .. } => None,
        };
        let (size, property) = (size(vector), Property::ExactReads);
        stations.push(Station { node, life, size, event, start, end, vector, states, property });
    }
    for &FinalRecord { event, node, vector, states } in &model.finals {
        let (life, start, end) = (model.nodes.last_life(node), Micros::MAX, Micros::MAX);
        let (size, states, property) = (size(vector), Some((Resolve::All, states)), Property::FinalState);
        stations.push(Station { node, life, size, event, start, end, vector, states, property });
    }
    stations.sort_by_key(|station| (station.node, station.life, station.size));
    stations
}

/// The state of one node at some moment of a life.
pub(crate) struct Replay<'m, 'a> {
    pub(crate) model: &'m Model<'a>,
    /// All that is included.
    pub(crate) closure: Vec<u64>,
    next: Vec<u64>,
    /// By key.
    alive: Vec<Vec<Alive>>,
    /// By key, writes that are included of which it is not known what they replaced.
    hazes: Vec<Vec<u32>>,
    /// Keys that were written since the start.
    touched: Vec<u32>,
    fresh: Vec<u32>,
    pub(crate) arrivals: Arrivals,
}

impl<'m, 'a> Replay<'m, 'a> {
    fn new(model: &'m Model<'a>) -> Self {
        Self {
            model,
            closure: vec![0; model.origins.len()],
            next: vec![0; model.origins.len()],
            alive: vec![Vec::new(); model.keys.len()],
            hazes: vec![Vec::new(); model.keys.len()],
            touched: Vec::new(),
            fresh: Vec::new(),
            arrivals: Arrivals::default(),
        }
    }

    fn reset(&mut self) {
        self.closure.fill(0);
        for key in self.touched.drain(..) {
            self.alive[key as usize].clear();
            self.hazes[key as usize].clear();
        }
    }

    fn life(&mut self, stations: &[Station], verdict: &mut Verdict) {
        self.reset();
        self.arrivals.collect(self.model, stations, verdict);
        let mut before: Option<&Station> = None;
        let mut restarts = 0;
        for station in stations {
            self.model.origins.close(self.model.vector(station.vector), &mut self.next);
            verdict.count(Property::StateOrder, 1);
            if self.closure.iter().zip(&self.next).any(|(now, next)| now > next) {
                if let Some(before) = before {
                    state_order::broken(self.model, before, station, verdict);
                }
                restarts += 1;
                if restarts > MAX_RESTARTS {
                    break;
                }
                self.reset();
            }
            self.advance(station, verdict);
            exact_reads::check(self, station, verdict);
            before = Some(station);
        }
    }

    /// Adds all writes that the state in `next` includes.
    fn advance(&mut self, station: &Station, verdict: &mut Verdict) {
        let model = self.model;
        self.fresh.clear();
        for (origin, (now, next)) in (0..).zip(self.closure.iter_mut().zip(&self.next)) {
            if *now < *next {
                let known = model.known_between(*now, Entry { origin, counter: *next });
                self.fresh.extend(known.iter().map(|(_, write)| *write));
                *now = *next;
            }
        }
        if self.fresh.len() > 1 {
            self.fresh.sort_unstable_by_key(|write| model.ranks[*write as usize]);
        }
        for place in 0..self.fresh.len() {
            let write = self.fresh[place];
            causal_delivery::check(model, &self.closure, write, station.event, verdict);
            self.add(write);
        }
    }

    fn add(&mut self, number: u32) {
        let model = self.model;
        let write = model.write(number);
        for written in model.keys_of(write) {
            let alive = &mut self.alive[written.key as usize];
            let hazes = &mut self.hazes[written.key as usize];
            alive.retain_mut(|other| match replaced(model, number, other.write) {
                Replaced::Yes => false,
                Replaced::No => true,
                Replaced::Maybe => {
                    other.is_sure = false;
                    true
                }
            });
            if written.has_value {
                // A write of which little is known may stand before this one and yet have replaced it.
                let is_sure = !hazes.iter().any(|haze| replaced(model, *haze, number) == Replaced::Maybe);
                alive.push(Alive { write: number, is_sure });
            }
            if write.is_hazy() {
                hazes.push(number);
            }
            self.touched.push(written.key);
        }
    }

    /// The siblings that a key has, or may have.
    pub(crate) fn alive(&self, key: u32) -> &[Alive] {
        &self.alive[key as usize]
    }

    /// Takes what a read shows as what is so, where it was not sure.
    pub(crate) fn settle(&mut self, key: u32, is_there: impl Fn(&Alive) -> bool) {
        self.alive[key as usize].retain_mut(|alive| {
            let stays = is_there(alive);
            alive.is_sure = true;
            stays
        });
    }

    /// The keys that have siblings for sure.
    pub(crate) fn keys_with_siblings(&self) -> impl Iterator<Item = u32> + '_ {
        self.touched.iter().copied().filter(|key| self.alive[*key as usize].iter().any(|alive| alive.is_sure))
    }
}
