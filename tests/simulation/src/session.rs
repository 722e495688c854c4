//! Sessions: clients that send one request after the other, and pass contexts on as their steps say.

use std::collections::VecDeque;
use std::sync::Arc;

use causeway::causality::CausalContext;
use causeway::format::token;
use causeway_checker::history;

use crate::Micros;
use crate::schedule::{ClientStep, ContextFrom};

/// A context as a client holds it.
#[derive(Clone, Debug)]
pub struct Held {
    /// As the client passes it on.
    pub token: Arc<str>,
    /// As the checker reads it.
    pub decoded: Arc<history::Context>,
}

impl Held {
    /// What a node answers.
    pub fn new(context: &CausalContext) -> Self {
        let token: Arc<str> = token::encode(context).into();
        let chars = token.len();
        let vector = |vector: &causeway::causality::VersionVector| vector.entries().map(dot).collect();
        let decoded = history::Context {
            wait: vector(&context.wait),
            seen: vector(&context.seen.vector),
            dots: context.seen.dots.iter().copied().map(dot).collect(),
            chars,
        };
        Self { token, decoded: Arc::new(decoded) }
    }
}

/// A dot in the checker's words.
pub fn dot(dot: causeway::causality::Dot) -> history::Dot {
    history::Dot { origin: origin(dot.origin), counter: dot.counter }
}

/// An origin in the checker's words.
pub fn origin(origin: causeway::causality::Origin) -> history::Origin {
    history::Origin { node: origin.node.0, incarnation: origin.incarnation.0 }
}

/// One client.
#[derive(Default)]
pub struct Session {
    /// Its newest context, and the one before.
    pub contexts: [Option<Held>; 2],
    /// What it still wants to do.
    pub steps: VecDeque<ClientStep>,
    /// Whether it gives its writes names.
    pub names_writes: bool,
    /// The request under way.
    pub request: Option<usize>,
}

impl Session {
    /// Every second one names its writes.
    pub fn new(number: usize) -> Self {
        Self { names_writes: number % 2 == 1, ..Self::default() }
    }

    /// Takes note of a context that it was answered with.
    pub fn remember(&mut self, context: Held) {
        let [newest, before] = &mut self.contexts;
        *before = newest.replace(context);
    }
}

/// A request of a session.
pub struct Request {
    /// Whose.
    pub session: usize,
    /// What.
    pub step: ClientStep,
    /// With which context.
    pub context: Option<Held>,
    /// The value that it writes; of a read, nothing.
    pub value: u64,
    /// When it was sent, the first time.
    pub start: Micros,
    /// What became of it the first time, if it was sent again.
    pub first: Option<history::Outcome>,
    /// How often it was sent again.
    pub repeats: u8,
    /// The run of the machine's process that has it.
    pub boot: u64,
    /// Until when it waits for its context.
    pub deadline: Micros,
    /// Whether the answer is lost on its way.
    pub answer_lost: bool,
    /// Whether its client knows what came of it, or gave it up.
    pub is_done: bool,
}

/// The context that a step passes on.
pub fn context_of(sessions: &[Session], session: usize, from: ContextFrom) -> Option<Held> {
    match from {
        ContextFrom::Nowhere => None,
        ContextFrom::Own => sessions[session].contexts[0].clone(),
        ContextFrom::Stale => sessions[session].contexts[1].clone(),
        ContextFrom::Session(other) => sessions[other].contexts[0].clone(),
    }
}
