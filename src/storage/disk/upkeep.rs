//! Upkeep: what the engine has to do besides reads and writes, on two threads. One makes tables of what is in memory,
//! the other merges tables.
//!
//! Promises: a failure ends both and is told to every commit from then on. Writers wait when upkeep lags far behind, so
//! memory and the number of tables that a read looks into stay bounded. Damage in a table is noted, and ends the merging of tables
//! but nothing else, for as long as there are not too many of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, SeqNo};

use super::engine::engine_error;
use super::instants::Instants;
use crate::storage::StorageError;
use crate::storage::damage::Notes;

/// Write buffers that may wait to become tables. With these, writers wait.
const MAX_WAITING_BUFFERS: usize = 4;

/// Tables that a read may have to look into besides one a level. With these, writers wait.
const MAX_LOOSE_TABLES: usize = 20;

/// The same once tables can't be merged any more, because one is damaged. With these, commits fail.
const MAX_UNMERGED_TABLES: usize = 200;

const LEVELS: usize = 7;

pub(super) struct Upkeep {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    tree: AnyTree,
    instants: Arc<Instants>,
    notes: Notes,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// There may be tables to merge.
    unmerged: bool,
    /// Tables are not merged any more.
    is_stuck: bool,
    failure: Option<String>,
    /// The checkpoints in write buffers that were set aside: their numbers in the tree, and their positions.
    waiting: VecDeque<(SeqNo, u64)>,
    /// The position of the last checkpoint that is in a table.
    in_tables: u64,
}

impl Upkeep {
    pub(super) fn start(tree: AnyTree, instants: Arc<Instants>, notes: Notes) -> io::Result<Self> {
        let state = Mutex::new(State { unmerged: true, ..State::default() });
        let shared = Arc::new(Shared { tree, instants, notes, state, changed: Condvar::new() });
        let mut upkeep = Self { shared: shared.clone(), threads: Vec::new() };
        for (name, work) in [("flush", Shared::flush as fn(&Shared)), ("merge", Shared::merge)] {
            let shared = shared.clone();
            upkeep.threads.push(thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared))?);
        }
        Ok(upkeep)
    }

    /// A write buffer is full and was put aside.
    pub(super) fn flush(&self) {
        // Whoever looked before it was there and has not fallen asleep yet holds the lock: it would miss the call.
        drop(self.shared.lock());
        self.shared.changed.notify_all();
    }

    /// A checkpoint of that position is in a table.
    pub(super) fn has_checkpoint(&self, position: u64) {
        self.shared.lock().in_tables = position;
    }

    /// A checkpoint of that position will be in the write buffer that is put aside next.
    pub(super) fn expect_checkpoint(&self, seqno: SeqNo, position: u64) {
        self.shared.lock().waiting.push_back((seqno, position));
    }

    /// The position of the last checkpoint that is in a table, and of the last that is on its way there.
    pub(super) fn checkpoints(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.in_tables, state.waiting.back().map_or(state.in_tables, |(_, position)| *position))
    }

    /// Waits until nothing is set aside any more; says so if that never will be.
    pub(super) fn wait_for_tables(&self) -> Result<(), StorageError> {
        self.wait_until(|tree, state| tree.sealed_memtable_count() == 0 && state.waiting.is_empty())
    }

    /// Waits until there is room for more; says so if there never will be.
    pub(super) fn wait_for_room(&self) -> Result<(), StorageError> {
        self.wait_until(|tree, state| {
            let has_room = state.is_stuck || tree.l0_run_count() < MAX_LOOSE_TABLES;
            has_room && tree.sealed_memtable_count() < MAX_WAITING_BUFFERS
        })
    }

    fn wait_until(&self, is_so: impl Fn(&AnyTree, &State) -> bool) -> Result<(), StorageError> {
        let Shared { tree, changed, .. } = &*self.shared;
        let mut state = self.shared.lock();
        loop {
            if let Some(failure) = &state.failure {
                return Err(StorageError::Engine(failure.clone()));
            }
            if is_so(tree, &state) {
                return Ok(());
            }
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the storage engine had panicked");
            }
        }
    }
}

impl Shared {
    fn flush(&self) {
        while self.wait(|_| self.tree.sealed_memtable_count() > 0) {
            let flushed = self.attempt("write a table", || {
                let lock = self.tree.get_flush_lock();
                self.tree.flush(&lock, self.instants.watermark())
            });
            if flushed {
                let highest = self.tree.get_highest_persisted_seqno();
                let mut state = self.lock();
                while let Some((_, position)) = state.waiting.pop_front_if(|(seqno, _)| Some(*seqno) <= highest) {
                    state.in_tables = position;
                }
                state.unmerged = true;
                if state.is_stuck && self.tree.l0_run_count() >= MAX_UNMERGED_TABLES {
                    state.failure = Some("a table is damaged, and there are too many that can't be merged".to_owned());
                }
                self.changed.notify_all();
            }
        }
    }

    fn merge(&self) {
        while self.wait(|state| state.unmerged && !state.is_stuck) {
            self.lock().unmerged = false;
            let before = self.shape();
            let merged = self.attempt("merge tables", || {
                let merged = self.tree.compact(Arc::new(Leveled::default()), self.instants.watermark());
                match self.notes.noted(merged.map_err(|error| engine_error("a table of the keys", error))) {
                    Err(StorageError::Damaged { problem, .. }) => {
                        self.stop_merging(&problem);
                        Ok(())
                    }
                    other => other.map(drop),
                }
            });
            // The engine does not say whether it found anything to do.
            if merged && self.shape() != before {
                self.lock().unmerged = true;
            }
            self.changed.notify_all();
        }
    }

    /// Another try would come upon the same, and leave what it has done so far on the disk.
    fn stop_merging(&self, problem: &str) {
        tracing::error!("a table is damaged ({problem}): no tables are merged any more");
        self.lock().is_stuck = true;
    }

    /// Waits until there is work; `false`: there will be none.
    fn wait(&self, has_work: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if state.stopping || state.failure.is_some() {
                return false;
            }
            if has_work(&state) {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does something that may fail or, on a disk that returns nonsense, panic; whether it went well.
    fn attempt<T, E: fmt::Display>(&self, what: &str, work: impl FnOnce() -> Result<T, E>) -> bool {
        let problem = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::error!("the storage engine failed to {what}: {problem}");
        self.lock().failure = Some(format!("it failed to {what}: {problem}"));
        self.changed.notify_all();
        false
    }

    /// What tells one arrangement of tables from the next.
    fn shape(&self) -> ([Option<usize>; LEVELS], usize, u64) {
        let levels = std::array::from_fn(|level| self.tree.level_table_count(level));
        (levels, self.tree.l0_run_count(), self.tree.disk_space())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
