//! Repeats: a write that its client sends again, under the same idempotency key, is answered with the op that it became
//! the first time, and writes nothing.
//!
//! Known by their keys are the ops of this node's log that came in the last [`REPEATS_MS`], at most [`MAX_KEYS`] of them;
//! the oldest go first. An op travels with its key, so this holds wherever the op is; two nodes that take the same key
//! without having each other's op make two ops. Of these the one that came first counts, at each node.
//!
//! Promises: a repeat is answered when the op is durable, and as little as the op if its commit fails. Must not touch how
//! ops are ordered or delivered: a peer's op is taken whatever its key.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::Replica;
use super::effect::{Effect, MonoMs, Now, Once, RequestId, WriteError, Written};
use super::op::{Key, Op, Value};
use crate::causality::{Dot, Hlc};

/// For how long an op is found by its idempotency key: by the time it came, or after a restart by its own clock reading.
pub const REPEATS_MS: u64 = 10 * 60 * 1_000;

/// How many ops are found by their keys. Each takes about 250 bytes.
const MAX_KEYS: usize = 100_000;

/// The longest idempotency key. An op that came with a longer one is not found by it.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 64;

/// The newest ops of a log that have an idempotency key, as many as may count; what a start knows repeats by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyedOps(VecDeque<(Arc<str>, Hlc, Known)>);

impl KeyedOps {
    /// Takes note of the op that comes next in the log, if it has a key.
    pub fn note(&mut self, position: u64, op: &Op) {
        let Some(key) = key_of(op) else { return };
        if self.0.len() >= MAX_KEYS {
            self.0.pop_front();
        }
        self.0.push_back((key.clone(), op.hlc, Known::of(position, op)));
    }
}

/// An op that is found by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    dot: Dot,
    position: u64,
    fingerprint: u128,
}

impl Known {
    fn of(position: u64, op: &Op) -> Self {
        let entries = op.entries.iter().map(|entry| (&entry.key, entry.value.as_ref()));
        Self { dot: op.dot, position, fingerprint: fingerprint(entries) }
    }
}

/// What repeats are known by, and those that wait for the first to be durable.
#[derive(Debug)]
pub(super) struct Repeats {
    known: BTreeMap<Arc<str>, Known>,
    /// Until when each of them is known, in the order in which they came.
    order: VecDeque<(MonoMs, Arc<str>)>,
    /// Those of the log at the start, until the first input says what time it is.
    earlier: KeyedOps,
    waiting: Vec<Waiting>,
}

/// A repeat of an op that is not durable yet.
#[derive(Debug)]
struct Waiting {
    position: u64,
    request: RequestId,
    outcome: Result<Written, WriteError>,
}

impl Repeats {
    pub(super) fn new(earlier: KeyedOps) -> Self {
        Self { known: BTreeMap::new(), order: VecDeque::new(), earlier, waiting: Vec::new() }
    }

    /// Takes note of an op that was just staged.
    pub(super) fn note(&mut self, now: Now, position: u64, op: &Op) {
        let Some(key) = key_of(op) else { return };
        self.forget_old(now);
        self.remember(key.clone(), MonoMs(now.mono.0.saturating_add(REPEATS_MS)), Known::of(position, op));
    }

    fn find(&mut self, now: Now, key: &str) -> Option<Known> {
        self.forget_old(now);
        self.known.get(key).copied()
    }

    fn remember(&mut self, key: Arc<str>, until: MonoMs, known: Known) {
        if self.known.contains_key(&key) {
            return;
        }
        if self.order.len() >= MAX_KEYS {
            self.forget_first();
        }
        self.known.insert(key.clone(), known);
        // Clock readings of different nodes may lie a little out of order.
        let until = self.order.back().map_or(until, |(last, _)| until.max(*last));
        self.order.push_back((until, key));
    }

    fn forget_old(&mut self, now: Now) {
        for (key, hlc, known) in std::mem::take(&mut self.earlier).0 {
            let age = now.wall.0.saturating_sub(hlc.wall().0);
            if age < REPEATS_MS {
                self.remember(key, MonoMs(now.mono.0.saturating_add(REPEATS_MS - age)), known);
            }
        }
        while self.order.front().is_some_and(|(until, _)| *until <= now.mono) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.known.remove(&key);
        }
    }
}

