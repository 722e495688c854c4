//! Threads that serve connections, each with a runtime of its own.
//!
//! All of a connection happens on one thread: no task moves to another, and no thread is woken to take work that this one
//! is about to do. That serves more requests a second than one runtime over all threads (docs/performance.md).

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// So much is taken in of what came for connections before what was done for others is answered. What waits in the kernel
/// waits behind answers then, and not before them: with more connections than there is time for, a thread that takes
/// in all that is there gives each answer only after it has looked at every one of them.
const A_FEW: usize = 32;

/// Such threads. They end when this is dropped, and what still runs on them with them.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// The thread ends when it is dropped.
    _alive: oneshot::Sender<()>,
}

impl Workers {
    /// Starts so many threads, at least one. Each runs a task of its own beside the connections.
    pub fn start<F: Future<Output = ()> + Send + 'static>(count: usize, beside: impl Fn() -> F) -> io::Result<Self> {
        let worker = |index| Worker::start(&format!("serve-{index}"), beside());
        let workers = (0..count.max(1)).map(worker).collect::<Result<_, _>>()?;
        Ok(Self { workers, next: AtomicUsize::new(0) })
    }

    /// Their runtimes.
    pub fn runtimes(&self) -> impl Iterator<Item = Handle> {
        self.workers.iter().map(|worker| worker.runtime.clone())
    }

    /// Where the next connection goes: to each in turn.
    pub(super) fn next(&self) -> &Handle {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        &self.workers[index].runtime
    }
}

impl Worker {
    fn start(name: &str, beside: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_io_events_per_tick(A_FEW)
            .event_interval(A_FEW as u32)
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Not spawned: this is looked at before any task is.
            runtime.block_on(async {
                tokio::select! {
                    // It is never sent to, only dropped.
                    _ = ended => {}
                    () = async { beside.await; pending().await } => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _alive: alive })
    }
}
