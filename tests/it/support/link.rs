//! A way from one node to another that can be cut, without root: a proxy that stops carrying bytes.
//!
//! Like a cut network it gives no reset: what is connected falls silent, and new connections get no answer.
//! After the heal everything goes on, also what was sent before the cut.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One direction between two nodes: requests made over it, and their answers.
pub(crate) struct Link {
    /// Where the one finds the other.
    pub(crate) port: u16,
    open: watch::Sender<bool>,
}

impl Link {
    /// A way to `target`, open. Lives as long as the runtime.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, gate) = watch::channel(true);
        tokio::spawn(accept(listener, target, gate));
        Self { port, open }
    }

    /// Carries nothing from now on.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Goes on.
    pub(crate) fn heal(&self) {
        self.open.send_replace(true);
    }
}

type Gate = watch::Receiver<bool>;

/// Waits until the way is open; `None` when the test has ended.
async fn opened(gate: &mut Gate) -> Option<()> {
    gate.wait_for(|open| *open).await.ok().map(drop)
}

async fn accept(listener: TcpListener, target: u16, mut gate: Gate) {
    while let Ok((near, _)) = listener.accept().await {
        if opened(&mut gate).await.is_none() {
            return;
        }
        // A node that is down refuses: so does this end, by closing.
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { continue };
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::spawn(carry(near_read, far_write, gate.clone()));
        tokio::spawn(carry(far_read, near_write, gate.clone()));
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: Gate) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await;
        if opened(&mut gate).await.is_none() {
            return;
        }
        match read {
            Ok(1..) if to.write_all(&buffer[..read.unwrap_or_default()]).await.is_ok() => {}
            _ => return drop(to.shutdown().await),
        }
    }
}
