//! The hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): wall-clock time that never
//! runs behind what was seen. For people and for `resolve=newest`; no op is ordered by it.

/// Wall-clock time in milliseconds since the Unix epoch. Comes in from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallMs(pub u64);

/// How far a remote clock may move ours ahead of the wall clock, in milliseconds.
pub const MAX_REMOTE_AHEAD_MS: u64 = 60_000;

/// One reading: milliseconds since the Unix epoch in the upper 48 bits, a logical counter in the lower 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hlc(pub u64);

const LOGICAL_BITS: u32 = 16;

impl Hlc {
    /// The first reading of a millisecond.
    pub fn at(wall: WallMs) -> Self {
        Self(wall.0 << LOGICAL_BITS)
    }

    /// The wall-clock part.
    pub fn wall(self) -> WallMs {
        WallMs(self.0 >> LOGICAL_BITS)
    }
}

/// The clock of one node. Readings it gives strictly increase, whatever the wall clock does.
#[derive(Clone, Debug, Default)]
pub struct HybridClock {
    last: Hlc,
}

impl HybridClock {
    /// A clock that goes on from `last`, the highest reading that was stored.
    pub fn resume(last: Hlc) -> Self {
        Self { last }
    }

    /// The highest reading given or heard so far.
    pub fn last(&self) -> Hlc {
        self.last
    }

    /// A reading for a new op.
    pub fn tick(&mut self, wall: WallMs) -> Hlc {
        self.last = Hlc(self.last.0 + 1).max(Hlc::at(wall));
        self.last
    }

    /// Takes note of an op heard from elsewhere, as far as it is not too far ahead of the wall clock.
    pub fn observe(&mut self, remote: Hlc, wall: WallMs) {
        let limit = Hlc::at(WallMs(wall.0.saturating_add(MAX_REMOTE_AHEAD_MS)));
        self.last = self.last.max(remote.min(limit));
    }
}
