//! The accept loop: takes connections for a router, for clients and for peers alike.
//!
//! Promises: a bound on connections, on the size and slowness of request heads, and on how slowly answers are taken; a
//! refusal that the other side can read when there are too many; a stop that ends in bounded time. What is not HTTP costs its
//! sender the connection (hyper answers a bare `400` or `431`) and nobody else anything; the same goes for what is not
//! TLS, where that is spoken. Must not import a shell, and knows nothing of keys or ops.

mod files;
mod local;
mod metrics;
mod refusal;
mod taken;
#[cfg(test)]
mod tests;
mod tls;
mod workers;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::refusal::{TOO_MANY, refuse};
use self::taken::Taken;
use self::tls::Begun;
use crate::tls::Acceptor;
pub use files::raise_open_files;
pub use local::OnlyLocal;
pub use metrics::Metrics;
pub use workers::Workers;

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections at once; one more is told `503` and closed.
    pub max_connections: usize,
    /// How long a request's head may take, counted from when it could begin; so it also ends idle connections.
    pub head_timeout: Duration,
    /// Bytes of a request's head (request line and headers).
    pub max_head_bytes: usize,
    /// How long the other side may take nothing, or next to nothing, of an answer. Longer than a watch waits for its
    /// client, which can then still be told.
    pub take_timeout: Duration,
    /// How long requests under way may take to finish once the listener stops.
    pub stop_grace: Duration,
    /// Who serves the connections; the runtime that calls [`serve`] where there is nobody.
    pub workers: Option<Arc<Workers>>,
    /// Drops connections that were accepted on any other address of this machine.
    pub only_local: Option<OnlyLocal>,
    /// What TLS is spoken by; without it there is none.
    pub tls: Option<Acceptor>,
    /// What it counts.
    pub metrics: Metrics,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            head_timeout: Duration::from_secs(30),
            max_head_bytes: 64 * 1024,
            take_timeout: Duration::from_secs(60),
            stop_grace: Duration::from_secs(3),
            workers: None,
            only_local: None,
            tls: None,
            metrics: Metrics::default(),
        }
    }
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose requests did not finish within the grace and were cut.
    pub cut: usize,
}

/// The read buffer of a connection, in bytes: bounds what a sender that outruns its handler costs.
const BUFFER_BYTES: usize = 64 * 1024;

/// After the last answer of a connection that the other side still sends on: how long, and how much, is read
/// and thrown away. Closing at once would reset the connection, and the answer could be lost with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Connections that are being told that there are too many; past these, one more is closed without a word.
const MAX_REFUSALS: usize = 256;

/// Serves `router` on `listener` until `shutdown` is ready; then stops accepting, lets requests under way
/// finish for `stop_grace`, and returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ListenOptions,
    shutdown: impl Future<Output = ()>,
) -> Stopped {
    let server = Server::new(router, &options);
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        options.metrics.open(connections.len());
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: the connection stays in the queue, so trying again at
            // once would only spin.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        if connections.len() < options.max_connections {
            let server = server.clone();
            let (only, stopping) = (options.only_local.clone(), stopping.clone());
            match &options.workers {
                None => connections.spawn(server.connection(stream, only, stopping)),
                Some(workers) => {
                    let Ok(stream) = stream.into_std() else { continue };
                    let connection = async move {
                        // It fails when there is no file descriptor left to wait with: the connection is lost.
                        if let Ok(stream) = TcpStream::from_std(stream) {
                            server.connection(stream, only, stopping).await;
                        }
                    };
                    connections.spawn_on(connection, workers.next())
                }
            };
        } else {
            options.metrics.refused();
            // To say so in TLS would cost more than to serve others.
            if options.tls.is_some() {
                continue;
            }
            let Ok(permit) = refusals.clone().try_acquire_owned() else { continue };
            tokio::spawn(async move {
                let _permit = permit;
                refuse(stream, &TOO_MANY).await;
            });
        }
    }
    drop(listener);
    // Nobody listens only when there is no connection.
    let _ = stop.send(true);
    let finished = timeout(options.stop_grace, async { while connections.join_next().await.is_some() {} }).await;
    let cut = if finished.is_ok() { 0 } else { connections.len() };
    connections.shutdown().await;
    Stopped { cut }
}

#[derive(Clone)]
struct Server {
    http: http1::Builder,
    router: Router,
    take_timeout: Duration,
    head_timeout: Duration,
    tls: Option<Acceptor>,
    metrics: Metrics,
}

impl Server {
    fn new(router: Router, options: &ListenOptions) -> Self {
        let mut http = http1::Builder::new();
        // A client that has ended its own direction still gets its answer. One that is gone is noticed only
        // then: its request is finished, and counts as under way for as long as the work that it caused.
        http.half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(options.head_timeout)
            .max_header_size(options.max_head_bytes)
            .max_buf_size(BUFFER_BYTES.max(options.max_head_bytes));
        let ListenOptions { take_timeout, head_timeout, tls, metrics, .. } = options.clone();
        Self { http, router, take_timeout, head_timeout, tls, metrics }
    }

    async fn connection(self, stream: TcpStream, only: Option<OnlyLocal>, mut stopping: watch::Receiver<bool>) {
        if let Some(only) = only
            && !only.allows(&stream).await
        {
            return;
        }
        // Answers are written whole; without this their last part could wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let patience = self.take_timeout;
        let Some(acceptor) = &self.tls else { return self.serve(Taken::new(stream, patience), stopping, None).await };
        let (config, replaced) = acceptor.begin();
        let begun = tokio::select! {
            begun = tls::begin(stream, config, patience, self.head_timeout) => begun,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match begun {
            Begun::Tls(stream) => self.serve(stream, stopping, replaced).await,
            Begun::NoTls => self.metrics.no_tls(),
            Begun::Nothing => {}
        }
    }

    /// Serves requests until either side ends the connection, this node stops, or `replaced` tells.
    async fn serve(
        self,
        stream: impl Connection,
        mut stopping: watch::Receiver<bool>,
        mut replaced: Option<watch::Receiver<()>>,
    ) {
        let mut connection = self.http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                    // An error is the other side's doing: not HTTP, too slow, gone. It was answered where it
                    // can be, and is not worth a line of log each.
                    let _: Result<(), hyper::Error> = ended;
                    break;
                }
                () = either(&mut stopping, &mut replaced), if !told => {
                    told = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
        let stream = connection.into_parts().io.into_inner();
        if stream.taken().is_stuck() {
            // A reset: the kernel must not keep for it either what it does not take.
            let _ = stream.taken().get_ref().set_zero_linger();
        } else {
            linger(stream).await;
        }
    }
}

/// What requests come over.
trait Connection: AsyncRead + AsyncWrite + Unpin {
    /// The connection that bytes go over.
    fn taken(&self) -> &Taken<TcpStream>;
}

impl Connection for Taken<TcpStream> {
    fn taken(&self) -> &Self {
        self
    }
}

/// Ready when no more requests are to be taken.
async fn either(stopping: &mut watch::Receiver<bool>, replaced: &mut Option<watch::Receiver<()>>) {
    let replaced = async {
        match replaced {
            // It fails when nobody is left to replace anything: the node is stopping.
            Some(replaced) => drop(replaced.changed().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => {}
        () = replaced => {}
    }
}

/// Closes in the order that lets the other side read what it was answered.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drain = async {
        let mut left = LINGER_BYTES;
        let mut scratch = [0; 16 * 1024];
        stream.shutdown().await?;
        while left > 0 {
            match stream.read(&mut scratch).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<(), std::io::Error>(())
    };
    let _ = timeout(LINGER, drain).await;
}
