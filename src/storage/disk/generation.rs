//! Generations of the keys: each an engine in a directory of its own. The op log says which one goes with it; another is one
//! that is being filled, or one that was replaced and that snapshots still read.
//!
//! Promises: the files of a generation that is not the log's go with the last who reads it. What a process leaves that is
//! killed before, the next start removes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::DiskOptions;
use super::engine::Engine;
use super::hot::HotStates;
use super::outlines::Outlines;
use crate::storage::damage::{Found, Notes};
use crate::storage::{StorageError, files};

/// The first.
pub(super) const KEYS: &str = "keys";

pub(super) struct Generation {
    pub(super) number: u64,
    path: PathBuf,
    /// Taken out when it is dropped.
    engine: Option<Engine>,
    /// Whether the log names it.
    stays: AtomicBool,
    removals: Arc<Removals>,
}

/// A generation that is read and written, with what is kept in memory of it.
pub(super) struct Keys {
    pub(super) generation: Generation,
    pub(super) hot: HotStates,
    pub(super) outlines: Outlines,
}

/// Removes files beside whoever dropped their last reader: that may be a thread that serves requests.
#[derive(Default)]
pub(super) struct Removals(Mutex<Vec<JoinHandle<()>>>);

/// Where generations are, and what each needs.
pub(super) struct Home {
    pub(super) store: PathBuf,
    pub(super) lock: Arc<File>,
    pub(super) options: DiskOptions,
    pub(super) removals: Arc<Removals>,
    pub(super) found: Found,
}

impl Home {
    /// Opens the one that the log names; the first is created where there is none.
    pub(super) fn open(&self, number: u64) -> Result<Generation, StorageError> {
        let path = path(&self.store, number);
        if number > 0 && !path.try_exists().map_err(StorageError::Log)? {
            return Err(StorageError::damaged("the store", format!("{} is missing", path.display())));
        }
        self.generation(number, path, true)
    }

    /// A new one, empty, which goes when it is dropped.
    pub(super) fn create(&self, number: u64) -> Result<Generation, StorageError> {
        let path = path(&self.store, number);
        files::remove_dir(&path).map_err(StorageError::Log)?;
        let generation = self.generation(number, path, false)?;
        files::sync_dir(&self.store).map_err(StorageError::Log)?;
        Ok(generation)
    }

    fn generation(&self, number: u64, path: PathBuf, stays: bool) -> Result<Generation, StorageError> {
        let engine = Some(Engine::open(&path, self.lock.clone(), self.options, Notes::new(self.found.clone()))?);
        Ok(Generation { number, path, engine, stays: AtomicBool::new(stays), removals: self.removals.clone() })
    }

    /// Removes all generations but one.
    pub(super) fn remove_others(&self, number: u64) -> io::Result<()> {
        let stays = path(&self.store, number);
        for entry in fs::read_dir(&self.store)? {
            let entry = entry?;
            let is_generation = entry.file_name().to_str().is_some_and(|name| name.split('.').next() == Some(KEYS));
            if is_generation && entry.path() != stays {
                files::remove_dir(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Generation {
    pub(super) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it is there until this is dropped")
    }

    /// The log names it, or does not any more.
    pub(super) fn stays(&self, stays: bool) {
        self.stays.store(stays, Ordering::SeqCst);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.stays.load(Ordering::SeqCst) {
            return;
        }
        let (engine, path) = (self.engine.take(), self.path.clone());
        self.removals.begin(move || {
            drop(engine);
            if let Err(error) = files::remove_dir(&path) {
                tracing::warn!(path = %path.display(), "can't remove keys that are not needed any more: {error}");
            }
        });
    }
}

impl Keys {
    pub(super) fn new(generation: Generation, options: DiskOptions) -> Self {
        let (hot, outlines) = (HotStates::new(options.hot_bytes), Outlines::new(options.outline_bytes));
        Self { generation, hot, outlines }
    }

    pub(super) fn engine(&self) -> &Engine {
        self.generation.engine()
    }
}

impl Removals {
    fn begin(&self, work: impl FnOnce() + Send + 'static) {
        match thread::Builder::new().name("remove".to_owned()).spawn(work) {
            Ok(thread) => {
                let mut threads = self.threads();
                // A store may outlive any number of generations.
                threads.extract_if(.., |thread| thread.is_finished()).for_each(join);
                threads.push(thread);
            }
            Err(error) => tracing::warn!("keys that are not needed any more stay until a restart: {error}"),
        }
    }

    /// Waits for those that have begun.
    pub(super) fn wait(&self) {
        let threads = std::mem::take(&mut *self.threads());
        threads.into_iter().for_each(join);
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        // Each step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread that removes keys had panicked");
    }
}

fn path(store: &Path, number: u64) -> PathBuf {
    if number == 0 { store.join(KEYS) } else { store.join(format!("{KEYS}.{number}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_that_have_ended_are_forgotten() {
        let removals = Removals::default();
        for _ in 0..3 {
            removals.begin(|| {});
            while removals.threads().iter().any(|thread| !thread.is_finished()) {
                thread::yield_now();
            }
        }
        assert_eq!(removals.threads().len(), 1);
    }
}
