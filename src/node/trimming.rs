//! When ops leave the log: once every configured node has them and no watch is likely to come back for them, and before
//! that when the log would take more room than it may.

use std::time::{Duration, Instant};

use crate::causality::WallMs;
use crate::replica::View;
use crate::storage::LogRun;

/// Ops that every node has stay for so long, for watches that come back, or as long as so many bytes are behind them.
const KEEP_MS: u64 = 10 * 60 * 1_000;
const KEEP_BYTES: u64 = 64 << 20;

pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Decides from time to time.
pub(super) struct Trimming {
    max_bytes: u64,
    /// What a peer lacks stays, however much that is.
    keeps: bool,
    next_look: Instant,
    /// Whether the last trim failed.
    failed: bool,
}

impl Trimming {
    /// Of a log that may take about so many bytes.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, keeps: false, next_look: Instant::now(), failed: false }
    }

    /// From now on keeps all that some peer lacks, or does not: when the keys can't all be read, the log may be all that has it.
    pub(super) fn keep_what_peers_lack(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    /// Whether it is time to decide.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.next_look <= now;
        if is_due {
            self.next_look = now + LOOK_EVERY;
        }
        is_due
    }

    /// Takes note of how a trim went; whether that is to be told: of failures in a row, the first.
    pub(super) fn is_news(&mut self, failed: bool) -> bool {
        let failed_before = std::mem::replace(&mut self.failed, failed);
        failed && !failed_before
    }

    /// Up to which position the log can go, if any of it can. `runs` are its closed parts, oldest first.
    pub(super) fn through(&self, runs: &[LogRun], view: &View, now: WallMs) -> Option<u64> {
        let mut bytes: u64 = runs.iter().map(|run| run.bytes).sum();
        // The part that is appended to has room too.
        let max_bytes = self.max_bytes - self.max_bytes / 16;
        let gone = runs.iter().take_while(|run| {
            let is_too_much = bytes > max_bytes && !self.keeps;
            bytes -= run.bytes;
            let is_old = now.0.saturating_sub(run.ended.wall().0) >= KEEP_MS || bytes >= KEEP_BYTES;
            is_too_much || (is_old && view.all_have(&run.vector))
        });
        gone.last().map(|run| run.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Hlc, Incarnation, NodeId, Origin, VersionVector};
    use crate::replica::LinkView;

    const MIB: u64 = 1 << 20;
    const NOW: WallMs = WallMs(100_000_000);

    fn vector(counter: u64) -> VersionVector {
        VersionVector::from_iter([Origin::new(NodeId(0), Incarnation(7)).dot(counter)])
    }

    /// Runs of ten ops each, with so many bytes, the last of which ended so many milliseconds ago, the others a second
    /// before the next.
    fn runs(bytes: &[u64], ended_ago: u64) -> Vec<LogRun> {
        let count = bytes.len() as u64;
        let run = |(index, bytes): (usize, &u64)| {
            let index = index as u64;
            let ended = Hlc::at(WallMs(NOW.0 - ended_ago - 1_000 * (count - index - 1)));
            LogRun { last: 10 * (index + 1), bytes: *bytes, ended, vector: vector(10 * (index + 1)) }
        };
        bytes.iter().enumerate().map(run).collect()
    }

    /// A view of peers that have the first ops up to these.
    fn peers(have: &[Option<u64>]) -> View {
        let link = |have: &Option<u64>| LinkView { vector: have.map(vector), ..LinkView::default() };
        View { vector: vector(1_000), links: have.iter().map(link).collect(), ..View::default() }
    }

    fn through(max_mib: u64, runs: &[LogRun], view: &View) -> Option<u64> {
        Trimming::new(max_mib * MIB).through(runs, view, NOW)
    }

    #[test]
    fn what_every_peer_has_goes_once_it_is_old_or_far_behind() {
        let all = peers(&[Some(25), Some(30)]);
        assert_eq!(through(1_024, &runs(&[MIB, MIB, MIB], KEEP_MS - 1), &all), Some(20), "a second before the last");
        assert_eq!(through(1_024, &runs(&[MIB, MIB, MIB], 0), &all), None, "young");
        let large = runs(&[MIB, MIB, 64 * MIB], 0);
        assert_eq!(through(1_024, &large, &all), Some(20), "64 MiB behind it");
        assert_eq!(through(1_024, &large, &peers(&[Some(25), Some(15)])), Some(10), "one lacks the second");
        assert_eq!(through(1_024, &large, &peers(&[Some(25), None])), None, "one was never heard");
        assert_eq!(through(1_024, &large, &peers(&[])), Some(20), "alone");
    }

    #[test]
    fn past_the_limit_it_goes_whoever_lacks_it() {
        let none = peers(&[None]);
        let many = runs(&[10 * MIB; 5], 0);
        assert_eq!(through(64, &many, &none), None);
        assert_eq!(through(32, &many, &none), Some(20));
        assert_eq!(through(4, &many, &none), Some(50));
        assert_eq!(through(4, &[], &none), None);
        let mut keeping = Trimming::new(4 * MIB);
        keeping.keep_what_peers_lack(true);
        assert_eq!(keeping.through(&many, &none, NOW), None);
        assert_eq!(keeping.through(&runs(&[64 * MIB, 64 * MIB], 0), &peers(&[Some(10)]), NOW), Some(10));
    }

    #[test]
    fn of_failures_in_a_row_the_first_is_news() {
        let mut trimming = Trimming::new(4 * MIB);
        let news = [true, true, false, true, true].map(|failed| trimming.is_news(failed));
        assert_eq!(news, [true, false, false, true, false]);
    }
}
