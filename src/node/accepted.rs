//! When this node's own writes were accepted, until they are acknowledged: bounded, however long a peer is away.

use std::collections::VecDeque;
use std::time::Instant;

use crate::causality::Origin;
use crate::replica::OpRange;

/// How many runs are kept.
const MAX_RUNS: usize = 16_384;

/// When the ops of this node's current origin were accepted.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    origin: Option<Origin>,
    /// In order. Each reaches up to the next.
    runs: VecDeque<Run>,
    last: u64,
}

/// Ops that were accepted at about the same time.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    at: Instant,
}

impl Accepted {
    /// Takes note of the next writes.
    pub(super) fn note(&mut self, ops: OpRange, at: Instant) {
        if self.origin != Some(ops.origin) {
            *self = Self { origin: Some(ops.origin), ..Self::default() };
        }
        self.last = ops.last;
        if self.runs.back().is_some_and(|run| run.at == at) {
            return;
        }
        if self.runs.len() == MAX_RUNS {
            self.thin_out();
        }
        self.runs.push_back(Run { first: ops.first, at });
    }

    /// Joins every other run to the one before it, which is older: what waits longest is known least exactly.
    fn thin_out(&mut self) {
        let mut is_kept = false;
        self.runs.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }

    /// When the ops of a range were accepted, and how many at that time. Those of other origins, such as of a run of the
    /// process before this one, are not known.
    pub(super) fn of(&self, range: OpRange) -> impl Iterator<Item = (Instant, u64)> {
        let first = range.first.max(self.runs.front().map_or(0, |run| run.first));
        let last = if self.origin == Some(range.origin) { range.last.min(self.last) } else { 0 };
        let from = self.runs.partition_point(|run| run.first <= first).saturating_sub(1);
        let ends = self.runs.iter().skip(from + 1).map(|next| next.first - 1).chain([self.last]);
        let runs = self.runs.iter().skip(from).zip(ends).take_while(move |(run, _)| run.first <= last);
        runs.filter_map(move |(run, end)| {
            let count = (end.min(last) + 1).saturating_sub(run.first.max(first));
            (count > 0).then_some((run.at, count))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::causality::{Dot, Incarnation, NodeId};

    const ORIGIN: Origin = Origin { node: NodeId(0), incarnation: Incarnation(7) };

    /// Notes what was accepted so many milliseconds after a start, and tells it so.
    struct Noted {
        accepted: Accepted,
        start: Instant,
    }

    impl Noted {
        fn new() -> Self {
            Self { accepted: Accepted::default(), start: Instant::now() }
        }

        fn note(&mut self, Dot { origin, counter }: Dot, at: u64) {
            let ops = OpRange { origin, first: counter, last: counter };
            self.accepted.note(ops, self.start + Duration::from_millis(at));
        }

        fn of(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
            let found = self.accepted.of(OpRange { origin: ORIGIN, first, last });
            found.map(|(at, count)| ((at - self.start).as_millis() as u64, count)).collect()
        }
    }

    #[test]
    fn ops_are_found_by_the_time_at_which_they_were_accepted() {
        let mut noted = Noted::new();
        assert_eq!(noted.of(1, 9), []);
        for (counter, at) in [(1, 10), (2, 10), (3, 12), (4, 20), (5, 20)] {
            noted.note(ORIGIN.dot(counter), at);
        }
        assert_eq!(noted.of(1, 5), [(10, 2), (12, 1), (20, 2)]);
        assert_eq!(noted.of(2, 4), [(10, 1), (12, 1), (20, 1)]);
        assert_eq!(noted.of(5, 9), [(20, 1)], "not those that are still to come");
        let other = Origin { incarnation: Incarnation(8), ..ORIGIN };
        assert_eq!(noted.accepted.of(OpRange { origin: other, first: 1, last: 5 }).count(), 0);
        noted.note(other.dot(1), 30);
        assert_eq!(noted.of(1, 5), []);
    }

    #[test]
    fn however_many_wait_none_is_forgotten_and_memory_is_bounded() {
        let mut noted = Noted::new();
        let ops = 10 * MAX_RUNS as u64;
        (1..=ops).for_each(|counter| noted.note(ORIGIN.dot(counter), counter));
        assert!(noted.accepted.runs.len() <= MAX_RUNS);
        let found = noted.of(1, ops);
        assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), ops);
        assert_eq!(found.first().map(|(at, _)| *at), Some(1));
        assert_eq!(noted.of(ops, ops), [(ops, 1)], "the newest is known exactly");
    }
}
