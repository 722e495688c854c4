//! Which faults and rare paths occurred. A fault that was never injected proves nothing: a run in which one of these
//! is missing fails.

use std::collections::BTreeMap;

/// Everything that must occur in a run of many schedules.
pub const EXPECTED: &[&str] = &[
    // The network.
    "message lost",
    "message twice",
    "message overtaken",
    "cut one way",
    "cut between two",
    "split",
    "old push again",
    "old piece again",
    "addresses swapped",
    // Disks.
    "unsynced commit lost",
    "unsynced commit torn",
    "unsynced commit kept",
    "write error",
    "sync error",
    "disk full",
    "volume wiped",
    "older copy restored",
    "two owners",
    "two owners told",
    "copy reached at the address",
    // Processes and clocks.
    "crash",
    "crash in recovery",
    "pause",
    "slow disk",
    "clock ahead",
    "clock back",
    "clock frozen",
    // Trimming and state transfer.
    "log trimmed",
    "log trimmed of what a peer lacks",
    "start with a trimmed log",
    "state began to come",
    "state adopted",
    "piece came again",
    "state went on after a piece was lost",
    "state began anew",
    "receiver busy with another state",
    "states both ways at once",
    "another state took over",
    "sender of a state killed",
    "receiver of a state killed",
    "sender of a state paused",
    "receiver of a state paused",
    "state cut off",
    "receiver of a state on another volume",
    "sender of a state on another volume",
    "receiver of a state copied",
    "disk failed under a state",
    "crash while adopting: old state",
    "crash while adopting: new state",
    "crash before an adoption was heard of",
    "adoption failed",
    "adopted while writes wait",
    "adopted with ops that came meanwhile",
    "ops that waited looked at after an adoption",
    "wiped volume filled",
    "older copy filled",
    "older copy filled that was cut off",
    "read while a state is coming in",
    "write while a state is coming in",
    "state of one of two owners",
    "state into one of two owners",
    // Clients.
    "write without context",
    "write of what was seen",
    "write of what is held, with a context",
    "write of several keys",
    "delete",
    "stale context",
    "context of another session",
    "answer to a client lost",
    "write sent again",
    "write sent again under its name",
    "write known by its name",
    "context not reached",
    "too many siblings",
    "read only",
    "siblings shown",
    // Rare paths of the replica.
    "ops forwarded",
    "op waited in the buffer",
    "op refused: buffer full",
    "redundant op",
    "push misdirected",
    "push refused: read only",
    "incarnation with a parent",
    "incarnation with several parents",
    "entry known only by implication",
];

/// How often each occurred.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// It occurred.
    pub fn count(&mut self, what: &'static str) {
        debug_assert!(EXPECTED.contains(&what), "'{what}' is not in the list");
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Coverage) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What did not occur.
    pub fn missing(&self) -> Vec<&'static str> {
        EXPECTED.iter().copied().filter(|what| !self.0.contains_key(what)).collect()
    }

    /// All, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EXPECTED.iter().map(|what| (*what, self.0.get(what).copied().unwrap_or(0)))
    }
}
