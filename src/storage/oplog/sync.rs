//! A thread that waits for the disk, so that whoever commits can do something else meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::segment::Segment;

#[derive(Debug)]
pub(super) struct Syncer {
    /// The thread ends when it is dropped.
    begin: Option<Sender<Arc<Segment>>>,
    end: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (begin, segments) = channel::<Arc<Segment>>();
        let (done, end) = channel();
        let thread = thread::Builder::new().name("sync".to_owned()).spawn(move || {
            for segment in segments {
                if done.send(segment.file.sync_data()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { begin: Some(begin), end, thread: Some(thread) })
    }

    /// Begins to make everything durable that was written to the segment.
    pub(super) fn begin(&self, segment: Arc<Segment>) {
        let begin = self.begin.as_ref().expect("it is there until the drop");
        // If the thread has ended, `end` says so.
        let _ = begin.send(segment);
    }

    /// Waits until what was begun is done.
    pub(super) fn end(&self) -> io::Result<()> {
        self.end.recv().map_err(|_| io::Error::other("the thread that syncs has ended"))?
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.begin.take();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that syncs had panicked");
        }
    }
}
