//! State transfer, as far as the replica has to do with it: what the log does not have any more, that a peer who lacks it
//! gets this node's whole state instead, as one does whose own is damaged, and what follows when another's was adopted here.
//!
//! A peer gets one piece of the state at a time, as it would get pushes; how far it is, only the shells know. What it
//! lacks behind the state then goes to it from the log. Merging the states is for the store to do ([`super::Merging`]).

use std::sync::Arc;

use super::delivery::Received;
use super::effect::{Adopted, Effect, LinkId, LinkView, MonoMs, Now, View};
use super::message::Answer;
use super::{KeyStates, Replica};
use crate::causality::VersionVector;

/// For how long a peer that another node is filling, or that did not take a piece, is left in peace.
pub(super) const STATE_AGAIN_MS: u64 = 1_000;

impl Replica {
    /// The log lost what `floor` includes.
    pub(super) fn trimmed(&mut self, floor: &VersionVector) {
        self.ancestry.join(&mut self.floor, floor);
        self.touch_all_links();
    }

    /// A peer answered a piece of this node's state.
    pub(super) fn state_answered(
        &mut self,
        now: Now,
        id: LinkId,
        answer: Answer,
        taken: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.answered(now, id, &[], answer, effects);
        if let Some(link) = self.links.get_mut(id.0).filter(|_| !taken) {
            link.state_at = MonoMs(now.mono.0 + STATE_AGAIN_MS);
        }
    }

    /// Goes on from the state into which a peer's was merged.
    pub(super) fn adopted(&mut self, now: Now, adopted: Adopted, states: &dyn KeyStates, effects: &mut Vec<Effect>) {
        debug_assert!(self.pending.is_empty(), "a state is adopted only while nothing is on its way to the disk");
        let Adopted { checkpoint, ancestry, floor } = adopted;
        self.clock.observe(checkpoint.hlc, now.wall);
        let own = self.options.node;
        let changed = checkpoint.vector.above(&self.staged).filter(|dot| dot.origin.node != own);
        self.changed.extend(changed.map(|dot| (dot.origin, dot.counter)));
        self.applied = checkpoint.vector.clone();
        self.staged = checkpoint.vector;
        (self.position, self.durable) = (checkpoint.position, checkpoint.position);
        (self.staged_totals, self.applied_totals) = (checkpoint.totals, checkpoint.totals);
        (self.ancestry, self.floor) = (Arc::new(ancestry), floor);
        self.adoptions += 1;
        self.look_again(states, effects);
        self.touch_all_links();
    }

    /// Takes again all ops that wait: some may be here now, and others deliverable.
    fn look_again(&mut self, states: &dyn KeyStates, effects: &mut Vec<Effect>) {
        for received in self.buffer.take_all() {
            let Received { op, .. } = &received;
            if self.ancestry.covers(&self.staged, op.dot) {
                continue;
            }
            match self.first_missing(op) {
                // One that can't be worked out is dropped. It was not acknowledged, so it comes again.
                None => drop(self.deliver(received, states, effects)),
                Some(missing) => self.buffer.put_back(received, missing),
            }
        }
    }
}

impl View {
    /// Whether every configured peer is known to have all that `vector` includes.
    pub fn all_have(&self, vector: &VersionVector) -> bool {
        self.links.iter().all(|link| self.has(link, vector))
    }

    /// Whether the peer of this link is.
    pub fn has(&self, link: &LinkView, vector: &VersionVector) -> bool {
        link.vector.is_some() && self.lacks_of(link, vector).is_empty()
    }
}
