//! Admission: how much may wait for the disk at once.
//!
//! A fixed limit on how many may wait bounds memory, and not how long they wait: that is as different as disks and writes
//! are. So how many writes may wait at once follows from how long they do ([`Pace`]): when they wait longer than they
//! should, only as many are let in as are answered in the time that they may wait; the rest is refused at once, before
//! anything is done for it. Pushes have a limit of their own: they are few, each peer sends one at a time, and however many
//! clients there are must not keep peers' ops out.
//!
//! Promises: as many as may always wait are never refused for being too slow; nobody waits for a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// So many may wait however long it takes: what a disk needs to be busy, and no more than some clients that each send when
/// they were answered.
const FEW: usize = 64;

/// How often is looked at how long they waited.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// For so many looks in a row they must have waited too long: a disk that stops for a moment is no overload.
const PATIENCE: u32 = 4;

/// When more than [`FEW`] writes wait, they may have this part of the bytes that may wait. How long they will wait is not known
/// yet when all come at once: large ones must not be as many then as small ones may be. By measurement: writes of
/// 64 KiB wait in a flood less than twice as long as [`FEW`] of them do without one.
const PART_FOR_MANY: usize = 12;

/// How much may wait for the disk at once, of writes, and of pushes again as much.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimit {
    /// Requests.
    pub requests: usize,
    /// Bytes of their keys and values; of more writes than [`FEW`], a twelfth of that. One request is admitted whatever
    /// its size when nothing else waits.
    pub bytes: usize,
    /// How long writes may wait on average before fewer are let in; half as long again as [`FEW`] wait, if that is more.
    pub wait: Duration,
}

/// As much waits for the disk as may; try again later. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[error("{requests} requests with {bytes} bytes are waiting for the disk or on their way; no more may")]
pub struct Overloaded {
    /// How many requests, with this one.
    pub requests: usize,
    /// How many bytes, with this one's.
    pub bytes: usize,
}

/// Bounds what waits for the disk, of one kind of requests.
pub(super) struct Admission {
    limit: AdmissionLimit,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    refused: AtomicU64,
    /// How many may wait at the moment.
    may_wait: AtomicUsize,
    /// `None` where how long they wait is not looked at.
    pace: Option<Mutex<Pace>>,
    waits: Waits,
    started: Instant,
    next_look_us: AtomicU64,
}

/// How long those waited that were answered since the last look.
#[derive(Default)]
struct Waits {
    answered: AtomicU64,
    waited_us: AtomicU64,
    /// How many waited at the same time, at most, and how many bytes.
    most: AtomicUsize,
    most_bytes: AtomicUsize,
}

impl Admission {
    /// Of writes: as many as the disk can take in time.
    pub(super) fn of_writes(limit: AdmissionLimit) -> Self {
        let pace = Pace { may_wait: limit.requests, most: limit.requests, wait_us: us(limit.wait), ..Pace::default() };
        Self { pace: Some(Mutex::new(pace)), ..Self::of_pushes(limit) }
    }

    /// Of pushes: as many as there is room for.
    pub(super) fn of_pushes(limit: AdmissionLimit) -> Self {
        Self {
            limit,
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            may_wait: AtomicUsize::new(limit.requests),
            pace: None,
            waits: Waits::default(),
            started: Instant::now(),
            next_look_us: AtomicU64::new(us(LOOK_EVERY)),
        }
    }

    /// How many wait.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many bytes these have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many may wait at the moment.
    pub(super) fn may_wait(&self) -> usize {
        self.may_wait.load(Ordering::Relaxed)
    }

    /// Whether one more would be let in now. Takes no place.
    pub(super) fn has_room(&self, bytes: usize) -> Result<(), Overloaded> {
        self.has_room_behind(0, 0, bytes)
    }

