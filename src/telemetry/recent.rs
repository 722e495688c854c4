//! This node's own recent writes, so that their ops need not be read again when a peer acknowledges them.

use std::collections::VecDeque;

use crate::causality::{Dot, WallMs};
use crate::replica::{Op, OpRange, TraceContext};

/// What spans need to know of an op whose trace is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampledOp {
    pub(super) dot: Dot,
    pub(super) trace: TraceContext,
    pub(super) accepted: WallMs,
    pub(super) entries: usize,
}

impl SampledOp {
    /// `None`: its trace is not recorded.
    pub(super) fn of(op: &Op) -> Option<Self> {
        let trace = op.trace.filter(TraceContext::is_sampled)?;
        Some(Self { dot: op.dot, trace, accepted: op.hlc.wall(), entries: op.entries.len() })
    }
}

/// How many ops are kept.
const MAX_KEPT: usize = 16_384;

/// How many are given out at a time: whoever writes waits for this.
const MAX_AT_ONCE: usize = 256;

/// A stretch of one origin's ops of which it is known which are recorded.
#[derive(Debug, Default)]
pub(super) struct Recent {
    window: Option<OpRange>,
    sampled: VecDeque<SampledOp>,
}

/// What is known of the start of a range.
pub(super) enum Known {
    /// These are recorded, of the ops up to the counter given.
    Sampled(Vec<SampledOp>, u64),
    /// Nothing, up to the counter given.
    Nothing(u64),
}

impl Recent {
    /// Takes note of a write, recorded or not.
    pub(super) fn note(&mut self, op: &Op) {
        let Dot { origin, counter } = op.dot;
        match &mut self.window {
            Some(window) if window.origin == origin && window.last + 1 == counter => window.last = counter,
            _ => {
                self.sampled.clear();
                self.window = Some(OpRange { origin, first: counter, last: counter });
            }
        }
        let Some(sampled) = SampledOp::of(op) else { return };
        if self.sampled.len() == MAX_KEPT
            && let (Some(oldest), Some(window)) = (self.sampled.pop_front(), &mut self.window)
        {
            window.first = oldest.dot.counter + 1;
        }
        self.sampled.push_back(sampled);
    }

    /// What is known of a range, from its start; ask again for the rest.
    pub(super) fn start_of(&self, range: OpRange) -> Known {
        let Some(window) = self.window.filter(|window| window.origin == range.origin) else {
            return Known::Nothing(range.last);
        };
        if range.first > window.last || range.last < window.first {
            return Known::Nothing(range.last);
        }
        if range.first < window.first {
            return Known::Nothing(window.first - 1);
        }
        let last = range.last.min(window.last);
        let start = self.sampled.partition_point(|op| op.dot.counter < range.first);
        let found = self.sampled.range(start..).take_while(|op| op.dot.counter <= last).take(MAX_AT_ONCE);
        let found: Vec<SampledOp> = found.copied().collect();
        let through = match found.last() {
            Some(op) if found.len() == MAX_AT_ONCE => op.dot.counter,
            _ => last,
        };
        Known::Sampled(found, through)
    }
}
