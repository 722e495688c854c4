//! The bound on how slowly answers may be taken: what the other side does not take holds memory here and in the kernel.
//!
//! From when a connection can't be written to, so many bytes must go out in some time, again and again until all that is to
//! be written is. Must not cost anything where writes don't wait.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What must be taken in time. The kernel says that there is room only when there is room for much.
const LEAST_BYTES: usize = 64 * 1024;

/// A connection whose writes fail when they make too little progress.
pub(super) struct Taken<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Waiting>,
    /// Too little was taken: it failed.
    is_stuck: bool,
}

/// Since a write had to wait.
struct Waiting {
    deadline: Pin<Box<Sleep>>,
    /// Bytes that went out since.
    taken: usize,
}

impl<S> Taken<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waiting: None, is_stuck: false }
    }

    /// The connection.
    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Whether its writes failed for being stuck.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    fn after_write(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(outcome) => {
                let bytes = outcome.as_ref().map_or(0, |bytes| *bytes);
                self.waiting.take_if(|waiting| {
                    waiting.taken += bytes;
                    waiting.taken >= LEAST_BYTES
                });
                wrote
            }
            Poll::Pending => {
                let patience = self.patience;
                let new = || Waiting { deadline: Box::pin(sleep(patience)), taken: 0 };
                let waiting = self.waiting.get_or_insert_with(new);
                if waiting.deadline.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.is_stuck = true;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.after_write(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Comes when there is nothing left to be written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
