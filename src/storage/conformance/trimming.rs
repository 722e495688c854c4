//! What is trimmed is gone from the log and from nothing else; what somebody needs is not trimmed.

use std::time::{Duration, Instant};

use super::{ALL, Checkpoint, Log, LogRun, LogSize, Storage, StoredOp, Subject, VersionVector, origin, range, stored};
use crate::causality::Hlc;

/// Trims until only what must stay is left: the keys on disk may have to be brought on first, which goes on beside.
pub(super) fn trim(store: &impl Storage, through: u64, held: u64) -> VersionVector {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let floor = store.trim(through).unwrap();
        if store.log_runs().first().is_none_or(|run| run.last > through.min(held)) {
            return floor;
        }
        assert!(Instant::now() < deadline, "it is not trimmed: {:?}", store.log_runs());
        std::thread::yield_now();
    }
}

/// A store with some commits of two origins, and what it should have.
struct Written<S: Subject> {
    subject: S,
    log: Log,
    ops: Vec<StoredOp>,
    /// After each op, and before the first.
    checkpoints: Vec<Checkpoint>,
}

impl<S: Subject> Written<S> {
    fn new() -> Self {
        Self { subject: S::new(), log: Log::default(), ops: Vec::new(), checkpoints: vec![Checkpoint::default()] }
    }

    fn write(&mut self, store: &S::Store, commits: usize) {
        for _ in 0..commits {
            let appends = [origin(0, 7), origin(1, 3), origin(0, 7)].map(|origin| {
                let counter = self.log.checkpoint.vector.get(origin) + 1;
                let append = self.log.append(store, origin.dot(counter), &[("k", Some("v")), ("other", Some("v"))]);
                self.checkpoints.push(self.log.checkpoint.clone());
                append
            });
            store.commit(&appends, &self.log.checkpoint).unwrap();
            self.ops.extend(appends.iter().map(stored));
        }
    }

    fn at(&self, position: u64) -> &Checkpoint {
        &self.checkpoints[position as usize]
    }

    /// The runs are such as they were written.
    fn check_runs(&self, runs: &[LogRun]) {
        for run in runs {
            assert_eq!((&run.vector, run.ended), (&self.at(run.last).vector, self.at(run.last).hlc));
            assert!(run.bytes > 0 && run.last < self.log.checkpoint.position);
        }
        assert!(runs.is_sorted_by(|left, right| left.last < right.last));
    }

    /// The store has the ops behind a position, and all keys.
    fn check(&self, store: &S::Store, start: u64) {
        let rest: Vec<StoredOp> = self.ops.iter().filter(|op| op.position > start).cloned().collect();
        assert_eq!(store.log_start(), start);
        for position in [0, start.saturating_sub(1), start] {
            assert_eq!(store.ops_after(position, ALL).unwrap(), rest);
        }
        assert_eq!(store.ops_after(start + 1, ALL).unwrap(), rest[rest.len().min(1)..]);
        let ranges = [range(origin(0, 7), 1, u64::MAX), range(origin(1, 3), 1, u64::MAX)];
        assert_eq!(store.ops(&ranges, ALL).unwrap(), rest);
        let bytes = rest.iter().map(|op| op.bytes.len() as u64).sum();
        assert_eq!(store.op_bytes(&ranges).unwrap(), bytes);
        assert_eq!(store.log_size().unwrap(), LogSize { ops: rest.len() as u64, bytes });
        assert_eq!(*store.snapshot().unwrap().vector(), self.log.checkpoint.vector);
        assert_eq!(store.snapshot().unwrap().keys("", None, 9).unwrap().len(), 2);
    }
}

pub(super) fn a_trimmed_log_has_the_rest<S: Subject>() {
    let mut written = Written::<S>::new();
    let (mut store, recovered) = written.subject.open();
    assert!(recovered.floor.is_empty() && store.trim(u64::MAX).unwrap().is_empty());
    assert_eq!(store.log_start(), 0);
    written.write(&store, 8);
    for round in 0..4 {
        let runs = store.log_runs();
        written.check_runs(&runs);
        // Those that end there or before go, and no others. In a store whose files are large there is none.
        let through = runs.get(2).map_or(store.log_start(), |run| run.last);
        let floor = trim(&store, through + u64::from(round % 2 == 1), through);
        assert_eq!(floor, written.at(through).vector);
        assert_eq!(store.log_runs(), runs.into_iter().filter(|run| run.last > through).collect::<Vec<_>>());
        written.check(&store, through);
        drop(store);
        let reopened = written.subject.open();
        assert_eq!((&reopened.1.floor, reopened.1.checkpoint), (&floor, written.log.checkpoint.clone()));
        store = reopened.0;
        written.check(&store, through);
        written.write(&store, 2);
        written.check(&store, through);
    }
    assert!(store.log_runs().iter().all(|run| run.ended > Hlc(0)));
}

pub(super) fn what_is_held_is_not_trimmed<S: Subject>() {
    let mut written = Written::<S>::new();
    let (store, _) = written.subject.open();
    written.write(&store, 3);
    let (hold, held) = (store.hold_log(), written.log.checkpoint.position);
    written.write(&store, 2);
    let (later, later_held) = (store.hold_log(), written.log.checkpoint.position);
    written.write(&store, 2);
    let gone_up_to = |held: u64, runs: &[LogRun]| {
        runs.iter().map(|run| run.last).filter(|last| *last <= held).max().unwrap_or(store.log_start())
    };
    let gone = gone_up_to(held, &store.log_runs());
    trim(&store, u64::MAX, held);
    written.check(&store, gone);
    drop(hold);
    let gone = gone_up_to(later_held, &store.log_runs());
    trim(&store, u64::MAX, later_held);
    written.check(&store, gone);
    drop(later);
    let gone = gone_up_to(u64::MAX, &store.log_runs());
    trim(&store, u64::MAX, u64::MAX);
    written.check(&store, gone);
    assert_eq!(store.log_runs(), []);
}