impl Replica {
    /// Answers a write whose key is known, as soon as the op that has it is durable; whether that is so.
    pub(super) fn repeat(
        &mut self,
        now: Now,
        request: RequestId,
        once: &Once,
        entries: &[(Key, Option<Value>)],
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(Known { dot, position, fingerprint: first }) = self.repeats.find(now, &once.key) else { return false };
        let outcome = if fingerprint(entries.iter().map(|(key, value)| (key, value.as_ref()))) == first {
            // Not the state's vector: since the first came, others may have written what its client never saw.
            let context = once.context.clone().after_write(dot, &self.ancestry);
            Ok(Written { dot, context, replayed: true })
        } else {
            Err(WriteError::KeyReused { dot })
        };
        if position <= self.durable {
            effects.push(Effect::Written { request, outcome });
        } else {
            self.repeats.waiting.push(Waiting { position, request, outcome });
            if self.read_only {
                self.fail_repeats(effects);
            }
        }
        true
    }

    /// Answers the repeats of what is durable now.
    pub(super) fn answer_repeats(&mut self, effects: &mut Vec<Effect>) {
        let durable = self.durable;
        let ready = self.repeats.waiting.extract_if(.., |waiting| waiting.position <= durable);
        effects.extend(ready.map(|Waiting { request, outcome, .. }| Effect::Written { request, outcome }));
    }

    /// What became of the ops that these are repeats of is unknown.
    pub(super) fn fail_repeats(&mut self, effects: &mut Vec<Effect>) {
        for Waiting { request, outcome, .. } in std::mem::take(&mut self.repeats.waiting) {
            let outcome = outcome.and(Err(WriteError::OutcomeUnknown));
            effects.push(Effect::Written { request, outcome });
        }
    }
}

fn key_of(op: &Op) -> Option<&Arc<str>> {
    op.idempotency_key.as_ref().filter(|key| key.len() <= MAX_IDEMPOTENCY_KEY_BYTES)
}

