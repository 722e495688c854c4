//! A state being filled in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Disk, MemoryStorage, State};
use crate::format;
use crate::replica::{Adopted, Checkpoint, Filling, Key, Siblings};
use crate::storage::{Basis, Fill, LogHold, PeerState, StorageError};

pub(super) struct MemoryFill {
    store: MemoryStorage,
    number: u64,
    /// This node's state when it began, if it is to be merged, and the log.
    own: Option<Arc<State>>,
    hold: LogHold,
    keys: BTreeMap<Key, Siblings>,
    filling: Filling,
}

impl MemoryFill {
    pub(super) fn begin(
        store: &MemoryStorage,
        number: u64,
        peer: PeerState,
        basis: Basis,
    ) -> Result<Self, StorageError> {
        let disk = store.read();
        let (own, ancestry) = (disk.state.clone(), disk.ancestry.clone());
        let Checkpoint { position, vector, .. } = &own.checkpoint;
        let filling = match basis {
            Basis::State => Filling::new(vector, *position, ancestry, peer),
            Basis::Log => Filling::on_log(&disk.floor, *position, ancestry, peer)?,
        };
        let hold = store.holds.hold(|| filling.position());
        let own = (basis == Basis::State).then_some(own);
        Ok(Self { store: store.clone(), number, own, hold, keys: BTreeMap::new(), filling })
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
        let adopted = self.filling.adopted(&disk.state.checkpoint, &disk.floor)?;
        Ok((self.keys, adopted))
    }
}

impl Fill for MemoryFill {
    fn put(&mut self, keys: Vec<(Key, Siblings)>, through: Option<&str>) -> Result<(), StorageError> {
        self.filling.check(&keys, through)?;
        let through_before = self.filling.through().map(str::to_owned);
        let own = self.own.clone();
        let own = own.iter().flat_map(|own| own.after(through_before.as_deref()));
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
        for op in disk.log.behind(self.filling.position()) {
            brought += 1;
            let position = op.position;
            let op = format::op::decode(&op.bytes).map_err(|error| StorageError::damaged(op.dot, error))?;
            self.filling.check_follows(&op)?;
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
}
