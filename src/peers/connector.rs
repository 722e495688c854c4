//! How connections to peers are made: names, patience, and whom is believed at `https://`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use rustls::ClientConfig;

use super::resolver::SystemResolver;
use crate::tls::Tls;

/// What all connections of a node to its peers have in common. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    resolver: SystemResolver,
    connect_timeout: Duration,
    tls: Tls,
}

impl Connector {
    pub(super) fn new(connect_timeout: Duration, tls: Tls) -> Self {
        Self { resolver: SystemResolver::new(), connect_timeout, tls }
    }

    /// What is in force for the next connection; the same as long as the allocation is.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.calls()
    }

    /// How long a connection to this address may take. A handshake goes to and fro up to two times more.
    pub(super) fn timeout(&self, url: &str) -> Duration {
        if url.starts_with("https:") { self.connect_timeout * 3 } else { self.connect_timeout }
    }

    /// A client of the peer at this address, for one connection at a time.
    pub(super) fn client(&self, url: &str, tls: &ClientConfig) -> ClientBuilder {
        Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .connect_timeout(self.timeout(url))
            .dns_resolver(self.resolver.clone())
            .pool_max_idle_per_host(1)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
    }
}
