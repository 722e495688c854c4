//! One line of log when a limit is reached, and one when that is over: not one a request that is refused.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::node::{NoRoom, NodeHandle};
use crate::storage::DiskSpace;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// For how long there must have been no reason to refuse anything before it is over.
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

/// Watches limits and the disk of a node, until it is dropped.
pub async fn watch(limits: Vec<Limit>, node: NodeHandle) {
    // Nothing was refused before this run: what was before the first look counts, too.
    let mut overloads: Vec<Overload> = limits.iter().map(|_| Overload::default()).collect();
    let mut disk = Disk { min_free: node.min_free_bytes(), is_low: false };
    let mut room = Room::default();
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
        let asked = node.clone();
        if let Ok(Ok(space)) = spawn_blocking(move || asked.disk_space()).await {
            disk.look(space);
        }
        room.look(node.has_room(), Instant::now());
    }
}

/// Whether something is being refused.
#[derive(Debug, Default)]
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

/// Whether the disk has little room left.
#[derive(Debug)]
struct Disk {
    /// With less, writes are refused.
    min_free: u64,
    is_low: bool,
}

impl Disk {
    fn look(&mut self, space: DiskSpace) {
        let free_mib = space.free >> 20;
        if !self.is_low && !is_free(space, LOW_PERCENT) {
            self.is_low = true;
            let then = match self.min_free {
                0 => "a commit that finds no room makes this node read-only".to_owned(),
                bytes => format!("with less than {} MiB writes are refused", bytes >> 20),
            };
            tracing::warn!(
                free_bytes = space.free,
                size_bytes = space.size,
                "the disk is almost full: {free_mib} MiB are left; {then}"
            );
        } else if self.is_low && is_free(space, ENOUGH_PERCENT) {
            self.is_low = false;
            tracing::info!(
                free_bytes = space.free,
                size_bytes = space.size,
                "the disk has room again: {free_mib} MiB are free"
            );
        }
    }
}

fn is_free(space: DiskSpace, percent: u64) -> bool {
    u128::from(space.free) * 100 >= u128::from(space.size) * u128::from(percent)
}

/// Whether writes are refused because the disk has too little room for them.
#[derive(Debug, Default)]
struct Room {
    /// When they last were, and it is not over.
    refused: Option<Instant>,
}

impl Room {
    fn look(&mut self, room: Result<(), NoRoom>, now: Instant) {
        match (room, self.refused) {
            (Err(NoRoom { free, min_free }), refused) => {
                if refused.is_none() {
                    tracing::warn!(
                        free_bytes = free,
                        min_free_bytes = min_free,
                        "no room for writes: {} MiB of the disk are free, and {} MiB have to stay free; reads go on",
                        free >> 20,
                        min_free >> 20
                    );
                }
                self.refused = Some(now);
            }
            (Ok(()), Some(last)) if now - last >= QUIET => {
                self.refused = None;
                tracing::info!("there is room for writes again");
            }
            (Ok(()), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_is_said_once_and_ends_when_it_was_quiet() {
        let start = Instant::now();
        let mut overload = Overload::default();
        let mut look = |refused, seconds| overload.look(refused, start + Duration::from_secs(seconds));
        assert_eq!(look(0, 0), None);
        assert_eq!(look(1, 1), Some(Change::Began));
        assert_eq!(look(6, 2), None);
        assert_eq!(look(6, 6), None);
        assert_eq!(look(7, 7), None, "it goes on");
        assert_eq!(look(7, 11), None);
        assert_eq!(look(7, 12), Some(Change::Ended { refused: 7, seconds: 6.0 }));
        assert_eq!(look(7, 13), None);
        assert_eq!(look(8, 14), Some(Change::Began));
    }

    #[test]
    fn what_was_refused_before_the_first_look_counts() {
        let start = Instant::now();
        let mut overload = Overload::default();
        assert_eq!(overload.look(2, start), Some(Change::Began));
        let ended = overload.look(2, start + QUIET);
        assert_eq!(ended, Some(Change::Ended { refused: 2, seconds: 0.0 }));
    }
}
