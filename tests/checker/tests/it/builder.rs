//! Builds little histories by hand. Dots are written `node:counter` or `node.incarnation:counter` (incarnation 1 where
//! none is named), vectors as dots with spaces between, keys as names with spaces between, `-name` being deleted.

use std::sync::Arc;

use causeway_checker::check;
use causeway_checker::history::{
    Bound, Call, Context, Detail, Dot, Event, Final, Key, Micros, NodeEvent, NodeId, Origin, Outcome, Refusal,
    Replaces, Request, Resolve, Shown, State, Value, Vector, What,
};

pub(crate) fn dot(text: &str) -> Dot {
    let (origin, counter) = text.split_once(':').unwrap();
    let (node, incarnation) = origin.split_once('.').unwrap_or((origin, "1"));
    let origin = Origin { node: node.parse().unwrap(), incarnation: incarnation.parse().unwrap() };
    Dot { origin, counter: counter.parse().unwrap() }
}

pub(crate) fn vector(text: &str) -> Vector {
    text.split_whitespace().map(dot).collect()
}

/// The context of a state.
pub(crate) fn state(text: &str) -> Context {
    Context { wait: vector(text), seen: vector(text), dots: Vec::new(), chars: 30 }
}

/// A context after writes that replaced what was seen.
pub(crate) fn seen(wait: &str, seen: &str, dots: &str) -> Context {
    Context { wait: vector(wait), seen: vector(seen), dots: vector(dots), chars: 40 }
}

