//! Which of this machine's addresses a listener takes connections on.
//!
//! A container on two networks has an address on each, and they change when it is reconnected. So a listener
//! that only one of the networks may reach is bound to all addresses and looks, at every connection, at the
//! address that it came in on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// The local addresses that connections may come in on.
#[derive(Clone, Debug)]
pub enum OnlyLocal {
    /// Those of one network.
    Subnet(IpNet),
    /// Those that a host name stands for at the moment (`node0.replication`).
    Name(NameFilter),
}

/// A host name with what it last resolved to.
#[derive(Clone, Debug)]
pub struct NameFilter {
    name: Arc<str>,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Debug, Default)]
struct Cache {
    addresses: Vec<IpAddr>,
    looked_up: Option<Instant>,
}

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// No more look-ups than one in this time, however many connections come in on a wrong address.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(100);

impl OnlyLocal {
    /// The addresses of `name`. Nothing is looked up before a connection comes in.
    pub fn name(name: &str) -> Self {
        Self::Name(NameFilter { name: name.into(), cache: Arc::default() })
    }

    pub(super) async fn allows(&self, stream: &TcpStream) -> bool {
        let Ok(local) = stream.local_addr().map(|address| address.ip().to_canonical()) else { return false };
        match self {
            Self::Subnet(subnet) => subnet.contains(&local),
            Self::Name(filter) => filter.holds(local).await,
        }
    }
}

impl NameFilter {
    async fn holds(&self, local: IpAddr) -> bool {
        let mut cache = self.cache.lock().await;
        if cache.addresses.contains(&local) {
            return true;
        }
        if cache.looked_up.is_none_or(|at| at.elapsed() >= LOOKUP_INTERVAL) {
            // The system's resolver, anew: names are moved to other addresses while this process runs.
            let found = timeout(LOOKUP_TIMEOUT, lookup_host((&*self.name, 0))).await;
            let found = found.ok().and_then(Result::ok).into_iter().flatten();
            cache.addresses = found.map(|address: SocketAddr| address.ip().to_canonical()).collect();
            cache.looked_up = Some(Instant::now());
        }
        cache.addresses.contains(&local)
    }
}