    /// Whether one more would be let in now behind so many, with so many bytes, that are on their way. Takes no place.
    pub(super) fn has_room_behind(&self, coming: usize, coming_bytes: usize, bytes: usize) -> Result<(), Overloaded> {
        let (requests, before) = (self.requests(), self.bytes().saturating_add(coming_bytes));
        let is_first = requests + coming == 0;
        if is_first || (requests < self.may_wait() && self.have_room(requests + coming + 1, before, bytes)) {
            return Ok(());
        }
        Err(self.refuse(requests + 1, before.saturating_add(bytes)))
    }

    /// Whether more wait than always may, or half of the bytes that may, or did a moment ago: then what is on its way counts,
    /// or it comes only to be refused. Else it does not: it may never come.
    pub(super) fn is_busy(&self) -> bool {
        let is_much = |requests, bytes| requests > FEW || bytes > self.limit.bytes / 2;
        let seen = |most: &AtomicUsize| most.load(Ordering::Relaxed);
        // Looks come with answers; without them, what was seen is soon no longer so.
        let is_old = us(self.started.elapsed()) > self.next_look_us.load(Ordering::Relaxed) + us(LOOK_EVERY);
        is_much(self.requests(), self.bytes())
            || (!is_old && is_much(seen(&self.waits.most), seen(&self.waits.most_bytes)))
    }

    /// Whether so many bytes on their way take more than half of what many may have with those that wait.
    pub(super) fn is_half_full(&self, coming_bytes: usize) -> bool {
        self.bytes().saturating_add(coming_bytes) > self.limit.bytes / PART_FOR_MANY / 2
    }

    /// Takes a place.
    pub(super) fn admit(self: Arc<Self>, bytes: usize) -> Result<Admitted, Overloaded> {
        self.take(bytes, false)
    }

    /// Takes a place for one that there was room for before its body came: now that it is here, to refuse it would waste
    /// what it took to send and to read it.
    pub(super) fn admit_expected(self: Arc<Self>, bytes: usize) -> Result<Admitted, Overloaded> {
        self.take(bytes, true)
    }

    /// Who is expected is refused only past what may ever wait.
    fn take(self: Arc<Self>, bytes: usize, is_expected: bool) -> Result<Admitted, Overloaded> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let admitted = Admitted { admission: self, bytes, since: Instant::now() };
        let admission = &admitted.admission;
        let all_bytes = before.saturating_add(bytes);
        let has_room = match is_expected {
            true => requests <= admission.limit.requests && all_bytes <= admission.limit.bytes,
            false => requests <= admission.may_wait() && admission.have_room(requests, before, bytes),
        };
        if requests > 1 && !has_room {
            return Err(admission.refuse(requests, all_bytes));
        }
        admission.waits.most.fetch_max(requests, Ordering::Relaxed);
        admission.waits.most_bytes.fetch_max(all_bytes, Ordering::Relaxed);
        Ok(admitted)
    }

    fn refuse(&self, requests: usize, bytes: usize) -> Overloaded {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Overloaded { requests, bytes }
    }

    /// Whether there is room for so many bytes behind those `before`, of so many requests in all. A single one may go over the
    /// part of many: it may be larger than that.
    fn have_room(&self, requests: usize, before: usize, bytes: usize) -> bool {
        let is_of_many = self.pace.is_some() && requests > FEW;
        let has_part = !is_of_many || before < self.limit.bytes / PART_FOR_MANY;
        has_part && before.saturating_add(bytes) <= self.limit.bytes
    }

    fn answered(&self, waited: Duration) {
        let Some(pace) = &self.pace else { return };
        let waits = &self.waits;
        waits.answered.fetch_add(1, Ordering::Relaxed);
        waits.waited_us.fetch_add(us(waited), Ordering::Relaxed);
        let now = us(self.started.elapsed());
        if now < self.next_look_us.load(Ordering::Relaxed) {
            return;
        }
        // Who finds it locked comes while another looks.
        let Ok(mut pace) = pace.try_lock() else { return };
        let began = self.next_look_us.swap(now + us(LOOK_EVERY), Ordering::Relaxed).saturating_sub(us(LOOK_EVERY));
        self.may_wait.store(
            pace.look(&waits.take(self.requests(), self.bytes()), now.saturating_sub(began).max(1)),
            Ordering::Relaxed,
        );
    }
}

