//! What a simulation leaves behind: the history of its clients, a trace that a person can read, and what occurred.

use std::fmt::Write;

use causeway::causality::{Dot, Origin};
use causeway::replica::OpRange;
use causeway_checker::history::{Event, NodeEvent, Volume, What};

use crate::Micros;
use crate::coverage::Coverage;

/// All of it.
#[derive(Default)]
pub struct Record {
    /// For the checker.
    pub history: Vec<Event>,
    /// For people; empty unless asked for.
    pub trace: String,
    /// For the run.
    pub coverage: Coverage,
    /// How many events were simulated.
    pub events: u64,
    /// How many requests clients made.
    pub requests: u64,
    /// How many faults were injected.
    pub faults: u64,
    /// How long it was, in simulated time.
    pub length: Micros,
    /// The message of the panic that ended it early.
    pub panic: Option<String>,
    traced: bool,
}

impl Record {
    /// With a trace, or without.
    pub fn new(traced: bool) -> Self {
        Self { traced, ..Self::default() }
    }

    /// A line of the trace.
    pub fn say(&mut self, at: Micros, line: impl FnOnce() -> String) {
        if self.traced {
            let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
            writeln!(self.trace, "{seconds:3}.{micros:06}  {}", line()).expect("a String takes everything");
        }
    }

    /// A node is up.
    pub fn up(&mut self, at: Micros, machine: usize, volume: Volume) {
        self.node(at, machine, What::Up(volume));
    }

    /// A node is down.
    pub fn down(&mut self, at: Micros, machine: usize) {
        self.node(at, machine, What::Down);
    }

    fn node(&mut self, at: Micros, machine: usize, what: What) {
        self.history.push(Event::Node(NodeEvent { at, node: machine as u32, what }));
    }
}

/// An origin in few letters.
pub fn short(origin: Origin) -> String {
    format!("{}.{:04x}", origin.node, origin.incarnation.0 >> 48)
}

/// A dot in few letters.
pub fn short_dot(dot: Dot) -> String {
    format!("{}.{}", short(dot.origin), dot.counter)
}

/// Dots in few letters.
pub fn short_dots(dots: impl Iterator<Item = Dot>) -> String {
    format!("{{{}}}", dots.map(short_dot).collect::<Vec<_>>().join(" "))
}

/// Ranges of ops in few letters.
pub fn short_ranges(ranges: &[OpRange]) -> String {
    let range = |range: &OpRange| format!("{}.{}..{}", short(range.origin), range.first, range.last);
    ranges.iter().map(range).collect::<Vec<_>>().join(" ")
}
