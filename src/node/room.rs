//! Whether the disk has room for more: without it a write is refused before anything of it is staged, because a commit
//! that finds none makes the node read-only.
//!
//! Promises: the disk is asked by whoever comes by, at most once in [`LOOK_EVERY_MS`], and nobody waits for another. What
//! was let in since, or had not reached the disk when it was asked, is taken off what it said.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How long the disk's answer is good, in milliseconds.
const LOOK_EVERY_MS: u64 = 200;

/// The disk has too little room for it; it may have more later. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too little room on the disk: {free} bytes are free, and {min_free} have to stay free")]
pub struct NoRoom {
    /// What is free, without what is on its way to the disk.
    pub free: u64,
    /// How much has to stay free.
    pub min_free: u64,
}

/// Room on a disk, of which some stays free.
pub(super) struct Room {
    min_free: u64,
    /// Asks the disk how much is free.
    ask: Box<dyn Fn() -> u64 + Send + Sync>,
    started: Instant,
    /// When it is to be asked next, in milliseconds since the start.
    next_look: AtomicU64,
    /// What is free, without what was let in.
    free: AtomicU64,
}

impl Room {
    /// Keeps so many bytes free; 0: anything is let in, and the disk is never asked.
    pub(super) fn new(min_free: u64, ask: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let room = Self {
            min_free,
            ask: Box::new(ask),
            started: Instant::now(),
            next_look: AtomicU64::new(0),
            free: AtomicU64::new(0),
        };
        if min_free > 0 {
            room.look(0, 0);
        }
        room
    }

    pub(super) fn min_free(&self) -> u64 {
        self.min_free
    }

    /// Takes room for so many bytes, while `waiting` of those let in before have not reached the disk.
    pub(super) fn take(&self, bytes: usize, waiting: usize) -> Result<(), NoRoom> {
        if self.min_free == 0 {
            return Ok(());
        }
        self.take_at(self.started.elapsed().as_millis() as u64, bytes, waiting)
    }

    fn take_at(&self, now: u64, bytes: usize, waiting: usize) -> Result<(), NoRoom> {
        self.look(now, waiting);
        let left = |free: u64| free.checked_sub(bytes as u64).filter(|left| *left >= self.min_free);
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.map(drop).map_err(|free| NoRoom { free, min_free: self.min_free })
    }

    /// Asks the disk, if it is time to.
    fn look(&self, now: u64, waiting: usize) {
        let due = self.next_look.load(Ordering::Relaxed);
        let next = now + LOOK_EVERY_MS;
        let is_mine = || self.next_look.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if due <= now && is_mine() {
            self.free.store((self.ask)().saturating_sub(waiting as u64), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Room that keeps 100 bytes free, the disk's answer, and how often it was asked.
    fn room(free: u64) -> (Room, Arc<AtomicU64>, Arc<AtomicU64>) {
        let (free, asked) = (Arc::new(AtomicU64::new(free)), Arc::new(AtomicU64::new(0)));
        let (disk, count) = (free.clone(), asked.clone());
        let ask = move || {
            count.fetch_add(1, Ordering::Relaxed);
            disk.load(Ordering::Relaxed)
        };
        (Room::new(100, ask), free, asked)
    }

    #[test]
    fn what_has_to_stay_free_stays_free_whatever_is_let_in_between_two_looks() {
        let (room, ..) = room(130);
        assert_eq!(room.take_at(1, 31, 0), Err(NoRoom { free: 130, min_free: 100 }), "too large for what is left");
        assert_eq!(room.take_at(1, 20, 0), Ok(()));
        assert_eq!(room.take_at(2, 11, 20), Err(NoRoom { free: 110, min_free: 100 }));
        assert_eq!(room.take_at(2, 10, 20), Ok(()));
        assert_eq!(room.take_at(2, 0, 30), Ok(()), "just as much is left as has to be");
        assert_eq!(room.take_at(2, 1, 30), Err(NoRoom { free: 100, min_free: 100 }));
    }

    #[test]
    fn what_waits_for_the_disk_when_it_is_asked_counts_as_written() {
        let (room, ..) = room(130);
        assert_eq!(room.take_at(LOOK_EVERY_MS, 10, 25), Err(NoRoom { free: 105, min_free: 100 }));
        assert_eq!(room.take_at(LOOK_EVERY_MS, 5, 25), Ok(()));
    }

    #[test]
    fn it_heals_when_the_disk_has_room_again_and_the_disk_is_not_asked_more_often_than_it_is_good_for() {
        let (room, free, asked) = room(99);
        assert!(room.take_at(0, 0, 0).is_err());
        free.store(1_000, Ordering::Relaxed);
        assert!(room.take_at(LOOK_EVERY_MS - 1, 1, 0).is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(room.take_at(LOOK_EVERY_MS, 1, 0), Ok(()));
        assert_eq!(room.take_at(LOOK_EVERY_MS, 1, 0), Ok(()));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        free.store(0, Ordering::Relaxed);
        assert!(room.take_at(2 * LOOK_EVERY_MS, 0, 0).is_err());
    }

    #[test]
    fn nothing_has_to_stay_free_when_that_is_what_is_wanted() {
        let room = Room::new(0, || panic!("it is never asked"));
        assert_eq!(room.take(usize::MAX, 0), Ok(()));
        assert_eq!(room.take(usize::MAX, usize::MAX), Ok(()));
    }
}
