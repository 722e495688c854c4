//! How TLS begins on a connection, or does not.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::refusal::{TLS_NEEDED, refuse};
use super::taken::Taken;
use super::{Connection, linger};

/// The first byte of whatever begins a handshake.
const HANDSHAKE: u8 = 0x16;

impl Connection for Box<TlsStream<Taken<TcpStream>>> {
    fn taken(&self) -> &Taken<TcpStream> {
        self.get_ref().0
    }
}

/// What a connection has come to.
pub(super) enum Begun {
    Tls(Box<TlsStream<Taken<TcpStream>>>),
    /// The other side was told why it is none, as far as there is a language for it, and the connection is closed.
    NoTls,
    /// It was closed before anything came, as by who only looks whether the port is open.
    Nothing,
}

/// Does the handshake, within this time. `patience` is that of [`Taken`].
pub(super) async fn begin(stream: TcpStream, config: Arc<ServerConfig>, patience: Duration, within: Duration) -> Begun {
    let begun = async {
        let mut first = [0];
        if matches!(stream.peek(&mut first).await, Ok(0) | Err(_)) {
            return Begun::Nothing;
        }
        if first[0] != HANDSHAKE {
            refuse(stream, &TLS_NEEDED).await;
            return Begun::NoTls;
        }
        // What it waits for is below TLS: there all that goes out is seen.
        let stream = Taken::new(stream, patience);
        match TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(stream) => Begun::Tls(Box::new(stream)),
            Err((_, stream)) => {
                // The alert that says why is on its way.
                linger(stream).await;
                Begun::NoTls
            }
        }
    };
    timeout(within, begun).await.unwrap_or(Begun::NoTls)
}
