//! A state being filled in memory.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{Disk, MemoryStorage, State};
use crate::format;
use crate::replica::{Adopted, Filling, Key, Siblings};
use crate::storage::{Fill, LogHold, PeerState, StorageError};

pub(super) struct MemoryFill {
    store: MemoryStorage,
    number: u64,
    /// This node's state when it began, and the log from there on.
    own: Arc<State>,
    hold: LogHold,
    keys: BTreeMap<Key, Siblings>,
    filling: Filling,
}

impl MemoryFill {
    pub(super) fn begin(store: &MemoryStorage, number: u64, peer: PeerState) -> Self {
        let (hold, own, ancestry) = {
            let disk = store.read();
            let own = disk.state.clone();
            (store.holds.hold(|| own.checkpoint.position), own, disk.ancestry.clone())
        };
        let filling = Filling::new(&own.checkpoint.vector, own.checkpoint.position, ancestry, peer);
        Self { store: store.clone(), number, own, hold, keys: BTreeMap::new(), filling }
    }

    /// What it is, if it is for that store as it is now.
    pub(super) fn finish(
        self,
        store: &MemoryStorage,
        disk: &Disk,
    ) -> Result<(BTreeMap<Key, Siblings>, Adopted), StorageError> {
        if !Arc::ptr_eq(&self.store.disk, &store.disk) || self.number != disk.fills {
            return Err(StorageError::Engine("another state was begun since this one".to_owned()));
        }
        if self.filling.position() != disk.state.checkpoint.position {
            return Err(StorageError::Engine("a commit came while a state was adopted".to_owned()));
        }
        Ok((self.keys, self.filling.adopted(&disk.state.checkpoint, &disk.floor)))
    }
}

impl Fill for MemoryFill {
    fn put(&mut self, keys: Vec<(Key, Siblings)>, through: Option<&str>) -> Result<(), StorageError> {
        self.filling.check(&keys, through)?;
        let from = self.filling.through().map_or(Bound::Unbounded, Bound::Excluded);
        let own = self.own.clone();
        let own = own.keys.range::<str, _>((from, Bound::Unbounded));
        let own = own.take_while(|(key, _)| through.is_none_or(|through| &***key <= through));
        let own = own.map(|(key, siblings)| Ok((key.clone(), siblings.clone())));
        let built = &mut self.keys;
        let keep = |key, siblings| {
            built.insert(key, siblings);
            Ok(())
        };
        self.filling.merge(own, keys, through, keep)
    }

    fn catch_up(&mut self) -> Result<u64, StorageError> {
        self.filling.check_whole()?;
        let disk = self.store.read();
        let mut brought = 0;
        for op in disk.log.after(self.filling.position()) {
            brought += 1;
            let position = op.position;
            let op = format::op::decode(&op.bytes).map_err(|error| StorageError::damaged(op.dot, error))?;
            for entry in &op.entries {
                let mut siblings = self.keys.remove(&entry.key).unwrap_or_default();
                self.filling.apply(position, &op, entry, &mut siblings);
                if !siblings.is_empty() {
                    self.keys.insert(entry.key.clone(), siblings);
                }
            }
            self.filling.advance(&op);
        }
        let reached = disk.state.checkpoint.position;
        drop(disk);
        self.filling.reached(reached);
        self.hold = self.store.holds.hold(|| reached);
        Ok(brought)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