/// Siblings that are shown, each with its name and place of arrival.
pub(crate) type Listed<'a> = &'a [(Value, &'a str, u64)];

fn list(siblings: Listed<'_>) -> Vec<Shown> {
    let shown = |(value, name, arrival): &(Value, &str, u64)| {
        let detail = Detail { dot: dot(name), written_at: value * 10, arrival: *arrival };
        Shown { value: Some(*value), detail: Some(detail) }
    };
    siblings.iter().map(shown).collect()
}

/// A history that grows. Each request begins after the one before has ended.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    pub(crate) now: Micros,
}

impl History {
    /// With nodes that are up from the beginning, their volumes empty.
    pub(crate) fn of_nodes(nodes: u32) -> Self {
        let mut history = Self::default();
        for node in 0..nodes {
            history.node(node, What::Up(causeway_checker::history::Volume::Empty));
        }
        history
    }

    pub(crate) fn node(&mut self, node: NodeId, what: What) -> &mut Self {
        self.now += 10;
        self.events.push(Event::Node(NodeEvent { at: self.now, node, what }));
        self
    }

    pub(crate) fn bound(&mut self, value: u64, limit: u64) -> &mut Self {
        self.events.push(Event::Bound(Bound { at: self.now, node: 0, what: "waiting ops".into(), value, limit }));
        self
    }

    pub(crate) fn request(&mut self, session: u32, node: NodeId, call: Call, outcome: Outcome) -> &mut Self {
        let start = self.now + 10;
        self.now += 20;
        let request = Request { session, node, start, end: self.now, context: None, call, outcome };
        self.events.push(Event::Request(request));
        self
    }

    /// Changes the last request.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Request)) -> &mut Self {
        let Some(Event::Request(request)) = self.events.last_mut() else { panic!("the last event is no request") };
        change(request);
        self
    }

    /// Lets the last request carry a context.
    pub(crate) fn with(&mut self, context: Context) -> &mut Self {
        self.edit(|request| request.context = Some(context.into()))
    }

    /// A write that replaced what was held.
    pub(crate) fn held(&mut self, session: u32, node: NodeId, value: Value, keys: &str, names: [&str; 2]) -> &mut Self {
        let [name, context] = names;
        let outcome = Outcome::Written { dot: dot(name), context: state(context).into() };
        self.request(session, node, write(value, keys, Replaces::Held), outcome)
    }

    /// A write that replaced what was seen, with this context.
    pub(crate) fn seen(
        &mut self,
        session: u32,
        node: NodeId,
        value: Value,
        keys: &str,
        sent: Context,
        answer: (&str, Context),
    ) -> &mut Self {
        let outcome = Outcome::Written { dot: dot(answer.0), context: answer.1.into() };
        self.request(session, node, write(value, keys, Replaces::Seen), outcome).with(sent)
    }

    /// A write whose outcome is unknown, of a client that gave up at once.
    pub(crate) fn unknown(&mut self, session: u32, node: NodeId, value: Value, keys: &str) -> &mut Self {
        self.request(session, node, write(value, keys, Replaces::Held), Outcome::Unknown)
    }

    /// A write that replaced what was held, sent until it was answered as a repeat.
    pub(crate) fn repeated(
        &mut self,
        session: u32,
        node: NodeId,
        value: Value,
        keys: &str,
        answer: (&str, Context),
    ) -> &mut Self {
        let outcome = Outcome::Repeated { dot: dot(answer.0), context: answer.1.into() };
        self.request(session, node, write(value, keys, Replaces::Held), outcome)
    }

    /// A write that was refused.
    pub(crate) fn refused(&mut self, session: u32, node: NodeId, value: Value, keys: &str, why: Refusal) -> &mut Self {
        self.request(session, node, write(value, keys, Replaces::Held), Outcome::Refused { refusal: why })
    }

    /// A read that shows all siblings of each key.
    pub(crate) fn all(&mut self, session: u32, node: NodeId, context: &str, keys: &[(&str, Listed<'_>)]) -> &mut Self {
        let names = keys.iter().map(|(key, _)| Key::from(*key)).collect();
        let states = keys.iter().map(|(_, listed)| State { siblings: listed.len(), shown: list(listed) }).collect();
        let outcome = Outcome::Read { states, context: state(context).into() };
        self.request(session, node, Call::Read { keys: names, resolve: Resolve::All }, outcome)
    }

    /// A read that shows one sibling of one key.
    pub(crate) fn one(
        &mut self,
        session: u32,
        node: NodeId,
        context: &str,
        resolve: Resolve,
        shown: (&str, Option<Value>, usize),
    ) -> &mut Self {
        let (key, value, siblings) = shown;
        let shown = value.map(|value| Shown { value: Some(value), detail: None }).into_iter().collect();
        let outcome = Outcome::Read { states: vec![State { siblings, shown }], context: state(context).into() };
        self.request(session, node, Call::Read { keys: vec![key.into()], resolve }, outcome)
    }

    pub(crate) fn held_in_the_end(&mut self, node: NodeId, context: &str, keys: &[(&str, Listed<'_>)]) -> &mut Self {
        self.held_in_the_end_of(node, context, &[], keys)
    }

    /// The same, with the parents of incarnations.
    pub(crate) fn held_in_the_end_of(
        &mut self,
        node: NodeId,
        context: &str,
        ancestry: &[(&str, &str)],
        keys: &[(&str, Listed<'_>)],
    ) -> &mut Self {
        let ancestry = ancestry.iter().map(|(first, parents)| (dot(first).origin, vector(parents))).collect();
        let keys = keys.iter().map(|(key, listed)| (Key::from(*key), list(listed))).collect();
        self.events.push(Event::Final(Final { node, vector: vector(context), ancestry, keys }));
        self
    }

    /// The properties that do not hold, each once.
    pub(crate) fn broken(&self) -> Vec<&'static str> {
        let report = check(&self.events);
        let mut broken: Vec<_> = report.violations.iter().map(|violation| violation.property).collect();
        broken.sort_unstable();
        broken.dedup();
        for violation in &report.violations {
            println!("{violation:?}");
            assert!(violation.events.iter().all(|event| *event < self.events.len()));
        }
        broken
    }

    /// That all holds, and that this was checked.
    #[track_caller]
    pub(crate) fn passes(&self, property: &str) {
        assert_eq!(self.broken(), [""; 0]);
        assert!(check(&self.events).checked[property] > 0, "{property} was not checked");
    }

    /// That just this does not hold.
    #[track_caller]
    pub(crate) fn breaks(&self, property: &str) {
        assert_eq!(self.broken(), [property]);
    }
}

fn write(value: Value, keys: &str, replaces: Replaces) -> Call {
    let (deletes, keys): (Vec<&str>, Vec<&str>) = keys.split_whitespace().partition(|key| key.starts_with('-'));
    let deletes = deletes.into_iter().map(|key| Key::from(&key[1..])).collect();
    Call::Write { value, keys: keys.into_iter().map(Key::from).collect(), deletes, replaces }
}

/// A shared context.
pub(crate) fn shared(context: Context) -> Arc<Context> {
    context.into()
}
