//! What is in force now, and may be replaced at any time.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use super::configs::{self, Believes};
use super::{Identity, Material};

/// What a node has in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: ArcSwap<State>,
    /// Told when it was replaced.
    replaced: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    material: Arc<Material>,
    clients: Option<Arc<ServerConfig>>,
    peers: Option<Arc<ServerConfig>>,
    calls: Arc<ClientConfig>,
}

impl State {
    fn new(material: Arc<Material>) -> Self {
        const CHECKED: &str = "an identity was checked when it was parsed";
        let Material { identity, authorities } = &*material;
        let listens = |identity: &Identity, asks| Arc::new(configs::listens(identity, asks).expect(CHECKED));
        let clients = identity.as_ref().map(|identity| listens(identity, None));
        let peers = identity.as_ref().map(|identity| listens(identity, authorities.as_ref()));
        let calls = configs::calls(Believes::Authorities(authorities.as_ref()), identity.as_ref()).expect(CHECKED);
        Self { clients, peers, calls: Arc::new(calls), material }
    }
}

impl Default for Tls {
    /// Listens and calls without TLS.
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Tls {
    /// With this in force.
    pub fn new(material: Arc<Material>) -> Self {
        Self(Arc::new(Inner { state: ArcSwap::from_pointee(State::new(material)), replaced: watch::channel(()).0 }))
    }

    /// Puts other material in force.
    pub fn replace(&self, material: Arc<Material>) {
        self.0.state.store(Arc::new(State::new(material)));
        self.0.replaced.send_replace(());
    }

    /// Whether it is what is in force.
    pub fn has(&self, material: &Material) -> bool {
        *self.0.state.load().material == *material
    }

    /// For a listener of clients, or of both; `None`: it speaks no TLS. A certificate, once there, stays: the files that it
    /// is in are those that the node was started with.
    pub fn clients(&self) -> Option<Acceptor> {
        self.acceptor(false)
    }

    /// For a listener of peers alone.
    pub fn peers(&self) -> Option<Acceptor> {
        self.acceptor(true)
    }

    fn acceptor(&self, of_peers: bool) -> Option<Acceptor> {
        self.0.state.load().clients.as_ref()?;
        Some(Acceptor { tls: self.clone(), of_peers })
    }

    /// How peers are called; another allocation when it was replaced.
    pub fn calls(&self) -> Arc<ClientConfig> {
        self.0.state.load().calls.clone()
    }
}

/// What a listener speaks TLS by. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Acceptor {
    tls: Tls,
    of_peers: bool,
}

impl Acceptor {
    /// What the next connection is served by; and, where that asks who comes, what tells that it was replaced: what was proven
    /// by it is not to count for long then.
    pub fn begin(&self) -> (Arc<ServerConfig>, Option<watch::Receiver<()>>) {
        // Before it is looked at: a change in between is noticed twice, rather than not at all.
        let replaced = self.tls.0.replaced.subscribe();
        let state = self.tls.0.state.load();
        let config = if self.of_peers { &state.peers } else { &state.clients };
        let config = config.clone().expect("a certificate stays");
        let asks = self.of_peers && state.material.authorities.is_some();
        (config, asks.then_some(replaced))
    }
}
