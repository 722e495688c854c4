//! What a node remembers of the last while, for people: when its ops became visible, and how long its own writes took to
//! reach each peer. In memory, bounded, forgotten by a restart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::accepted::Accepted;
use super::lock;
use crate::causality::{NodeId, WallMs};
use crate::format::facts::Latency;
use crate::replica::OpRange;

/// Commits that are remembered: all of their ops became visible at the same time.
const MAX_COMMITS: usize = 65_536;

/// How finely latencies are kept apart in time, and for how long.
pub const STEP_MS: u64 = 5_000;
const MAX_STEPS: usize = 180;

/// The steps that a summary of "lately" is of.
const RECENT_STEPS: u64 = 12;

/// Latencies up to 64 µs, then four classes for each doubling, up to about a day.
const FIRST_CLASS_US: u64 = 64;
const CLASSES: usize = 128;

/// What a node remembers.
pub(super) struct History {
    commits: Mutex<Commits>,
    latencies: Mutex<BTreeMap<NodeId, VecDeque<Step>>>,
}

struct Commits {
    visible: VecDeque<CommitTime>,
    /// The position of the last op that became visible, in this run or before it.
    through: u64,
    accepted: Accepted,
}

struct CommitTime {
    /// The positions behind this one, up to and with that.
    after: u64,
    through: u64,
    at: WallMs,
}

/// Latencies of some seconds.
struct Step {
    number: u64,
    ops: u64,
    max_us: u64,
    classes: Box<[u32; CLASSES]>,
}

impl History {
    /// Of a node that starts with the ops up to a position.
    pub(super) fn behind(position: u64) -> Self {
        let commits = Commits { visible: VecDeque::new(), through: position, accepted: Accepted::default() };
        Self { commits: Mutex::new(commits), latencies: Mutex::default() }
    }

    /// Own ops were staged for a commit, the first of them then.
    pub(super) fn accepted(&self, ops: OpRange, at: Instant) {
        lock(&self.commits).accepted.note(ops, at);
    }

    /// The ops up to a position became visible.
    pub(super) fn visible(&self, through: u64, at: WallMs) {
        let commits = &mut *lock(&self.commits);
        let after = std::mem::replace(&mut commits.through, through);
        commits.visible.push_back(CommitTime { after, through, at });
        if commits.visible.len() > MAX_COMMITS {
            commits.visible.pop_front();
        }
    }

    /// When the op at a position became visible, if that is remembered.
    pub(super) fn visible_at(&self, position: u64) -> Option<WallMs> {
        let visible = &lock(&self.commits).visible;
        let index = visible.partition_point(|commit| commit.through < position);
        visible.get(index).filter(|commit| commit.after < position).map(|commit| commit.at)
    }

    /// A peer acknowledged own ops; how many of them after how long, as far as that is known.
    pub(super) fn acknowledged(
        &self,
        peer: NodeId,
        ops: &[OpRange],
        now: Instant,
        wall: WallMs,
    ) -> Vec<(u64, Duration)> {
        let taken: Vec<(u64, Duration)> = {
            let accepted = &lock(&self.commits).accepted;
            let runs = ops.iter().flat_map(|range| accepted.of(*range));
            runs.map(|(at, count)| (count, now.saturating_duration_since(at))).collect()
        };
        if !taken.is_empty() {
            self.note(peer, &taken, wall);
        }
        taken
    }

    fn note(&self, peer: NodeId, taken: &[(u64, Duration)], wall: WallMs) {
        let mut latencies = lock(&self.latencies);
        let steps = latencies.entry(peer).or_default();
        let number = wall.0 / STEP_MS;
        // A clock that goes back must not make a second step of the same time.
        if steps.back().is_none_or(|last| last.number < number) {
            steps.push_back(Step { number, ops: 0, max_us: 0, classes: Box::new([0; CLASSES]) });
            if steps.len() > MAX_STEPS {
                steps.pop_front();
            }
        }
        let Some(step) = steps.back_mut() else { return };
        taken.iter().for_each(|(count, latency)| step.note(*count, *latency));
    }

    /// How long own writes took to reach a peer in the last minute.
    pub(super) fn recent_latency(&self, peer: NodeId, now: WallMs) -> Option<Latency> {
        let latencies = lock(&self.latencies);
        summary(since(latencies.get(&peer)?, now, RECENT_STEPS))
    }

    /// The same of the last 15 minutes, step by step, each with when it began. Steps without writes are left out.
    pub(super) fn latencies(&self, peer: NodeId, now: WallMs) -> Vec<(WallMs, Latency)> {
        let latencies = lock(&self.latencies);
        let steps = latencies.get(&peer).into_iter().flat_map(|steps| since(steps, now, MAX_STEPS as u64));
        steps.filter_map(|step| Some((WallMs(step.number * STEP_MS), summary([step].into_iter())?))).collect()
    }
}

