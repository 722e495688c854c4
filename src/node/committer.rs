//! The committer's thread: what changes the store, one thing after the other, so that the owner never waits for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use super::handle::Command;
use super::observer::Observer;
use crate::replica::{Append, Checkpoint};
use crate::storage::{Fill, Storage, StorageError};

/// Something to be done to the store. Each is followed by the command that says how it went.
pub(super) enum Work {
    /// Make these durable, in one commit, with the checkpoint after the last of them.
    Commit { appends: Vec<Append>, checkpoint: Checkpoint },
    /// Drop the log up to a position.
    Trim { through: u64 },
    /// Drop what of the log is damaged.
    GiveUpLog,
    /// Put a peer's state, merged, in the place of this node's.
    Adopt { fill: Box<dyn Fill> },
}

pub(super) struct Committer {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) inbox: Receiver<Work>,
    pub(super) done: Sender<Command>,
    pub(super) observer: Arc<dyn Observer>,
}

impl Committer {
    pub(super) fn run(self) {
        for work in &self.inbox {
            if self.done.send(self.carry_out(work)).is_err() {
                return;
            }
        }
    }

    fn carry_out(&self, work: Work) -> Command {
        match work {
            Work::Commit { appends, checkpoint } => {
                let began = Instant::now();
                let outcome = attempt(|| self.storage.commit(&appends, &checkpoint));
                if outcome.is_ok() {
                    self.observer.committed(appends.len(), began.elapsed());
                }
                Command::Committed { through: checkpoint.position, outcome }
            }
            Work::Trim { through } => Command::Trimmed { outcome: attempt(|| self.storage.trim(through)) },
            Work::GiveUpLog => Command::Trimmed { outcome: attempt(|| self.storage.give_up_log()) },
            Work::Adopt { fill } => Command::Adopted { outcome: attempt(|| self.storage.adopt(fill).map(Box::new)) },
        }
    }
}

/// A panic in the engine is a failure like others: the node must go read-only, not fall silent.
fn attempt<T>(work: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    let panicked = |_| Err(StorageError::Engine("it panicked".to_owned()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}
