//! A history in small numbers: keys, origins, nodes and writes by index, vectors and states in shared arenas.
//!
//! Built once ([`build`](crate::build)), then only read. Spans instead of vectors of vectors, because short histories
//! are checked by the million and long ones have millions of events.

use std::ops::Range;

use crate::ghosts::Ghosts;
use crate::history::{Event, Micros, Resolve};
use crate::nodes::Nodes;
use crate::origins::{Entry, Origins};

/// Stands for a value that is no write's.
pub(crate) const PHANTOM: u32 = u32::MAX;

/// Part of an arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// A causal context as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) wait: Span,
    pub(crate) seen: Span,
    pub(crate) dots: Span,
}

/// A request that was answered with a context.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) event: u32,
    pub(crate) session: u32,
    pub(crate) node: u32,
    /// The life of the node's volume, if that is sure.
    pub(crate) life: Option<u32>,
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    pub(crate) sent: Option<Sent>,
    /// What the context answered waits for: of a read and a write that replaced what was held, the state's vector.
    pub(crate) context: Span,
    pub(crate) kind: Kind,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Read {
        resolve: Resolve,
        states: Span,
    },
    Held {
        write: u32,
    },
    /// Or a repeat of a write that replaced what was held: its context is no state's either.
    Seen {
        write: u32,
    },
}

impl Answer {
    /// Whether its context is that of a state of the node.
    pub(crate) fn is_of_state(&self) -> bool {
        !matches!(self.kind, Kind::Seen { .. })
    }
}

/// A write request, also one that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) event: u32,
    pub(crate) session: u32,
    pub(crate) node: u32,
    pub(crate) start: Micros,
    pub(crate) outcome: WriteOutcome,
    pub(crate) sent: Option<Sent>,
    /// Whether it replaces only what its context has seen.
    pub(crate) replaces_seen: bool,
    /// What it was answered to know; empty if it was not answered.
    pub(crate) context: Span,
    /// Its name; of a write with an unknown outcome as others saw it.
    pub(crate) dot: Option<Entry>,
    pub(crate) keys: Span,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    Written,
    Refused,
    /// Whether it took place; or, where it has a name from the start, what it replaced.
    Unknown,
}

impl Write {
    /// Whether what it replaced can't be told from what its client knows.
    pub(crate) fn is_hazy(&self) -> bool {
        self.outcome == WriteOutcome::Unknown && !self.replaces_seen
    }

    /// The vector of its node's state at its place in the log, if that is known.
    pub(crate) fn held(&self) -> Option<Span> {
        (self.outcome == WriteOutcome::Written && !self.replaces_seen).then_some(self.context)
    }
}

/// A key that a write writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenKey {
    pub(crate) key: u32,
    pub(crate) has_value: bool,
}

/// What a read says of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateRecord {
    pub(crate) key: u32,
    pub(crate) siblings: usize,
    pub(crate) shown: Span,
}

/// A sibling shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShownRecord {
    /// The write, or [`PHANTOM`].
    pub(crate) write: u32,
    pub(crate) detail: Option<DetailRecord>,
}

/// What is said of a sibling besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DetailRecord {
    pub(crate) written_at: u64,
    pub(crate) arrival: u64,
}

/// What a node held in the end.
#[derive(Clone, Debug)]
pub(crate) struct FinalRecord {
    pub(crate) event: u32,
    pub(crate) node: u32,
    pub(crate) vector: Span,
    pub(crate) states: Span,
}

/// The whole history.
pub(crate) struct Model<'a> {
    pub(crate) events: &'a [Event],
    pub(crate) nodes: Nodes,
    pub(crate) origins: Origins,
    pub(crate) keys: Vec<&'a str>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) writes: Vec<Write>,
    pub(crate) finals: Vec<FinalRecord>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) written_keys: Vec<WrittenKey>,
    pub(crate) states: Vec<StateRecord>,
    pub(crate) shown: Vec<ShownRecord>,
    /// The writes of each origin that are known by name, in order of counter.
    pub(crate) by_dot: Vec<Vec<(u64, u32)>>,
    /// Writes that may have taken place, but whose names nobody learnt.
    pub(crate) ghosts: Ghosts,
    /// For each write its place in some order in which causes come first.
    pub(crate) ranks: Vec<u32>,
}

impl Model<'_> {
    pub(crate) fn vector(&self, span: Span) -> &[Entry] {
        &self.entries[span.range()]
    }

    pub(crate) fn states(&self, span: Span) -> &[StateRecord] {
        &self.states[span.range()]
    }

    pub(crate) fn shown(&self, span: Span) -> &[ShownRecord] {
        &self.shown[span.range()]
    }

    pub(crate) fn write(&self, write: u32) -> &Write {
        &self.writes[write as usize]
    }

    pub(crate) fn keys_of(&self, write: &Write) -> &[WrittenKey] {
        &self.written_keys[write.keys.range()]
    }

    pub(crate) fn event_of(&self, write: u32) -> usize {
        self.write(write).event as usize
    }

    /// A write for a message.
    pub(crate) fn write_text(&self, write: u32) -> String {
        match self.write(write).dot {
            Some(dot) => format!("write {} (event {})", self.origins.dot_text(dot), self.event_of(write)),
            None => format!("the write of event {}", self.event_of(write)),
        }
    }

    /// A vector for a message.
    pub(crate) fn vector_text(&self, span: Span) -> String {
        let dots: Vec<String> = self.vector(span).iter().map(|entry| self.origins.dot_text(*entry)).collect();
        format!("{{{}}}", dots.join(", "))
    }

    /// How many writes of an origin that are known by name have counters up to this one.
    pub(crate) fn known_up_to(&self, dot: Entry) -> usize {
        let writes = &self.by_dot[dot.origin as usize];
        // Mostly all are known, so that the place is the counter.
        let guess = usize::try_from(dot.counter).unwrap_or(usize::MAX).min(writes.len());
        let at_guess = guess == 0 || writes[guess - 1].0 <= dot.counter;
        if at_guess && writes.get(guess).is_none_or(|(counter, _)| *counter > dot.counter) {
            return guess;
        }
        writes.partition_point(|(counter, _)| *counter <= dot.counter)
    }

    /// The last write known by name that an entry includes.
    pub(crate) fn last_known(&self, dot: Entry) -> Option<u32> {
        let place = self.known_up_to(dot).checked_sub(1)?;
        Some(self.by_dot[dot.origin as usize][place].1)
    }

    /// The writes of an origin known by name with counters from `after` + 1 up to the entry's.
    pub(crate) fn known_between(&self, after: u64, entry: Entry) -> &[(u64, u32)] {
        let start = self.known_up_to(Entry { origin: entry.origin, counter: after });
        let end = self.known_up_to(entry);
        self.by_dot[entry.origin as usize].get(start..end).unwrap_or_default()
    }
}