impl Step {
    fn note(&mut self, count: u64, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.ops += count;
        self.max_us = self.max_us.max(us);
        let class = &mut self.classes[class(us)];
        *class = class.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// The steps that are at most so many steps old.
fn since(steps: &VecDeque<Step>, now: WallMs, count: u64) -> impl Iterator<Item = &Step> {
    let first = (now.0 / STEP_MS).saturating_sub(count);
    steps.iter().filter(move |step| step.number >= first)
}

fn summary<'a>(steps: impl Iterator<Item = &'a Step>) -> Option<Latency> {
    let (mut ops, mut max_us, mut classes) = (0, 0, [0u64; CLASSES]);
    for step in steps {
        ops += step.ops;
        max_us = max_us.max(step.max_us);
        classes.iter_mut().zip(step.classes.iter()).for_each(|(all, of_step)| *all += u64::from(*of_step));
    }
    let quantile = |wanted: u64| {
        let mut seen = 0;
        let class = classes.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        class.map_or(max_us, |class| end_us(class).min(max_us))
    };
    (ops > 0).then(|| Latency {
        ops,
        p50_us: quantile(ops.div_ceil(2)),
        p99_us: quantile((ops * 99).div_ceil(100)),
        max_us,
    })
}

fn class(us: u64) -> usize {
    if us < FIRST_CLASS_US {
        return 0;
    }
    let doubling = us.ilog2();
    let quarter = (us >> (doubling - 2)) & 3;
    let class = 1 + (u64::from(doubling - FIRST_CLASS_US.ilog2()) * 4 + quarter) as usize;
    class.min(CLASSES - 1)
}

/// Where a class ends.
fn end_us(class: usize) -> u64 {
    if class == 0 {
        return FIRST_CLASS_US;
    }
    let (doubling, quarter) = ((class as u64 - 1) / 4, (class as u64 - 1) % 4);
    (FIRST_CLASS_US << doubling) / 4 * (5 + quarter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Incarnation, Origin};

    const OWN: Origin = Origin { node: NodeId(0), incarnation: Incarnation(7) };

    fn range(first: u64, last: u64) -> OpRange {
        OpRange { origin: OWN, first, last }
    }

    #[test]
    fn classes_follow_on_each_other_and_end_where_they_say() {
        let mut last = 0;
        for us in (0..2_000).chain([1 << 30, (1 << 30) + 1, 1 << 36, u64::MAX]) {
            let class = class(us);
            assert!(class >= last, "{us}");
            assert!(us < end_us(class) || class == CLASSES - 1, "{us}");
            assert!(class == 0 || us >= end_us(class - 1), "{us}");
            last = class;
        }
    }

    #[test]
    fn it_is_known_when_an_op_became_visible_in_this_run() {
        let history = History::behind(8);
        for (through, at) in [(10, 1_000), (12, 2_000), (13, 3_000)] {
            history.visible(through, WallMs(at));
        }
        let at = |position| history.visible_at(position).map(|at| at.0);
        assert_eq!(
            [at(8), at(9), at(10), at(11), at(12), at(13), at(14)],
            [None, Some(1_000), Some(1_000), Some(2_000), Some(2_000), Some(3_000), None]
        );
    }

    #[test]
    fn latencies_are_of_the_ops_that_were_acknowledged() {
        let (history, start, peer) = (History::behind(0), Instant::now(), NodeId(1));
        let after = |ms| start + Duration::from_millis(ms);
        history.accepted(range(1, 90), start);
        history.accepted(range(91, 100), after(5));
        history.acknowledged(peer, &[range(1, 100)], after(10), WallMs(1_000_000));
        // Not known any more, or not own.
        history.acknowledged(peer, &[range(500, 600)], after(10), WallMs(1_000_000));
        history.acknowledged(
            peer,
            &[OpRange { origin: Origin { node: NodeId(9), ..OWN }, ..range(1, 9) }],
            after(10),
            WallMs(1_000_000),
        );
        let latency = history.recent_latency(peer, WallMs(1_000_000)).expect("of a hundred ops");
        assert_eq!((latency.ops, latency.max_us), (100, 10_000));
        assert!((8_000..=10_000).contains(&latency.p50_us), "{latency:?}");
        let steps_at = |now| history.latencies(peer, WallMs(now));
        assert_eq!(steps_at(1_000_000), [(WallMs(1_000_000), latency)]);
        assert_eq!(steps_at(1_900_000), [(WallMs(1_000_000), latency)], "15 minutes later");
        assert_eq!(steps_at(1_905_000), [], "not longer, however few steps there are");
        assert_eq!(history.recent_latency(peer, WallMs(2_000_000)), None);
        assert_eq!(history.recent_latency(NodeId(2), WallMs(1_000_000)), None);
    }
}
