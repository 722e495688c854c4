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
    state: watch::Sender<State>,
}

/// What a way carries, and where to.
#[derive(Clone, Copy)]
struct State {
    open: bool,
    target: u16,
    /// Connections made before the last break carry nothing ever again.
    breaks: u64,
}

impl Link {
    /// A way to the port `target`, open. Lives as long as the runtime.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, gate) = watch::channel(State { open: true, target, breaks: 0 });
        tokio::spawn(accept(listener, gate));
        Self { port, state }
    }

    /// Carries nothing from now on.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.open = false);
    }

    /// Goes on.
    pub(crate) fn heal(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Leads somewhere else from now on; what is connected is lost as soon as something is sent.
    pub(crate) fn lead_to(&self, target: u16) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Leaves what is connected half open: silent for ever, without a reset. New connections work.
    pub(crate) fn break_connections(&self) {
        self.state.send_modify(|state| state.breaks += 1);
    }
}

type Gate = watch::Receiver<State>;

/// Waits until the way is open; `None` when the test has ended.
async fn opened(gate: &mut Gate) -> Option<()> {
    gate.wait_for(|state| state.open).await.ok().map(drop)
}

async fn accept(listener: TcpListener, mut gate: Gate) {
    while let Ok((near, _)) = listener.accept().await {
        if opened(&mut gate).await.is_none() {
            return;
        }
        // A node that is down refuses: so does this end, by closing.
        let target = gate.borrow().target;
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { continue };
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::spawn(carry(near_read, far_write, gate.clone()));
        tokio::spawn(carry(far_read, near_write, gate.clone()));
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: Gate) {
    let mut buffer = vec![0; 64 << 10];
    let State { breaks, target, .. } = *gate.borrow();
    loop {
        let read = from.read(&mut buffer).await;
        if opened(&mut gate).await.is_none() {
            return;
        }
        if gate.borrow().breaks > breaks {
            // Until the test has ended, with both ends open.
            let _ = gate.wait_for(|_| false).await;
            return;
        }
        match read {
            _ if gate.borrow().target != target => return,
            Ok(1..) if to.write_all(&buffer[..read.unwrap_or_default()]).await.is_ok() => {}
            _ => return drop(to.shutdown().await),
        }
    }
}
