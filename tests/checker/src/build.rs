//! Builds the [`Model`] of a history. What is shown that no write can have written is told on the way.

use crate::ghosts::{self, Ghosts};
use crate::hash::QuickMap;
use crate::history::{Call, Context, Dot, Event, Final, Micros, NodeId, Outcome, Replaces, Request, Shown};
use crate::model::{
    Answer, DetailRecord, FinalRecord, Kind, Model, PHANTOM, Sent, ShownRecord, Span, StateRecord, Write, WriteOutcome,
    WrittenKey,
};
use crate::nodes::Nodes;
use crate::order;
use crate::origins::{Entry, Interner, Origins};
use crate::properties::{dot_reuse, no_phantoms};
use crate::report::Verdict;

/// Builds the model of a history.
pub(crate) fn build<'a>(events: &'a [Event], verdict: &mut Verdict) -> Model<'a> {
    let mut decoder = Decoder::new(events.len(), Nodes::of(events));
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Request(request) => decoder.request(index as u32, request, verdict),
            Event::Final(held) => decoder.held(index as u32, held),
            Event::Node(_) | Event::Bound(_) => {}
        }
    }
    let (mut model, values, mut key_numbers) = decoder.finish(events, verdict);
    decode_reads(&mut model, &values, &mut key_numbers, verdict);
    decode_finals(&mut model, &values, &mut key_numbers, verdict);
    name_writes(&mut model, verdict);
    ghosts::find(&mut model, verdict);
    model.ranks = order::rank(&model, verdict);
    model
}

type KeyNumbers<'a> = QuickMap<&'a str, u32>;
type Values = QuickMap<u64, u32>;

fn number_key<'a>(numbers: &mut KeyNumbers<'a>, keys: &mut Vec<&'a str>, key: &'a str) -> u32 {
    *numbers.entry(key).or_insert_with(|| {
        keys.push(key);
        keys.len() as u32 - 1
    })
}

/// The first pass: everything but what reads show, which may be writes that ended later.
struct Decoder<'a> {
    nodes: Nodes,
    interner: Interner,
    keys: Vec<&'a str>,
    key_numbers: KeyNumbers<'a>,
    values: Values,
    answers: Vec<Answer>,
    writes: Vec<Write>,
    finals: Vec<FinalRecord>,
    entries: Vec<Entry>,
    written_keys: Vec<WrittenKey>,
    /// Each incarnation said to have parents, by which event.
    parents: Vec<(u32, u32, Vec<Entry>)>,
}

impl<'a> Decoder<'a> {
    fn new(events: usize, nodes: Nodes) -> Self {
        Self {
            nodes,
            interner: Interner::default(),
            keys: Vec::new(),
            key_numbers: KeyNumbers::default(),
            values: Values::with_capacity_and_hasher(events / 2, Default::default()),
            answers: Vec::with_capacity(events),
            writes: Vec::with_capacity(events / 2),
            finals: Vec::new(),
            entries: Vec::with_capacity(events * 4),
            written_keys: Vec::with_capacity(events / 2),
            parents: Vec::new(),
        }
    }

    fn vector(&mut self, dots: &[Dot]) -> Span {
        let start = self.entries.len();
        for (place, dot) in dots.iter().enumerate() {
            let entry = self.interner.entry(place, *dot);
            self.entries.push(entry);
        }
        Span::new(start, self.entries.len())
    }

    fn sent(&mut self, context: &Context) -> Sent {
        let wait = self.vector(&context.wait);
        let seen = if context.seen == context.wait { wait } else { self.vector(&context.seen) };
        Sent { wait, seen, dots: self.vector(&context.dots) }
    }

    /// A listed sibling may be of an origin that no vector has any more: one that was folded away in every answer.
    fn number_origins(&mut self, siblings: &[Shown]) {
        for detail in siblings.iter().filter_map(|sibling| sibling.detail) {
            self.interner.number(detail.dot.origin);
        }
    }

    fn request(&mut self, event: u32, request: &'a Request, verdict: &mut Verdict) {
        let node = self.nodes.number(request.node);
        let sent = request.context.as_ref().map(|context| self.sent(context));
        let kind = match &request.call {
            Call::Read { resolve, .. } => Kind::Read { resolve: *resolve, states: Span::default() },
            Call::Write { replaces, .. } => {
                let write = self.write(event, request, node, sent, verdict);
                match (replaces, &request.outcome) {
                    (Replaces::Held, Outcome::Repeated { .. }) | (Replaces::Seen, _) => Kind::Seen { write },
                    (Replaces::Held, _) => Kind::Held { write },
                }
            }
        };
        let context = match (&request.outcome, &kind) {
            (Outcome::Read { context, states }, Kind::Read { .. }) => {
                states.iter().for_each(|state| self.number_origins(&state.shown));
                self.vector(&context.wait)
            }
            (Outcome::Written { .. } | Outcome::Repeated { .. }, Kind::Held { write } | Kind::Seen { write }) => {
                self.writes[*write as usize].context
            }
            _ => return,
        };
        let (session, start, end) = (request.session, request.start, request.end);
        let life = self.nodes.life(node, start, end);
        self.answers.push(Answer { event, session, node, life, start, end, sent, context, kind });
    }

