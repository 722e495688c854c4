//! When this node's own writes were accepted, until they are acknowledged: bounded, however long a peer is away.

use std::collections::VecDeque;

use crate::causality::{Dot, Origin, WallMs};
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
    at: WallMs,
}

impl Accepted {
    /// Takes note of the next write.
    pub(super) fn note(&mut self, Dot { origin, counter }: Dot, at: WallMs) {
        if self.origin != Some(origin) {
            *self = Self { origin: Some(origin), ..Self::default() };
        }
        self.last = counter;
        if self.runs.back().is_some_and(|run| run.at == at) {
            return;
        }
        if self.runs.len() == MAX_RUNS {
            self.thin_out();
        }
        self.runs.push_back(Run { first: counter, at });
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
    pub(super) fn of(&self, range: OpRange) -> impl Iterator<Item = (WallMs, u64)> {
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
    use super::*;
    use crate::causality::{Incarnation, NodeId};

    const ORIGIN: Origin = Origin { node: NodeId(0), incarnation: Incarnation(7) };

    fn of(accepted: &Accepted, first: u64, last: u64) -> Vec<(u64, u64)> {
        accepted.of(OpRange { origin: ORIGIN, first, last }).map(|(at, count)| (at.0, count)).collect()
    }

    #[test]
    fn ops_are_found_by_the_time_at_which_they_were_accepted() {
        let mut accepted = Accepted::default();
        assert_eq!(of(&accepted, 1, 9), []);
        for (counter, at) in [(1, 10), (2, 10), (3, 12), (4, 20), (5, 20)] {
            accepted.note(ORIGIN.dot(counter), WallMs(at));
        }
        assert_eq!(of(&accepted, 1, 5), [(10, 2), (12, 1), (20, 2)]);
        assert_eq!(of(&accepted, 2, 4), [(10, 1), (12, 1), (20, 1)]);
        assert_eq!(of(&accepted, 5, 9), [(20, 1)], "not those that are still to come");
        let other = Origin { incarnation: Incarnation(8), ..ORIGIN };
        assert_eq!(accepted.of(OpRange { origin: other, first: 1, last: 5 }).count(), 0);
        accepted.note(other.dot(1), WallMs(30));
        assert_eq!(of(&accepted, 1, 5), []);
    }

    #[test]
    fn however_many_wait_none_is_forgotten_and_memory_is_bounded() {
        let mut accepted = Accepted::default();
        let ops = 10 * MAX_RUNS as u64;
        (1..=ops).for_each(|counter| accepted.note(ORIGIN.dot(counter), WallMs(counter)));
        assert!(accepted.runs.len() <= MAX_RUNS);
        let found = of(&accepted, 1, ops);
        assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), ops);
        assert_eq!(found.first().map(|(at, _)| *at), Some(1));
        assert_eq!(of(&accepted, ops, ops), [(ops, 1)], "the newest is known exactly");
    }
}