impl Waits {
    /// Those who wait now count from the next time on, too.
    fn take(&self, waiting: usize, bytes: usize) -> Seen {
        self.most_bytes.store(bytes, Ordering::Relaxed);
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Seen {
            answered: take(&self.answered),
            waited_us: take(&self.waited_us),
            most: self.most.swap(waiting, Ordering::Relaxed),
        }
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A request's place among those that wait, for as long as it lives.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    bytes: usize,
    since: Instant,
}

impl Admitted {
    /// The disk has it, or it was refused by what is behind it.
    pub(super) fn answered(self) {
        self.admission.answered(self.since.elapsed());
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Ordering::Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What was seen since the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    answered: u64,
    waited_us: u64,
    most: usize,
}

/// How many may wait, by how long they do.
///
/// How long they may wait depends on the disk: as long as is configured, or half as long again as they did while only
/// few waited at any time, if that is more. (Those who met few when they came say nothing: many may have come behind them,
/// into the same commit.) So a disk that takes long for every commit is not taken for one that has too much to do: it
/// takes as long for one write as for a thousand, and to refuse some would help nobody.
#[derive(Debug, Default)]
struct Pace {
    may_wait: usize,
    /// However short they wait.
    most: usize,
    /// How long they may wait on any disk.
    wait_us: u64,
    /// How long they wait when they are few.
    few_us: u64,
    /// For how many looks they have waited too long.
    late: u32,
}

impl Pace {
    /// How many may wait from now on, after what was seen in `time_us`.
    fn look(&mut self, seen: &Seen, time_us: u64) -> usize {
        let Some(waited) = seen.waited_us.checked_div(seen.answered) else { return self.may_wait };
        self.few_us = match (seen.most <= FEW, self.few_us) {
            (true, 0) => waited,
            (true, before) => u64::midpoint(before, waited),
            // What was seen long ago may not be so any more: it is forgotten until few are let in again, and seen anew.
            (false, before) => before - before / 512,
        };
        let allowed = self.wait_us.max(self.few_us + self.few_us / 2);
        if waited > allowed {
            self.late += 1;
            if self.late >= PATIENCE {
                // As many as are answered in three quarters of that time (Little's law).
                let in_time = u128::from(seen.answered) * u128::from(allowed) * 3 / 4 / u128::from(time_us);
                let few = FEW.min(self.most);
                self.may_wait = usize::try_from(in_time).unwrap_or(usize::MAX).clamp(few, self.may_wait.max(few));
            }
        } else {
            self.late = self.late.min(PATIENCE).saturating_sub(1);
            // Only when as many come as may: that few came says nothing of how long many would wait. And how long those
            // wait who are let in from now on is seen only when they are answered, so they are a few more at a time.
            let come = seen.most > self.may_wait / 2;
            if come && waited < allowed / 4 * 3 {
                let more = if waited < allowed / 4 { self.may_wait / 2 } else { self.may_wait / 16 };
                self.may_wait = self.may_wait.saturating_add(more.max(FEW / 8)).min(self.most);
            }
        }
        self.may_wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn pace() -> Pace {
        Pace { may_wait: 4096, most: 4096, wait_us: 20_000, ..Pace::default() }
    }

    /// Many clients of a disk: how long they wait, and how many are let in, for so many looks.
    fn play(pace: &mut Pace, looks: usize, clients: usize, took_us: impl Fn(usize) -> u64) -> Vec<(u64, usize)> {
        let look = |_| {
            let waiting = clients.min(pace.may_wait);
            let waited_us = took_us(waiting);
            let answered = (waiting as u64 * SECOND_US / 10 / waited_us).max(1);
            let seen = Seen { answered, waited_us: answered * waited_us, most: waiting };
            (waited_us, pace.look(&seen, SECOND_US / 10))
        };
        (0..looks).map(look).collect()
    }

    /// A disk that takes 4,000 a second.
    fn busy(waiting: usize) -> u64 {
        waiting as u64 * 250
    }

    #[test]
    fn too_many_are_not_let_in_until_they_wait_no_longer_than_they_may() {
        let mut pace = pace();
        let seen = play(&mut pace, 200, 4096, busy);
        assert_eq!(seen[2].1, 4096, "not at once");
        // 64 of them wait 16 ms: half as much again is more than 20 ms.
        let late = seen[20..].iter().filter(|(waited, _)| *waited > 24_000).count();
        assert!(late < 20 && seen[20..].iter().all(|(waited, _)| *waited <= 36_000), "{late} of 180: {seen:?}");
        assert!(pace.may_wait >= FEW);
    }

    #[test]
    fn all_are_let_in_again_soon_when_they_come_and_wait_shorter() {
        let mut pace = pace();
        play(&mut pace, 200, 4096, busy);
        assert!(pace.may_wait < 100);
        play(&mut pace, 16, 4096, |waiting| waiting as u64 * 2);
        assert_eq!(pace.may_wait, 4096);
    }

    #[test]
    fn that_few_came_for_a_while_lets_in_no_more() {
        let mut pace = pace();
        play(&mut pace, 200, 4096, busy);
        let may_wait = pace.may_wait;
        play(&mut pace, 100, 8, busy);
        assert_eq!(pace.may_wait, may_wait);
    }

    #[test]
    fn who_always_may_wait_does_so_on_the_slowest_disk() {
        let mut pace = pace();
        let seen = play(&mut pace, 100, FEW, |waiting| 10_000 + waiting as u64 * 10_000);
        assert!(seen.iter().all(|(_, may_wait)| *may_wait >= FEW));
    }

    /// What came is seen late: after so many looks, with all who were let in until then before them.
    #[test]
    fn in_a_flood_no_more_are_let_in_than_it_takes_to_see_that_they_are_too_many() {
        let mut pace = pace();
        let mut waiting = 0_usize;
        let mut waits = Vec::new();
        for _ in 0..600 {
            // 400 a look, by a disk that takes 4,000 a second, as long as somebody waits.
            waiting = waiting.max(pace.may_wait.min(4096));
            let answered = waiting.min(400);
            let waited_us = waiting as u64 * 250;
            let seen = Seen { answered: answered as u64, waited_us: answered as u64 * waited_us, most: waiting };
            waiting -= answered;
            pace.look(&seen, SECOND_US / 10);
            waits.push(waited_us);
        }
        let settled = &waits[100..];
        assert!(settled.iter().all(|waited_us| *waited_us < 60_000), "{settled:?}");
    }

    /// To refuse some of those that go into one commit would make it no shorter.
    #[test]
    fn a_disk_that_takes_as_long_for_one_as_for_many_gets_many() {
        let mut pace = pace();
        play(&mut pace, 10, 1000, |_| 1_000);
        let slow = play(&mut pace, 400, 1000, |_| 500_000);
        let let_in = slow[20..150].iter().filter(|(_, may_wait)| *may_wait >= 1000).count();
        assert!(let_in > 100, "{let_in} of 130: {slow:?}");
    }

    #[test]
    fn a_moment_without_a_commit_is_no_overload() {
        let mut pace = pace();
        play(&mut pace, 20, 256, |_| 5_000);
        let stopped = play(&mut pace, 3, 256, |_| 150_000);
        assert!(stopped.iter().all(|(_, may_wait)| *may_wait == 4096), "{stopped:?}");
        assert_eq!(play(&mut pace, 3, 256, |_| 5_000).last().map(|(_, may_wait)| *may_wait), Some(4096));
    }

    #[test]
    fn a_limit_below_the_few_stays_as_it_is() {
        let mut pace = Pace { may_wait: 1, most: 1, wait_us: 20_000, ..Pace::default() };
        play(&mut pace, 50, 10, |_| 500_000);
        assert_eq!(pace.may_wait, 1);
    }
}