    fn write(&mut self, event: u32, request: &'a Request, node: u32, sent: Option<Sent>, verdict: &mut Verdict) -> u32 {
        let Call::Write { value, keys, deletes, replaces } = &request.call else { return PHANTOM };
        let first = self.written_keys.len();
        for (key, has_value) in keys.iter().map(|key| (key, true)).chain(deletes.iter().map(|key| (key, false))) {
            let key = number_key(&mut self.key_numbers, &mut self.keys, key);
            self.written_keys.push(WrittenKey { key, has_value });
        }
        let (dot, context, outcome) = match &request.outcome {
            Outcome::Written { dot, context } | Outcome::Repeated { dot, context } => {
                let own = self.interner.number(dot.origin);
                let dot = Entry { origin: own, counter: dot.counter };
                let is_repeat = matches!(request.outcome, Outcome::Repeated { .. });
                let hides_held = is_repeat && *replaces == Replaces::Held;
                let outcome = if hides_held { WriteOutcome::Unknown } else { WriteOutcome::Written };
                (Some(dot), self.vector(&context.wait), outcome)
            }
            Outcome::Unknown | Outcome::Lost => (None, Span::default(), WriteOutcome::Unknown),
            Outcome::Refused { .. } | Outcome::Read { .. } => (None, Span::default(), WriteOutcome::Refused),
        };
        let number = self.writes.len() as u32;
        self.writes.push(Write {
            event,
            session: request.session,
            node,
            start: request.start,
            outcome,
            sent,
            replaces_seen: *replaces == Replaces::Seen,
            context,
            dot,
            keys: Span::new(first, self.written_keys.len()),
        });
        if let Some(other) = self.values.insert(*value, number) {
            no_phantoms::same_value(*value, self.writes[other as usize].event, event, verdict);
        }
        number
    }

    fn held(&mut self, event: u32, held: &Final) {
        let vector = self.vector(&held.vector);
        let node = self.nodes.number(held.node);
        self.finals.push(FinalRecord { event, node, vector, states: Span::default() });
        held.keys.values().for_each(|siblings| self.number_origins(siblings));
        for (origin, parents) in &held.ancestry {
            let origin = self.interner.number(origin.to_owned());
            let entry = |dot: &Dot| Entry { origin: self.interner.number(dot.origin), counter: dot.counter };
            let parents = parents.iter().map(entry).collect();
            self.parents.push((origin, event, parents));
        }
    }

    /// Puts the origins in order, and works out ancestry.
    fn finish(mut self, events: &'a [Event], verdict: &mut Verdict) -> (Model<'a>, Values, KeyNumbers<'a>) {
        let (mut origins, places) = self.interner.finish();
        let place = |entry: &mut Entry| entry.origin = places[entry.origin as usize];
        self.entries.iter_mut().for_each(place);
        self.writes.iter_mut().filter_map(|write| write.dot.as_mut()).for_each(place);
        let mut known = vec![false; origins.len()];
        let mut parents: Vec<Vec<Entry>> = vec![Vec::new(); origins.len()];
        let mut said_by: Vec<Option<u32>> = vec![None; origins.len()];
        for (origin, event, mut said) in self.parents {
            let origin = places[origin as usize] as usize;
            said.iter_mut().for_each(place);
            said.sort_unstable();
            known[origin] = true;
            match said_by[origin] {
                Some(other) => {
                    dot_reuse::ancestry(&origins, origin as u32, [other, event], &parents[origin], &said, verdict)
                }
                None => (said_by[origin], parents[origin]) = (Some(event), said),
            }
        }
        origins.set_parents(&parents);
        let mut closure = vec![0; origins.len()];
        for held in &self.finals {
            origins.close(&self.entries[held.vector.range()], &mut closure);
            known.iter_mut().zip(&closure).for_each(|(known, counter)| *known |= *counter > 0);
        }
        let hides = hiding(&self.nodes, &origins, &self.entries, &self.writes, &self.answers);
        origins.set_known(&known, &hides);
        let model = Model {
            events,
            nodes: self.nodes,
            by_dot: vec![Vec::new(); origins.len()],
            origins,
            keys: self.keys,
            answers: self.answers,
            writes: self.writes,
            finals: self.finals,
            entries: self.entries,
            written_keys: self.written_keys,
            states: Vec::new(),
            shown: Vec::new(),
            ghosts: Ghosts::default(),
            ranks: Vec::new(),
        };
        (model, self.values, self.key_numbers)
    }
}

