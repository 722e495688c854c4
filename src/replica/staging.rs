//! Staging: giving ops their place in the log and working out what follows from them, ahead of the disk; and
//! what happens when the disk has them, or fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delivery::Received;
use super::effect::{Append, Effect, Now, Replaces, RequestId, Totals, Visible, WriteError, Written};
use super::message::Rejection;
use super::op::{Entry, Key, Op};
use super::siblings::Siblings;
use super::{KeyStates, Replica, Unreadable};
use crate::causality::{CausalContext, Dot, NodeId, WallMs};

/// The states of keys that staged ops wrote, with the position of the last of them. Lies over the store.
#[derive(Debug, Default)]
pub(super) struct Overlay(BTreeMap<Key, (u64, Siblings)>);

/// The siblings of the keys of an op.
pub(super) type Held = Vec<(Key, Siblings)>;

/// An op between its staging and its commit.
#[derive(Debug)]
pub(super) struct Staged {
    position: u64,
    op: Arc<Op>,
    source: Source,
    received: WallMs,
    /// After it.
    totals: Totals,
}

/// Where a staged op came from, and with that, who is waiting for it.
#[derive(Debug)]
pub(super) enum Source {
    /// A client here, who is to be told; what it asked to replace decides what it has seen then.
    Client(RequestId, Replaces),
    /// A peer. Its push is answered when the log is durable up to some position (`PendingAnswer`).
    Peer(NodeId),
}

impl Replica {
    /// The siblings of a key as of the last op staged.
    pub(super) fn staged_siblings(&self, key: &str, states: &dyn KeyStates) -> Result<Siblings, Unreadable> {
        match self.overlay.0.get(key) {
            Some((_, siblings)) => Ok(siblings.clone()),
            None => states.siblings(key),
        }
    }

    /// The same where what is not in `replaces` need not be there: `None` stands for all.
    pub(super) fn staged_outline(
        &self,
        key: &str,
        replaces: Option<&[Dot]>,
        states: &dyn KeyStates,
    ) -> Result<Siblings, Unreadable> {
        if self.overlay.0.contains_key(key) {
            return self.staged_siblings(key, states);
        }
        let outline = states.outline(key)?;
        let replaced = |dot| replaces.is_none_or(|replaces| replaces.contains(&dot));
        // What stays must be known in full.
        if outline.iter().all(|sibling| replaced(sibling.dot)) { Ok(outline) } else { states.siblings(key) }
    }

    /// Puts an op at the end of the log. `held` is what its keys have before it, in the order of its entries.
    pub(super) fn stage(&mut self, op: Arc<Op>, held: Held, source: Source, received: Now, effects: &mut Vec<Effect>) {
        self.position += 1;
        if !op.parents.is_empty() {
            Arc::make_mut(&mut self.ancestry).insert(op.dot.origin, &op.parents);
        }
        self.ancestry.advance(&mut self.staged, op.dot);
        if op.dot.origin.node != self.options.node {
            self.changed.insert(op.dot.origin, op.dot.counter);
        }
        let mut states = held;
        for (entry, (key, siblings)) in op.entries.iter().zip(&mut states) {
            self.staged_totals.remove(siblings);
            siblings.apply(op.dot, op.hlc, self.position, entry);
            self.staged_totals.add(siblings);
            self.overlay.0.insert(key.clone(), (self.position, siblings.clone()));
        }
        effects.push(Effect::Append(Append { position: self.position, op: op.clone(), states }));
        self.repeats.note(received, self.position, &op);
        let (totals, received) = (self.staged_totals, received.wall);
        self.pending.push_back(Staged { position: self.position, op, source, received, totals });
    }