/// A hash of keys and values, whatever their order: JSON gives none. No key is there twice, so a sum will do. That two
/// different writes have the same is left to chance, one in 2¹²⁸: who makes it come about fools nobody else.
fn fingerprint<'a>(entries: impl Iterator<Item = (&'a Key, Option<&'a Value>)>) -> u128 {
    let hashes = entries.map(|(key, value)| {
        let mut hasher = Xxh3::new();
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
        hasher.update(&[u8::from(value.is_some())]);
        hasher.update(value.map_or(&[], |value| value.as_bytes()));
        hasher.digest128()
    });
    hashes.fold(0, u128::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Incarnation, NodeId, Origin, WallMs};
    use crate::replica::Entry;

    const START: Now = Now { mono: MonoMs(1_000), wall: WallMs(50_000_000) };

    fn later(ms: u64) -> Now {
        Now { mono: MonoMs(START.mono.0 + ms), wall: WallMs(START.wall.0 + ms) }
    }

    fn op(key: &str, counter: u64, wall: WallMs) -> Op {
        let entries = vec![Entry { key: "k".into(), value: Some("v".into()), replaces: vec![] }];
        let dot = Origin::new(NodeId(0), Incarnation(7)).dot(counter);
        let (parents, deps, idempotency_key) = (vec![], vec![], Some(key.into()));
        Op { dot, parents, deps, hlc: Hlc::at(wall), entries, trace: None, idempotency_key }
    }

    fn found(repeats: &mut Repeats, now: Now, key: &str) -> Option<u64> {
        repeats.find(now, key).map(|known| known.dot.counter)
    }

    #[test]
    fn the_oldest_keys_make_room() {
        let mut repeats = Repeats::new(KeyedOps::default());
        let mut earlier = KeyedOps::default();
        let count = MAX_KEYS as u64 + 2;
        for counter in 1..=count {
            let op = op(&counter.to_string(), counter, START.wall);
            repeats.note(START, counter, &op);
            earlier.note(counter, &op);
        }
        for mut repeats in [repeats, Repeats::new(earlier)] {
            for (counter, known) in [(1, false), (2, false), (3, true), (count, true)] {
                assert_eq!(found(&mut repeats, START, &counter.to_string()).is_some(), known, "{counter}");
            }
            assert_eq!((repeats.known.len(), repeats.order.len()), (MAX_KEYS, MAX_KEYS));
        }
    }

    #[test]
    fn keys_are_forgotten_in_the_order_in_which_they_came() {
        let mut repeats = Repeats::new(KeyedOps::default());
        repeats.note(START, 1, &op("a", 1, START.wall));
        repeats.note(later(5), 2, &op("b", 2, START.wall));
        // The first of a key counts, and is not known for longer by another.
        repeats.note(later(7), 3, &op("a", 3, START.wall));
        assert_eq!(found(&mut repeats, later(REPEATS_MS - 1), "a"), Some(1));
        assert_eq!(found(&mut repeats, later(REPEATS_MS), "a"), None);
        assert_eq!(found(&mut repeats, later(REPEATS_MS + 4), "b"), Some(2));
        assert_eq!(found(&mut repeats, later(REPEATS_MS + 5), "b"), None);
        repeats.note(later(REPEATS_MS + 6), 4, &op("a", 4, START.wall));
        assert_eq!(found(&mut repeats, later(REPEATS_MS + 7), "a"), Some(4));
    }

    #[test]
    fn after_a_start_the_age_of_an_op_is_that_of_its_clock_reading() {
        let mut earlier = KeyedOps::default();
        let ago = |ms: u64| WallMs(START.wall.0 - ms);
        earlier.note(1, &op("too old", 1, ago(REPEATS_MS)));
        earlier.note(2, &op("a", 2, ago(REPEATS_MS - 10)));
        earlier.note(3, &op("of a fast clock", 3, later(60_000).wall));
        earlier.note(4, &op("behind it", 4, ago(REPEATS_MS - 20)));
        let mut repeats = Repeats::new(earlier.clone());
        assert_eq!(found(&mut repeats, START, "too old"), None);
        assert_eq!(found(&mut repeats, later(9), "a"), Some(2));
        assert_eq!(found(&mut repeats, later(10), "a"), None);
        assert_eq!(found(&mut repeats, later(REPEATS_MS - 1), "of a fast clock"), Some(3));
        assert_eq!(found(&mut repeats, later(REPEATS_MS - 1), "behind it"), Some(4));
        assert_eq!(found(&mut repeats, later(REPEATS_MS), "behind it"), None);

        // A key that was too old by then is the one of the op that comes next.
        let mut repeats = Repeats::new(earlier);
        repeats.note(START, 5, &op("too old", 5, START.wall));
        repeats.note(START, 6, &op("a", 6, START.wall));
        assert_eq!(found(&mut repeats, START, "too old"), Some(5));
        assert_eq!(found(&mut repeats, START, "a"), Some(2));
    }

    #[test]
    fn an_op_with_a_longer_key_is_not_found_by_it() {
        let (longest, longer) = ("k".repeat(MAX_IDEMPOTENCY_KEY_BYTES), "k".repeat(MAX_IDEMPOTENCY_KEY_BYTES + 1));
        let mut repeats = Repeats::new(KeyedOps::default());
        repeats.note(START, 1, &op(&longer, 1, START.wall));
        repeats.note(START, 2, &op(&longest, 2, START.wall));
        assert_eq!(found(&mut repeats, START, &longer), None);
        assert_eq!(found(&mut repeats, START, &longest), Some(2));
    }

    #[test]
    fn writes_are_told_apart_by_all_of_their_entries_in_whatever_order() {
        let of = |entries: &[(&str, Option<&str>)]| {
            let entries: Vec<(Key, Option<Value>)> =
                entries.iter().map(|(key, value)| ((*key).into(), value.map(Into::into))).collect();
            fingerprint(entries.iter().map(|(key, value)| (key, value.as_ref())))
        };
        let all: [&[(&str, Option<&str>)]; 9] = [
            &[("a", Some("b"))],
            &[("a", Some(""))],
            &[("a", None)],
            &[("ab", Some(""))],
            &[("", Some("ab"))],
            &[("a", Some("1")), ("b", Some("2"))],
            &[("a", Some("2")), ("b", Some("1"))],
            &[("a", Some("1")), ("b", None)],
            &[("a", Some("1")), ("b", Some("2")), ("c", None)],
        ];
        for (place, one) in all.iter().enumerate() {
            let reversed: Vec<_> = one.iter().rev().copied().collect();
            assert_eq!(of(one), of(&reversed), "{one:?}");
            for other in &all[place + 1..] {
                assert_ne!(of(one), of(other), "{one:?}, {other:?}");
            }
        }
    }
}
