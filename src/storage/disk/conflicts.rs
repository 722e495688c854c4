//! Which keys have more than one sibling: a record beside the key's own, so that they are found without a walk over all
//! keys. A conflict is rare, so what ends one must not cost every write a look: an op says by what it replaces whether
//! it may have.

use std::collections::BTreeMap;

use super::record;
use crate::replica::{Entry, Siblings};

/// What ops change about it.
#[derive(Default)]
pub(super) struct ConflictChanges(BTreeMap<Box<str>, bool>);

impl ConflictChanges {
    /// Takes in an entry of an op, and what its key holds after it.
    pub(super) fn note(&mut self, entry: &Entry, after: &Siblings) {
        if after.len() > 1 {
            self.0.insert((*entry.key).into(), true);
        } else if may_settle(entry, after) {
            self.0.insert((*entry.key).into(), false);
        }
    }

    /// The records: `None` removes.
    pub(super) fn into_records(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.0.into_iter().map(|(key, conflict)| (record::conflict(&key), conflict.then(Vec::new)))
    }
}

/// Whether a key that has at most one sibling left may have had more: the op replaced several, or deleted one beside
/// which another stays. (Not all that it replaces need have been there still.)
fn may_settle(entry: &Entry, after: &Siblings) -> bool {
    entry.replaces.len() > 1 || (entry.value.is_none() && !after.is_empty())
}