/// Says before which origins there may be one that nobody met, because all its writes have unknown outcomes: an unknown
/// write to its node had begun before the origin was first seen.
fn hiding(nodes: &Nodes, origins: &Origins, entries: &[Entry], writes: &[Write], answers: &[Answer]) -> Vec<bool> {
    let mut hides = vec![false; origins.len()];
    let is_mixed = ghosts::are_names_mixed(nodes, origins, writes);
    let mut first: Vec<(NodeId, Micros)> = Vec::new();
    for write in writes.iter().filter(|write| write.outcome == WriteOutcome::Unknown) {
        let id = if is_mixed { 0 } else { nodes.id(write.node) };
        match first.iter_mut().find(|(other, _)| *other == id) {
            Some((_, start)) => *start = write.start.min(*start),
            None => first.push((id, write.start)),
        }
    }
    if first.is_empty() {
        return hides;
    }
    let mut seen = vec![Micros::MAX; origins.len()];
    for answer in answers {
        for entry in &entries[answer.context.range()] {
            let seen = &mut seen[entry.origin as usize];
            *seen = answer.end.min(*seen);
        }
    }
    for (origin, (hides, seen)) in (0..).zip(hides.iter_mut().zip(seen)) {
        let id = if is_mixed { 0 } else { origins.name(origin).node };
        *hides = first.iter().any(|(other, start)| *other == id && *start <= seen);
    }
    hides
}

/// The second pass: what reads show.
fn decode_reads<'a>(model: &mut Model<'a>, values: &Values, numbers: &mut KeyNumbers<'a>, verdict: &mut Verdict) {
    let events = model.events;
    for answer in 0..model.answers.len() {
        let Answer { event, end, ref kind, .. } = model.answers[answer];
        let &Kind::Read { resolve, .. } = kind else { continue };
        let Event::Request(Request { call, outcome, .. }) = &events[event as usize] else { continue };
        let (Call::Read { keys, .. }, Outcome::Read { states, .. }) = (call, outcome) else { continue };
        let start = model.states.len();
        no_phantoms::answers_what_was_asked(event, keys.len(), states.len(), verdict);
        for (key, state) in keys.iter().zip(states) {
            let key = number_key(numbers, &mut model.keys, key);
            let shown = decode_shown(model, values, (event, end, key), &state.shown, verdict);
            model.states.push(StateRecord { key, siblings: state.siblings, shown });
        }
        let states = Span::new(start, model.states.len());
        model.answers[answer].kind = Kind::Read { resolve, states };
    }
}

fn decode_finals<'a>(model: &mut Model<'a>, values: &Values, numbers: &mut KeyNumbers<'a>, verdict: &mut Verdict) {
    let events = model.events;
    for number in 0..model.finals.len() {
        let event = model.finals[number].event;
        let Event::Final(held) = &events[event as usize] else { continue };
        let start = model.states.len();
        for (key, siblings) in &held.keys {
            let key = number_key(numbers, &mut model.keys, key);
            let shown = decode_shown(model, values, (event, u64::MAX, key), siblings, verdict);
            model.states.push(StateRecord { key, siblings: siblings.len(), shown });
        }
        model.finals[number].states = Span::new(start, model.states.len());
    }
}

fn decode_shown(
    model: &mut Model<'_>,
    values: &Values,
    (event, end, key): (u32, u64, u32),
    siblings: &[Shown],
    verdict: &mut Verdict,
) -> Span {
    let start = model.shown.len();
    for sibling in siblings {
        let write = sibling.value.and_then(|value| values.get(&value).copied());
        let write = no_phantoms::judge(model, (event, end, key), sibling, write, verdict).unwrap_or(PHANTOM);
        let detail =
            sibling.detail.map(|detail| DetailRecord { written_at: detail.written_at, arrival: detail.arrival });
        model.shown.push(ShownRecord { write, detail });
    }
    Span::new(start, model.shown.len())
}

/// Collects the writes that are known by name.
fn name_writes(model: &mut Model<'_>, verdict: &mut Verdict) {
    for (number, write) in model.writes.iter().enumerate() {
        if let Some(dot) = write.dot {
            model.by_dot[dot.origin as usize].push((dot.counter, number as u32));
        }
    }
    for origin in 0..model.by_dot.len() {
        model.by_dot[origin].sort_unstable();
        dot_reuse::check(model, origin as u32, verdict);
        // Of two with one name the first stays, so that the rest can be checked.
        model.by_dot[origin].dedup_by_key(|(counter, _)| *counter);
    }
}
