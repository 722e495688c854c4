//! The nodes of a cluster, and how they are asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::http::{Tls, Wire};
use crate::logic::calls::{Settings, checked_header, checked_timeout};
use crate::logic::nodes::Nodes;
use crate::{Session, Watch};

/// A client of the nodes of one cluster. Clones share its connections, and what it knows of the nodes' health.
///
/// The URLs must name nodes: a balancer in between would send a write's repeat to another node. The first one is the
/// nearest; the others are asked when it is away.
#[derive(Clone)]
pub struct Client {
    pub(crate) settings: Arc<Settings>,
    pub(crate) wire: Wire,
}

impl Client {
    /// A client with all defaults.
    pub fn new<U: AsRef<str>>(nodes: impl IntoIterator<Item = U>) -> Result<Self, Error> {
        Self::builder(nodes).build()
    }

    /// A client that asks in another way.
    pub fn builder<U: AsRef<str>>(nodes: impl IntoIterator<Item = U>) -> ClientBuilder {
        ClientBuilder {
            nodes: nodes.into_iter().map(|url| url.as_ref().to_owned()).collect(),
            token: None,
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            wait: Duration::from_secs(2),
            tls: Tls::default(),
        }
    }

    /// Begins a session.
    pub fn session(&self) -> Session {
        Session::new(self.clone(), None)
    }

    /// Goes on with a session by the [context](Session::context) that it had.
    pub fn session_from(&self, context: impl Into<String>) -> Session {
        Session::new(self.clone(), Some(context.into()))
    }

    /// Watches the keys that begin with `prefix`: of an empty one all.
    pub fn watch(&self, prefix: impl Into<String>) -> Watch {
        Watch::new(self.clone(), prefix.into())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nodes", &self.settings.nodes.urls()).finish_non_exhaustive()
    }
}

/// How a client asks.
#[derive(Clone)]
pub struct ClientBuilder {
    nodes: Vec<String>,
    token: Option<String>,
    timeout: Duration,
    attempt_timeout: Duration,
    connect_timeout: Duration,
    wait: Duration,
    tls: Tls,
}

impl ClientBuilder {
    /// What is sent as `Authorization: Bearer …`.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// How long a call may take, with all its tries (10 seconds; at most 5 minutes).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a node may take to answer (3 seconds), or one second more than it was asked to wait.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long a node may take to be connected (1 second).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a node that lacks what a session has seen may wait for it before others are asked (2 seconds).
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The certificates that are trusted, in PEM, instead of those that the system trusts. With the feature `rustls`.
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots = Some(pem.into());
        self
    }

    /// The client, unless something is wrong with what it was given.
    pub fn build(self) -> Result<Client, Error> {
        let Self { nodes, token, timeout, attempt_timeout, connect_timeout, wait, tls } = self;
        checked_timeout(timeout)?;
        if attempt_timeout.is_zero() || connect_timeout.is_zero() {
            return Err(Error::Unusable("timeouts must be more than nothing".to_owned()));
        }
        checked_header("token", token.as_deref().unwrap_or_default())?;
        let nodes = Nodes::new(nodes)?;
        let is_tls_spoken = nodes.urls().iter().any(|url| url.starts_with("https:"));
        if cfg!(not(feature = "rustls")) && is_tls_spoken {
            return Err(Error::Unusable("https needs the feature `rustls`".to_owned()));
        }
        let wire = Wire::new(connect_timeout, &tls, is_tls_spoken)?;
        let settings = Settings { nodes, token, timeout, attempt_timeout, wait, jitter };
        Ok(Client { settings: Arc::new(settings), wire })
    }
}

/// Keeps clients that failed together from coming back together.
fn jitter() -> f64 {
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}
