//! Restoring: a data directory that is made of a state that was saved.
//!
//! It is made in a directory of its own below the one that it becomes, which until the end has no identity: nobody starts
//! on it, whenever this is cut off. Giving it the identity, by a rename, is the last step.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::directory::{self, IDENTITY, RESTORING};
use super::{DiskStorage, STORE};
use crate::replica::{Checkpoint, Key, Siblings};
use crate::storage::{Basis, Fill, Identity, OpenError, PeerState, Storage, StorageError, files};

/// A data directory on its way to being one. Dropped before it is [finished](Self::finish), it leaves nothing behind that
/// counts.
pub struct Restoring {
    path: PathBuf,
    identity: Identity,
    /// Taken out when it is closed.
    filled: Option<(DiskStorage, Box<dyn Fill>)>,
    keys: u64,
    _lock: File,
}

impl Restoring {
    /// Begins one for a node, with the state of a node that had this one. There must be nothing in it yet, or what is left of
    /// one that was cut off.
    pub fn begin(path: &Path, identity: &Identity, state: PeerState) -> Result<Self, OpenError> {
        let lock = directory::reserve(path)?;
        remove_unfinished(path).map_err(|error| directory::io_error(path, error))?;
        let (store, _) = DiskStorage::open(&path.join(RESTORING), identity)?;
        let fill = store.begin_fill(state, Basis::State).map_err(|error| directory::unusable(path, error))?;
        let (path, identity) = (path.to_owned(), identity.clone());
        Ok(Self { path, identity, filled: Some((store, fill)), keys: 0, _lock: lock })
    }

    /// Takes the next keys, in byte order.
    pub fn put(&mut self, keys: Vec<(Key, Siblings)>) -> Result<(), OpenError> {
        let Some((last, _)) = keys.last() else { return Ok(()) };
        let (last, count) = (last.clone(), keys.len() as u64);
        let (_, fill) = self.filled.as_mut().expect("it is there until this is finished");
        fill.put(keys, Some(&last)).map_err(|error| directory::unusable(&self.path, error))?;
        self.keys += count;
        Ok(())
    }

    /// That was all: makes it the directory of its node. Once this returns it stays so after a power cut.
    pub fn finish(mut self) -> Result<(), OpenError> {
        let (store, mut fill) = self.filled.take().expect("it is taken only here");
        let unusable = |error| directory::unusable(&self.path, error);
        fill.put(Vec::new(), None).map_err(unusable)?;
        let adopted = store.adopt(fill).map_err(unusable)?;
        drop(store);
        self.check(&adopted.checkpoint)?;
        self.put_in_place().map_err(|error| directory::io_error(&self.path, error))
    }

    /// That a start finds what was put in.
    fn check(&self, expected: &Checkpoint) -> Result<(), OpenError> {
        let (_, recovered) = DiskStorage::open(&self.path.join(RESTORING), &self.identity)?;
        let found = recovered.checkpoint;
        if found.totals.keys == self.keys && found.vector == expected.vector {
            return Ok(());
        }
        let problem = format!("it has {} keys, and {} were put in", found.totals.keys, self.keys);
        Err(directory::unusable(&self.path, StorageError::damaged("the restored store", problem)))
    }

    fn put_in_place(&self) -> io::Result<()> {
        let made = self.path.join(RESTORING);
        files::sync_all(&made)?;
        fs::rename(made.join(STORE), self.path.join(STORE))?;
        files::sync_dir(&self.path)?;
        fs::rename(made.join(IDENTITY), self.path.join(IDENTITY))?;
        files::sync_dir(&self.path)
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        // Closes the store first.
        self.filled = None;
        let is_done = self.path.join(IDENTITY).exists();
        let removed = if is_done { directory::remove_restored(&self.path) } else { remove_unfinished(&self.path) };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), "can't remove what is left of restoring: {error}");
        }
    }
}

/// Removes what one leaves that was cut off. The store goes first: without its mark it would look like somebody's.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    if path.join(RESTORING).exists() {
        files::remove_dir(&path.join(STORE))?;
        files::remove_dir(&path.join(RESTORING))?;
    }
    Ok(())
}
