//! `causeway healthcheck`: is the node on this machine ready?
//!
//! Whoever answers at its address is taken for it, with TLS as without: nothing is told him, and no more is learnt than that
//! somebody is ready there. So a check neither depends on what a certificate is for, nor on whether a file was just replaced.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use rustls::ClientConfig;

use super::client::why;
use super::nodes::Own;
use crate::tls::{self, Believes};

/// How long a node has to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why a node does not count as ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    /// It gave no answer.
    #[error("not ready: {url}: {why}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Why there was none.
        why: String,
    },
    /// It said so.
    #[error("not ready: {url} answered {status}: {body}")]
    Answered {
        /// What was asked.
        url: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
}

/// Asks a node whether it is ready. Needs a tokio runtime.
pub(super) async fn healthcheck(node: &Own) -> Result<(), NotReady> {
    let url = format!("{}/readyz", node.origin());
    let no_answer = |why: String| NotReady::NoAnswer { url: url.clone(), why };
    let tls = tls::calls(Believes::Anybody, None).map_err(|error| no_answer(error.to_string()))?;
    let (status, body) = ask(&url, tls).await.map_err(|error| no_answer(why(&error, TIMEOUT)))?;
    match status {
        StatusCode::OK => Ok(()),
        _ => Err(NotReady::Answered { url, status, body: body.trim().to_owned() }),
    }
}

async fn ask(url: &str, tls: ClientConfig) -> Result<(StatusCode, String), reqwest::Error> {
    // A proxy of the environment has no business with this machine's own address.
    let client = Client::builder().no_proxy().timeout(TIMEOUT).tls_backend_preconfigured(tls).build()?;
    let response = client.get(url).send().await?;
    Ok((response.status(), response.text().await?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::thread;

    use super::*;

    async fn check(listen: SocketAddr) -> Result<(), NotReady> {
        healthcheck(&Own { listen, certificate: None }).await
    }

    /// Answers one request with `response`.
    fn answering(response: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_node_that_answers_200_is_ready() {
        let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        check(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))).await.unwrap();
    }

    #[tokio::test]
    async fn another_status_is_told() {
        let address = answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nread-only");
        let error = check(address).await.unwrap_err().to_string();
        assert!(error.ends_with("answered 503 Service Unavailable: read-only"), "{error}");
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_told_with_its_address() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = check(free).await.unwrap_err().to_string();
        assert!(error.contains(&free.to_string()) && error.contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn a_node_that_accepts_and_stays_silent_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = check(listener.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(error.ends_with("no answer within 2 s"), "{error}");
    }
}
