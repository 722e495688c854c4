//! The failed tries to reach one peer: which are remembered, and which become spans.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Between two spans for failed tries to one peer.
pub const FAILED_PUSH_INTERVAL: Duration = Duration::from_secs(5);

/// Spans for failed tries to one peer in any minute, those included that are the first after a success.
pub const MAX_FAILED_PUSHES_A_MINUTE: usize = 12;

const MINUTE: Duration = Duration::from_secs(60);

/// How many tries are remembered of each peer: of the last half hour, when it is away for good.
const MAX_REMEMBERED: usize = 4096;

/// How many tries a span shows from the start and from the end of its time.
const MAX_SHOWN: usize = 4;

/// A try that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailedTry {
    /// Counts the failed tries to this peer.
    pub(super) number: u64,
    pub(super) at: SystemTime,
    pub(super) error_type: &'static str,
    pub(super) message: Arc<str>,
    pub(super) address: Arc<str>,
}

/// The failed tries to reach one peer.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// The first since the last success.
    first: Vec<FailedTry>,
    /// The last, whatever came between.
    last: VecDeque<FailedTry>,
    failed: u64,
    /// Whether the last one failed.
    failing: bool,
    /// When the last spans were made, as many as a minute may have.
    shown: VecDeque<SystemTime>,
}

/// The failed tries of a stretch of time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Between {
    /// How many there were. Too few when the first of them are not remembered any more.
    pub(super) count: u64,
    /// The first and the last.
    pub(super) first: Vec<FailedTry>,
    pub(super) last: Vec<FailedTry>,
}

impl Tries {
    /// Takes note of a success.
    pub(super) fn succeeded(&mut self) {
        self.failing = false;
    }

    /// Takes note of a failed try.
    pub(super) fn failed(&mut self, at: SystemTime, error_type: &'static str, message: &str, address: &Arc<str>) {
        if !self.failing {
            self.failing = true;
            self.first.clear();
        }
        self.failed += 1;
        // They mostly say the same.
        let message = match self.last.back() {
            Some(before) if *before.message == *message => before.message.clone(),
            _ => message.into(),
        };
        let failed = FailedTry { number: self.failed, at, error_type, message, address: address.clone() };
        if self.first.len() < MAX_SHOWN {
            self.first.push(failed.clone());
        }
        if self.last.len() == MAX_REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(failed);
    }

    /// Whether a failed try may become a span: `first` says that it is the first after a success.
    pub(super) fn may_show(&self, at: SystemTime, first: bool) -> bool {
        let since = |before: &SystemTime| at.duration_since(*before).unwrap_or_default();
        let is_time = first || self.shown.back().is_none_or(|before| since(before) >= FAILED_PUSH_INTERVAL);
        let is_many = self.shown.len() == MAX_FAILED_PUSHES_A_MINUTE;
        is_time && !(is_many && self.shown.front().is_some_and(|before| since(before) < MINUTE))
    }

    /// Takes note that it did.
    pub(super) fn shown(&mut self, at: SystemTime) {
        if self.shown.len() == MAX_FAILED_PUSHES_A_MINUTE {
            self.shown.pop_front();
        }
        self.shown.push_back(at);
    }

    /// Whether the last try succeeded (or there was none).
    pub(super) fn is_succeeding(&self) -> bool {
        !self.failing
    }

    /// The failed tries from `start` to `end`.
    pub(super) fn between(&self, start: SystemTime, end: SystemTime) -> Between {
        let oldest = self.last.front().map_or(u64::MAX, |failed| failed.number);
        let earlier = self.first.iter().filter(|failed| failed.number < oldest);
        let from = self.last.partition_point(|failed| failed.at < start);
        let to = self.last.partition_point(|failed| failed.at <= end).max(from);
        let mut first: Vec<FailedTry> = earlier.filter(|failed| (start..=end).contains(&failed.at)).cloned().collect();
        let room = MAX_SHOWN.saturating_sub(first.len());
        let split = to.min(from + room);
        first.extend(self.last.range(from..split).cloned());
        let tail = to.saturating_sub(MAX_SHOWN).max(split);
        let last: Vec<FailedTry> = self.last.range(tail..to).cloned().collect();
        let highest = last.last().or(first.last()).map(|failed| failed.number);
        let count = first.first().zip(highest).map_or(0, |(lowest, highest)| highest - lowest.number + 1);
        Between { count, first, last }
    }
}
