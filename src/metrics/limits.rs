//! One line of log when a limit is reached, and one when that is over: not one a request that is refused.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long nothing may have been refused before it is over.
const QUIET: Duration = Duration::from_secs(5);

/// With less than so much of the disk free there is too little, and from so much on there is enough again, in percent.
const LOW_PERCENT: u64 = 10;
const ENOUGH_PERCENT: u64 = 12;

/// Something that is refused past a limit.
pub struct Limit {
    /// Of what there is too much, for people.
    pub what: &'static str,
    /// How often that was refused so far.
    pub refused: Box<dyn Fn() -> u64 + Send>,
}

/// Watches limits and the disk of a data directory, until it is dropped.
pub async fn watch(limits: Vec<Limit>, data_dir: PathBuf) {
    let mut overloads: Vec<Overload> = limits.iter().map(|limit| Overload::new((limit.refused)())).collect();
    let mut disk = Disk::default();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (limit, overload) in limits.iter().zip(&mut overloads) {
            match overload.look((limit.refused)(), Instant::now()) {
                Some(Change::Began) => tracing::warn!("overloaded: too many {}; some are refused", limit.what),
                Some(Change::Ended { refused, seconds }) => {
                    let what = limit.what;
                    tracing::info!(
                        refused,
                        "no longer overloaded: {refused} refusals in {seconds:.0} s because too many {what}"
                    );
                }
                None => {}
            }
        }
        // It may be a disk of a network that hangs. What can't be asked is told by what needs the disk.
        let directory = data_dir.clone();
        if let Ok(Ok(space)) = spawn_blocking(move || disk_space(&directory)).await {
            disk.look(space);
        }
    }
}

/// Whether something is being refused.
#[derive(Debug)]
struct Overload {
    refused: u64,
    /// When it began, with how much had been refused before, and when it was last seen.
    since: Option<(Instant, u64, Instant)>,
}

#[derive(Debug, PartialEq)]
enum Change {
    Began,
    Ended { refused: u64, seconds: f64 },
}

impl Overload {
    fn new(refused: u64) -> Self {
        Self { refused, since: None }
    }

    fn look(&mut self, refused: u64, now: Instant) -> Option<Change> {
        let before = std::mem::replace(&mut self.refused, refused);
        match &mut self.since {
            None if refused > before => {
                self.since = Some((now, before, now));
                Some(Change::Began)
            }
            Some((.., last)) if refused > before => {
                *last = now;
                None
            }
            Some((began, before, last)) if now - *last >= QUIET => {
                let ended = Change::Ended { refused: refused - *before, seconds: (*last - *began).as_secs_f64() };
                self.since = None;
                Some(ended)
            }
            _ => None,
        }
    }
}

/// Room on a file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskSpace {
    pub(super) size: u64,
    /// For who has no privileges.
    pub(super) free: u64,
}

impl DiskSpace {
    fn is_at_least(self, percent: u64) -> bool {
        u128::from(self.free) * 100 >= u128::from(self.size) * u128::from(percent)
    }
}

/// The room on the file system that a directory is on.
pub(super) fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskSpace { size: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// Whether the disk has little room left.
#[derive(Debug, Default)]
struct Disk {
    is_low: bool,
}

impl Disk {
    fn look(&mut self, space: DiskSpace) {
        let free_mib = space.free >> 20;
        if !self.is_low && !space.is_at_least(LOW_PERCENT) {
            self.is_low = true;
            tracing::warn!(
                free_bytes = space.free,
                size_bytes = space.size,
                "the disk is almost full: {free_mib} MiB are left; a commit that finds no room makes this node read-only"
            );
        } else if self.is_low && space.is_at_least(ENOUGH_PERCENT) {
            self.is_low = false;
            tracing::info!(
                free_bytes = space.free,
                size_bytes = space.size,
                "the disk has room again: {free_mib} MiB are free"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_is_said_once_and_ends_when_it_was_quiet() {
        let start = Instant::now();
        let mut overload = Overload::new(3);
        let mut look = |refused, seconds| overload.look(refused, start + Duration::from_secs(seconds));
        assert_eq!(look(3, 0), None, "refused before anybody watched");
        assert_eq!(look(4, 1), Some(Change::Began));
        assert_eq!(look(9, 2), None);
        assert_eq!(look(9, 6), None);
        assert_eq!(look(10, 7), None, "it goes on");
        assert_eq!(look(10, 11), None);
        assert_eq!(look(10, 12), Some(Change::Ended { refused: 7, seconds: 6.0 }));
        assert_eq!(look(10, 13), None);
        assert_eq!(look(11, 14), Some(Change::Began));
    }
}
