//! A running node: the one owner of a [`Replica`](crate::replica::Replica) and its storage.
//!
//! [`start()`] runs two threads. The *owner* takes in commands, feeds them to the replica and carries out its
//! effects; it never waits for the disk except to read key states. The *committer* makes durable what was
//! staged: everything that gathered while one commit ran goes into the next, so groups grow with load and
//! there is no timer. Answers go back by thread ([`run_courier`]). [`NodeHandle`] is how the shells (http, peers)
//! ask and tell; [`Observer`] is how telemetry and metrics watch.
//!
//! Promises: a write is answered only when durable; the published view never runs ahead of the disk; what
//! waits is bounded ([`AdmissionLimit`]), and so is what the disk is filled with ([`NoRoom`]). Must not know HTTP, sockets
//! or telemetry.

mod accepted;
mod admission;
mod cluster;
mod committer;
mod courier;
mod draining;
mod filling;
mod handle;
mod history;
mod observer;
mod owner;
mod progress;
mod room;
mod start;
#[cfg(test)]
mod tests;
mod trimming;

pub use admission::{AdmissionLimit, Overloaded};
pub use cluster::{Asked, Told};
pub use courier::run_courier;
pub use draining::{Behind, Drain, Draining};
pub use handle::{Lacking, Members, NodeHandle, NotReached, PushError, SetError, Status};
pub use history::STEP_MS;
pub use observer::{Both, NoObserver, Observer, Try};
pub use progress::{StateProgress, StateTotals};
pub use room::NoRoom;
pub use start::{NodeOptions, Running, start};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::causality::WallMs;

/// Locks what each step leaves whole: whatever panicked meanwhile, it is good to go on with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time by this machine's clock.
pub fn wall_now() -> WallMs {
    WallMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
}
