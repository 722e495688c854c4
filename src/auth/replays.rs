//! What came before: each number of each run of a caller is taken once.

use std::collections::BTreeMap;

use super::claim::Challenge;

/// How far behind the highest number of its run a request may come: some are under way at a time.
pub const WINDOW: u64 = 64;

/// How many runs are known at a time. Each peer has two, and two more after each start.
pub const MAX_RUNS: usize = 4096;

/// The requests that a process has taken under its present challenge.
///
/// When there are more runs than can be known, all are forgotten, and the challenge is another from then on: whatever was
/// taken before names the old one, and is refused for that.
#[derive(Debug)]
pub struct Replays {
    challenge: Challenge,
    runs: BTreeMap<u64, Window>,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is meant for another process, or for this one before it began anew.
    OtherChallenge,
    /// It came before, or so long ago that it may have.
    Replayed,
}

impl Replays {
    /// Of a process, by random bits of its own.
    pub fn new(boot: u64) -> Self {
        Self { challenge: Challenge { boot, epoch: 0 }, runs: BTreeMap::new() }
    }

    /// What requests must name.
    pub fn challenge(&self) -> Challenge {
        self.challenge
    }

    /// Takes a request that is proven to be by who it says, unless it is known.
    pub fn take(&mut self, challenge: Challenge, run: u64, number: u64) -> Result<(), Known> {
        if challenge != self.challenge {
            return Err(Known::OtherChallenge);
        }
        if let Some(window) = self.runs.get_mut(&run) {
            return if window.take(number) { Ok(()) } else { Err(Known::Replayed) };
        }
        if self.runs.len() == MAX_RUNS {
            self.runs.clear();
            self.challenge.epoch += 1;
            return Err(Known::OtherChallenge);
        }
        self.runs.insert(run, Window { highest: number, taken: 1 });
        Ok(())
    }
}

/// The highest number so far, and which of the [`WINDOW`] up to it came: the lowest bit is the highest number.
#[derive(Debug)]
struct Window {
    highest: u64,
    taken: u64,
}

impl Window {
    fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            let ahead = number - self.highest;
            self.taken = if ahead < WINDOW { self.taken << ahead | 1 } else { 1 };
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        let bit = if behind < WINDOW { 1 << behind } else { return false };
        let is_new = self.taken & bit == 0;
        self.taken |= bit;
        is_new
    }
}
