//! The least that is durable: one thread appends to a file and syncs once for all that queued up meanwhile.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::Result;
use axum::body::Bytes;
use tokio::sync::oneshot;

type Waiting = (Bytes, oneshot::Sender<()>);

/// The way to the thread that writes.
pub(super) struct Committer(mpsc::Sender<Waiting>);

impl Committer {
    pub(super) fn start(file: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(file)?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || commit_all(file, &receiver));
        Ok(Self(sender))
    }

    /// Returns when these bytes are on disk; an error says that the thread has ended, because it could not write.
    pub(super) async fn commit(&self, bytes: Bytes) -> Result<()> {
        let (done, waiting) = oneshot::channel();
        self.0.send((bytes, done)).map_err(|_| anyhow::anyhow!("nobody writes any more"))?;
        Ok(waiting.await?)
    }
}

fn commit_all(mut file: File, receiver: &mpsc::Receiver<Waiting>) -> Option<()> {
    let mut batch = Vec::new();
    loop {
        batch.clear();
        let first = receiver.recv().ok()?;
        let group: Vec<Waiting> = std::iter::once(first).chain(receiver.try_iter()).collect();
        group.iter().for_each(|(bytes, _)| batch.extend_from_slice(bytes));
        file.write_all(&batch).and_then(|()| file.sync_data()).ok()?;
        for (_, done) in group {
            // Who went away doesn't need to know.
            let _ = done.send(());
        }
    }
}
