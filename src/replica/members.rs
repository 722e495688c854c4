//! Who may push to this node: those of its list, and ids of the same cluster that are not in it (a list changes node by
//! node), which are remembered and told of. Only ids that were named as removed may not.

use std::collections::BTreeMap;

use super::Replica;
use super::effect::{Effect, Now};
use super::message::Rejection;
use crate::causality::{NodeId, WallMs};

/// How many unknown ids are remembered. There are far more where something is wrong, and then these say so.
const MAX_UNKNOWN: usize = 16;

impl Replica {
    pub(super) fn check_sender(&self, sender: NodeId) -> Result<(), Rejection> {
        match self.options.removed.contains(&sender) {
            true => Err(Rejection::Removed { by: self.options.node }),
            false => Ok(()),
        }
    }

    /// Takes note of a sender that is not in the list.
    pub(super) fn note_sender(&mut self, now: Now, sender: NodeId, effects: &mut Vec<Effect>) {
        // A peer known only by its address may be any.
        let may_be_listed = self.links.iter().any(|link| link.node().is_none_or(|node| node == sender));
        if may_be_listed || sender == self.options.node {
            return;
        }
        let is_full = self.unknown.len() >= MAX_UNKNOWN;
        match self.unknown.get_mut(&sender) {
            Some(heard) => *heard = now.wall,
            None if is_full => {}
            None => {
                self.unknown.insert(sender, now.wall);
                effects.push(Effect::UnknownMember { node: sender });
            }
        }
    }

    /// The senders that are not in the list, and when each was last heard.
    pub(super) fn unknown_members(&self) -> BTreeMap<NodeId, WallMs> {
        let is_listed = |id: &NodeId| self.links.iter().any(|link| link.node() == Some(*id));
        self.unknown.iter().filter(|(id, _)| !is_listed(id)).map(|(id, heard)| (*id, *heard)).collect()
    }
}
