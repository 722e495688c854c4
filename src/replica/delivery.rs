//! The delivery buffer: ops that came before something they depend on.
//!
//! Bounded and volatile: nothing in it was acknowledged, so it may be lost at any time and nothing is ever
//! evicted from it. Each op waits for one missing dot at a time; when that is staged, it is looked at again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::effect::Now;
use super::op::Op;
use crate::causality::{Dot, NodeId};

/// An op with how it came here.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) op: Arc<Op>,
    pub(super) from: NodeId,
    pub(super) at: Now,
}

#[derive(Debug)]
pub(super) struct DeliveryBuffer {
    /// Each with the dot that it waits for.
    waiting: BTreeMap<Dot, (Received, Dot)>,
    /// Missing dot → the ops that wait for it.
    blocked: BTreeMap<Dot, Vec<Dot>>,
    bytes: usize,
    max_ops: usize,
    max_bytes: usize,
    /// Something was refused since half of the room was free, as far as is known: what was taken out may be about to be
    /// put back.
    refused: bool,
}

/// There is no room; nothing changed.
#[derive(Debug)]
pub(super) struct Full;

impl DeliveryBuffer {
    pub(super) fn new(max_ops: usize, max_bytes: usize) -> Self {
        Self { waiting: BTreeMap::new(), blocked: BTreeMap::new(), bytes: 0, max_ops, max_bytes, refused: false }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something was refused, and more than half of the room is still taken. (Not just whether there is no room at
    /// the moment: that changes with every op.)
    pub(super) fn is_full(&self) -> bool {
        self.refused && self.is_half_taken()
    }

    pub(super) fn contains(&self, dot: Dot) -> bool {
        self.waiting.contains_key(&dot)
    }

    /// The dots that ops here wait for.
    pub(super) fn missing(&self) -> impl Iterator<Item = Dot> + '_ {
        self.blocked.keys().copied()
    }

    /// What is really missing when an op waits for `dot`, which may itself be waiting here.
    pub(super) fn root_of(&self, mut dot: Dot) -> Dot {
        // Bounded, because ops that a faulty peer made up could wait for each other.
        for _ in 0..self.waiting.len() {
            match self.waiting.get(&dot) {
                Some((_, missing)) => dot = *missing,
                None => break,
            }
        }
        dot
    }

    /// Keeps a new op until `missing` is staged.
    pub(super) fn insert(&mut self, received: Received, missing: Dot) -> Result<(), Full> {
        let has_room = self.waiting.len() < self.max_ops && self.bytes + size(&received.op) <= self.max_bytes;
        self.refused = (self.refused || !has_room) && self.is_half_taken();
        if !has_room {
            return Err(Full);
        }
        self.put_back(received, missing);
        Ok(())
    }

    /// Keeps an op that was here before until `missing` is staged; there is room for it.
    pub(super) fn put_back(&mut self, received: Received, missing: Dot) {
        self.bytes += size(&received.op);
        self.blocked.entry(missing).or_default().push(received.op.dot);
        self.waiting.insert(received.op.dot, (received, missing));
    }

    /// Takes out the ops that waited for `dot`, in order. Those that wait for something else too are put
    /// back by the caller.
    pub(super) fn take_blocked_on(&mut self, dot: Dot) -> Vec<Received> {
        let mut dots = self.blocked.remove(&dot).unwrap_or_default();
        dots.sort();
        let taken: Vec<Received> =
            dots.iter().filter_map(|dot| self.waiting.remove(dot)).map(|(received, _)| received).collect();
        self.bytes -= taken.iter().map(|received| size(&received.op)).sum::<usize>();
        taken
    }

    /// The same of all, in order of their dots.
    pub(super) fn take_all(&mut self) -> Vec<Received> {
        self.blocked.clear();
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into_values().map(|(received, _)| received).collect()
    }

    /// Whether more than half of the room is.
    fn is_half_taken(&self) -> bool {
        self.waiting.len() > self.max_ops / 2 || self.bytes > self.max_bytes / 2
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_ops, self.max_bytes);
    }
}

fn size(op: &Op) -> usize {
    let entries = op.entries.iter().map(|entry| entry.key.len() + entry.value.as_ref().map_or(0, |value| value.len()));
    entries.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Hlc, Incarnation, Origin, WallMs};
    use crate::replica::{Entry, MonoMs};

    const ORIGIN: Origin = Origin { node: NodeId(0), incarnation: Incarnation(7) };

    /// An op of so many bytes.
    fn received(counter: u64, bytes: usize) -> Received {
        let value = "v".repeat(bytes - 1);
        let entries = vec![Entry { key: "k".into(), value: Some(value.as_str().into()), replaces: vec![] }];
        let (parents, deps, hlc) = (vec![], vec![], Hlc(counter));
        let op = Op { dot: ORIGIN.dot(counter), parents, deps, hlc, entries, trace: None, idempotency_key: None };
        Received { op: Arc::new(op), from: NodeId(0), at: Now { mono: MonoMs(0), wall: WallMs(0) } }
    }

    #[test]
    fn it_is_full_from_a_refusal_until_half_of_it_is_free() {
        let mut buffer = DeliveryBuffer::new(100, 100);
        let missing = |counter| ORIGIN.dot(counter);
        assert!(buffer.insert(received(9, 101), missing(1)).is_err());
        assert!(!buffer.is_full(), "what never fits does not fill it");
        for counter in [11, 21, 31] {
            assert!(buffer.insert(received(counter, 30), missing(counter - 1)).is_ok());
        }
        assert!(!buffer.is_full(), "nothing was refused that would have fitted");
        assert!(buffer.insert(received(41, 30), missing(40)).is_err());
        assert!(buffer.is_full());
        buffer.take_blocked_on(missing(10));
        assert!(buffer.is_full(), "60 of 100 are taken");
        buffer.take_blocked_on(missing(20));
        assert!(!buffer.is_full());
    }

    #[test]
    fn what_is_taken_out_and_put_back_leaves_it_as_full_as_it_was() {
        let missing = |counter| ORIGIN.dot(counter);
        let mut buffer = DeliveryBuffer::new(100, 100);
        for counter in [11, 12] {
            assert!(buffer.insert(received(counter, 40), missing(1)).is_ok());
        }
        assert!(buffer.insert(received(41, 30), missing(40)).is_err());
        let takes: [fn(&mut DeliveryBuffer) -> Vec<Received>; 2] =
            [|buffer| buffer.take_blocked_on(ORIGIN.dot(1)), DeliveryBuffer::take_all];
        for take in takes {
            for received in take(&mut buffer) {
                buffer.put_back(received, missing(2));
            }
            assert_eq!((buffer.len(), buffer.is_full()), (2, true));
        }
        buffer.take_all();
        assert!(!buffer.is_full());
        assert!(buffer.insert(received(51, 60), missing(50)).is_ok());
        assert!(!buffer.is_full(), "nothing was refused since it had room");
    }
}
