//! A way to a port that can be cut, without root.
//!
//! Like a cut network it gives no reset: it falls silent, and goes on after the heal with what was sent before.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy)]
struct State {
    is_open: bool,
    /// Carries writes that are asked for and not what they are answered, and breaks the connection instead.
    loses_answers: bool,
}

/// Lives as long as the runtime.
pub(crate) struct Relay {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    writes: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, gate) = watch::channel(State { is_open: true, loses_answers: false });
        let writes = Arc::new(AtomicUsize::new(0));
        tokio::spawn(accept(listener, target, gate, writes.clone()));
        Self { port, state, writes }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Carries nothing from now on.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.is_open = false);
    }

    /// Goes on.
    pub(crate) fn heal(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }

    /// From now on those to writes, or no more.
    pub(crate) fn lose_answers(&self, loses_answers: bool) {
        self.state.send_modify(|state| state.loses_answers = loses_answers);
    }

    /// How many writes were asked for.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

type Gate = watch::Receiver<State>;

/// Waits until the way is open; `None` when the test has ended.
async fn opened(gate: &mut Gate) -> Option<State> {
    gate.wait_for(|state| state.is_open).await.ok().map(|state| *state)
}

async fn accept(listener: TcpListener, target: u16, mut gate: Gate, writes: Arc<AtomicUsize>) {
    while let Ok((near, _)) = listener.accept().await {
        if opened(&mut gate).await.is_none() {
            return;
        }
        // A node that is down refuses: so does this end, by closing.
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { continue };
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let is_write = Arc::new(AtomicBool::new(false));
        tokio::spawn(carry(near_read, far_write, gate.clone(), is_write.clone(), Some(writes.clone())));
        tokio::spawn(carry(far_read, near_write, gate.clone(), is_write, None));
    }
}

/// Carries what is asked, counting the writes, or what is answered. `is_write`: the last request was one.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut gate: Gate,
    is_write: Arc<AtomicBool>,
    asked: Option<Arc<AtomicUsize>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let Some(state) = opened(&mut gate).await else { return };
        match &asked {
            Some(writes) => {
                let found = buffer[..length].windows(10).filter(|bytes| *bytes == b"PATCH /set").count();
                writes.fetch_add(found, Ordering::SeqCst);
                let is_other = [b"GET /".as_slice(), b"POST "].iter().any(|method| buffer.starts_with(method));
                if found > 0 || is_other {
                    is_write.store(found > 0, Ordering::SeqCst);
                }
            }
            None if state.loses_answers && is_write.load(Ordering::SeqCst) => break,
            None => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // The test may have ended, or the other end be gone: so is this one.
    let _ = to.shutdown().await;
}