    /// Stages a peer's op whose turn has come, and then every op of the buffer whose turn that makes it.
    pub(super) fn deliver(
        &mut self,
        first: Received,
        states: &dyn KeyStates,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Unreadable> {
        let mut ready = Vec::new();
        let mut next = Some(first);
        while let Some(Received { op, from, at }) = next {
            let dot = op.dot;
            self.clock.observe(op.hlc, at.wall);
            // Unreadable: this op and those behind it are dropped; none was acknowledged, so they come again.
            let mut held = Held::with_capacity(op.entries.len());
            for Entry { key, replaces, .. } in &op.entries {
                held.push((key.clone(), self.staged_outline(key, Some(replaces), states)?));
            }
            self.stage(op, held, Source::Peer(from), at, effects);
            for waiting in self.buffer.take_blocked_on(dot) {
                match self.first_missing(&waiting.op) {
                    None => ready.push(waiting),
                    Some(missing) => self.buffer.put_back(waiting, missing),
                }
            }
            next = ready.pop();
        }
        Ok(())
    }

    /// The first dot that must be staged before `op` may be; `None` when its turn has come.
    pub(super) fn first_missing(&self, op: &Op) -> Option<Dot> {
        op.needs().find(|dot| !self.ancestry.covers(&self.staged, *dot))
    }

    /// Everything up to `through` is durable: applies it, and tells those who wait.
    pub(super) fn persisted(&mut self, through: u64, effects: &mut Vec<Effect>) {
        // Two for each op, at most; to grow step by step would copy them again and again.
        effects.reserve(2 * self.pending.len());
        let mut origins = BTreeSet::new();
        while let Some(staged) = self.pending.pop_front_if(|staged| staged.position <= through) {
            let Staged { op, source, received, totals, .. } = staged;
            self.applied_totals = totals;
            self.ancestry.advance(&mut self.applied, op.dot);
            origins.insert(op.dot.origin);
            let from = match source {
                Source::Client(request, replaces) => {
                    // Ops are applied in log order: `applied` is the vector at this op's place in the log.
                    let context = match replaces {
                        Replaces::Held => CausalContext::of_state(self.applied.clone()),
                        Replaces::Seen(context) => context.after_write(op.dot, &self.ancestry),
                    };
                    effects.push(Effect::Written {
                        request,
                        outcome: Ok(Written { dot: op.dot, context, replayed: false }),
                    });
                    None
                }
                Source::Peer(node) => Some(node),
            };
            effects.push(Effect::Visible(Visible { op, from, received }));
        }
        self.overlay.0.retain(|_, (last, _)| *last > through);
        self.durable = self.durable.max(through);
        self.answer_repeats(effects);
        self.touch_links(&origins);
        self.answer_durable(effects);
    }

    /// A commit failed: nothing behind it can be kept either, and whether it is on disk is unknown.
    pub(super) fn persist_failed(&mut self, effects: &mut Vec<Effect>) {
        self.read_only = true;
        for staged in std::mem::take(&mut self.pending) {
            if let Source::Client(request, _) = staged.source {
                effects.push(Effect::Written { request, outcome: Err(WriteError::OutcomeUnknown) });
            }
        }
        self.fail_repeats(effects);
        for answer in std::mem::take(&mut self.answers) {
            effects.push(Effect::Pushed { request: answer.request, outcome: Err(Rejection::ReadOnly) });
        }
        self.overlay = Overlay::default();
        self.buffer.clear();
        self.staged = self.applied.clone();
        self.staged_totals = self.applied_totals;
        self.position = self.durable;
    }
}

impl Totals {
    /// Counts a key that has these.
    pub fn add(&mut self, siblings: &Siblings) {
        self.keys += u64::from(!siblings.is_empty());
        self.conflicts += u64::from(siblings.len() > 1);
        self.siblings += siblings.len() as u64;
    }

    /// Counts it no more.
    pub fn remove(&mut self, siblings: &Siblings) {
        self.keys -= u64::from(!siblings.is_empty());
        self.conflicts -= u64::from(siblings.len() > 1);
        self.siblings -= siblings.len() as u64;
    }
}
