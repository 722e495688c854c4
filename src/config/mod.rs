//! Configuration: defaults ← file ← environment ← command-line arguments, each over the one before.
//!
//! [`load`] gives one [`Config`], which `main` takes apart into the small option structs of the parts; it is
//! not handed around. Promises: every problem is found, not only the first, and each names the setting as its
//! user wrote it, the value, and what was expected; nothing is guessed (`007` is not 7, and a name that is not
//! a setting is a problem). Must not know the parts that it configures.

mod hosts;
mod layers;
mod parse;
mod peers;
mod problem;
mod protection;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
pub use layers::{Arguments, Input, SETTINGS, Setting};
pub use peers::Peer;
pub use problem::{Problem, Problems};

use crate::auth::{Secrets, Tokens};
use crate::causality::NodeId;
use crate::secrets::TlsFiles;
use crate::tls::Material;
use layers::Values;
use parse::Count;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// The other configured nodes, in the list's order.
    pub peers: Vec<Peer>,
    /// Nodes that were taken out of the cluster for good.
    pub removed: BTreeSet<NodeId>,
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Where peers are served.
    pub peer_listen: PeerListen,
    /// Where this node's data is.
    pub data_dir: PathBuf,
    /// What is logged, as a filter of tracing-subscriber's `EnvFilter`.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Where people see a trace; `{trace_id}` in it stands for the trace's id.
    pub traces_url: Option<String>,
    /// What clients may ask for.
    pub limits: Limits,
    /// How ops get to peers.
    pub replication: Replication,
    /// How many writes and pushes may wait for the disk at once.
    pub max_waiting_requests: usize,
    /// How many bytes of keys and values they may have together.
    pub max_waiting_bytes: usize,
    /// How long writes may wait on average before fewer may, in milliseconds.
    pub max_waiting_ms: u64,
    /// How many connections each listener may have.
    pub max_connections: usize,
    /// How many bytes requests under way may have together.
    pub max_bodies_bytes: usize,
    /// How many bytes of large answers may wait for their clients to take them.
    pub max_answers_bytes: usize,
    /// With fewer bytes of the disk free, writes are refused; 0: never.
    pub min_free_bytes: u64,
    /// About how many bytes the log may take on disk.
    pub max_log_bytes: u64,
    /// Memory for caches, in bytes: three eighths for keys that are read often, as much for what writes have to know,
    /// the rest for the engine's blocks.
    pub cache_bytes: u64,
    /// The file with the cluster's secrets, where it has any, and what was in it.
    pub secrets: Option<(PathBuf, Secrets)>,
    /// The file with the tokens of clients, where they need any, and what was in it.
    pub tokens: Option<(PathBuf, Tokens)>,
    /// The files for TLS, as far as there are any, and what was in them.
    pub tls: (TlsFiles, Arc<Material>),
    /// The names that this node answers to, besides those that any node does.
    pub hosts: Vec<String>,
    /// What is odd but not wrong; to be logged.
    pub warnings: Vec<String>,
}

/// Where peers are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerListen {
    /// Together with the clients.
    WithClients,
    /// On an address of its own.
    Address {
        /// Where to listen.
        address: SocketAddr,
        /// Connections are dropped unless the local address they came in on is in it.
        subnet: Option<IpNet>,
    },
    /// On all addresses, but only connections that came in on an address that this name has now are kept.
    /// A name of one network thus keeps out whoever comes over another, also when addresses change.
    Name {
        /// The name.
        host: String,
        /// The port to listen on.
        port: u16,
    },
}

impl fmt::Display for PeerListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithClients => f.write_str("with the clients"),
            Self::Address { address, subnet: None } => address.fmt(f),
            Self::Address { address, subnet: Some(subnet) } => write!(f, "{address} in {subnet}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// An object a line.
    Json,
}

/// What clients may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Bytes of a request's body.
    pub request_bytes: usize,
    /// Entries of a write.
    pub entries: usize,
    /// Siblings of a key, for client writes that carry a context.
    pub siblings: usize,
}

/// How ops get to peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replication {
    /// For how long a peer must make no progress on another node's ops before this node forwards them.
    pub forward_after_ms: u64,
    /// How long a peer's statement is good before a digest asks for a new one.
    pub digest_interval_ms: u64,
    /// How many ops may wait in the delivery buffer.
    pub delivery_buffer_ops: usize,
    /// How many bytes of keys and values may wait in the delivery buffer.
    pub delivery_buffer_bytes: usize,
    /// How many bytes of this node's whole state go to one peer in a second at most; 0: as many as get through.
    pub state_bytes_per_second: u64,
}

/// No longer key can be stored.
const LONGEST_KEY_BYTES: u64 = 65_534;

/// Works out the whole configuration. Reads the file that `CAUSEWAY_CONFIG` names, if it is set.
pub fn load(input: &Input) -> Result<Config, Problems> {
    let mut values = Values::collect(input);
    let node = values.number("node_id", Count::new(0, u32::MAX.into())).map(|id| NodeId(id as u32));
    let cluster = values.text("cluster", parse::cluster);
    let listen = take_listen(&mut values);
    let peer_listen = take_peer_listen(&mut values);
    let own_port = match &peer_listen {
        Some(PeerListen::Address { address, .. }) => Some(address.port()),
        Some(PeerListen::Name { port, .. }) => Some(*port),
        Some(PeerListen::WithClients) => listen.map(|address| address.port()),
        None => None,
    };
    let mut warnings = Vec::new();
    let tls = tls::take(&mut values);
    let protection = protection::take(&mut values);
    if let (Some(protection), Some(tls)) = (&protection, &tls) {
        protection.check(&mut values, listen, peer_listen.as_ref(), tls, &mut warnings);
    }
    let peers = peers::take(&mut values, node, own_port, tls.as_ref(), &mut warnings);
    let removed = peers::take_removed(&mut values, node, peers.as_deref());
    let hosts = hosts::take(&mut values, node, peer_listen.as_ref());
    let data_dir = values.optional_text("data_dir", parse::path);
    let log = values.text("log", parse::log_filter);
    let log_format = values.optional_text("log_format", parse::log_format);
    let traces_url = values.optional_text("traces_url", parse::traces_url);
    let limits = take_limits(&mut values);
    let replication = take_replication(&mut values);
    let max_waiting_requests = values.number("max_waiting", Count::new(1, 1_000_000));
    let max_waiting_bytes = values.number("max_waiting_bytes", Count::new(1 << 20, 1 << 36));
    let max_waiting_ms = values.number("max_waiting_ms", Count::new(1, 600_000));
    let max_connections = values.number("max_connections", Count::new(16, 1_000_000));
    let max_bodies_bytes = values.number("max_bodies_bytes", Count::new(1 << 20, 1 << 36));
    let max_answers_bytes = values.number("max_answers_bytes", Count::new(1 << 20, 1 << 36));
    let min_free_bytes = values.number("min_free_bytes", Count::new(0, 1 << 44));
    let max_log_bytes = values.number("log_max_bytes", Count::new(4 << 20, 1 << 44));
    let cache_bytes = values.number("cache_bytes", Count::new(1 << 20, 1 << 40));

    let config = (|| {
        let (node, protection) = (node?, protection?);
        Some(Config {
            node,
            cluster: cluster?,
            peers: peers?,
            removed: removed?,
            listen: listen?,
            peer_listen: peer_listen?,
            data_dir: data_dir?.unwrap_or_else(|| PathBuf::from("causeway-data").join(node.to_string())),
            log: log?,
            log_format: log_format?.unwrap_or(if input.terminal { LogFormat::Pretty } else { LogFormat::Json }),
            traces_url: traces_url?,
            limits: limits?,
            replication: replication?,
            max_waiting_requests: max_waiting_requests? as usize,
            max_waiting_bytes: max_waiting_bytes? as usize,
            max_waiting_ms: max_waiting_ms?,
            max_connections: max_connections? as usize,
            max_bodies_bytes: max_bodies_bytes? as usize,
            max_answers_bytes: max_answers_bytes? as usize,
            min_free_bytes: min_free_bytes?,
            max_log_bytes: max_log_bytes?,
            cache_bytes: cache_bytes?,
            secrets: protection.secrets,
            tokens: protection.tokens,
            tls: tls?,
            hosts: hosts?,
            warnings,
        })
    })();
    values.finish(config)
}

/// Works out only where clients are served, and the file with the certificate that is shown there: all that a health check
/// needs.
pub fn load_own(input: &Input) -> Result<(SocketAddr, Option<PathBuf>), Problems> {
    let mut values = Values::collect(input);
    let listen = take_listen(&mut values);
    let certificate = values.optional_text("tls_cert_file", parse::path);
    values.finish(listen.zip(certificate))
}

fn take_listen(values: &mut Values) -> Option<SocketAddr> {
    let parse = if values.has_arguments { parse::port_argument } else { parse::address };
    values.text("listen", parse)
}

fn take_peer_listen(values: &mut Values) -> Option<PeerListen> {
    let listen = values.optional_text("peer_listen", parse::peer_listen)?;
    let subnet = values.optional_text("peer_subnet", parse::subnet)?;
    match (listen.unwrap_or(PeerListen::WithClients), subnet) {
        (listen, None) => Some(listen),
        (PeerListen::Address { address, .. }, subnet) => Some(PeerListen::Address { address, subnet }),
        (PeerListen::WithClients | PeerListen::Name { .. }, Some(_)) => {
            values.invalid("peer_subnet", "that CAUSEWAY_PEER_LISTEN is set too, to ADDRESS:PORT")
        }
    }
}

fn take_limits(values: &mut Values) -> Option<Limits> {
    let key_bytes = values.number("max_key_bytes", Count::new(1, LONGEST_KEY_BYTES));
    let value_bytes = values.number("max_value_bytes", Count::new(1, 32 << 20));
    let request_bytes = values.number("max_request_bytes", Count::new(1 << 10, 32 << 20));
    let entries = values.number("max_entries", Count::new(1, 1_000_000));
    let siblings = values.number("max_siblings", Count::new(1, 10_000));
    Some(Limits {
        key_bytes: key_bytes? as usize,
        value_bytes: value_bytes? as usize,
        request_bytes: request_bytes? as usize,
        entries: entries? as usize,
        siblings: siblings? as usize,
    })
}

fn take_replication(values: &mut Values) -> Option<Replication> {
    let forward_after_ms = values.number("forward_after_ms", Count::new(1, 600_000));
    let digest_interval_ms = values.number("digest_interval_ms", Count::new(10, 600_000));
    let delivery_buffer_ops = values.number("max_delivery_buffer_ops", Count::new(1, 100_000_000));
    let delivery_buffer_bytes = values.number("max_delivery_buffer_bytes", Count::new(1 << 20, 1 << 36));
    let state_bytes_per_second = values.number("state_max_bytes_per_second", Count::new(0, 1 << 40));
    Some(Replication {
        forward_after_ms: forward_after_ms?,
        digest_interval_ms: digest_interval_ms?,
        delivery_buffer_ops: delivery_buffer_ops? as usize,
        delivery_buffer_bytes: delivery_buffer_bytes? as usize,
        state_bytes_per_second: state_bytes_per_second?,
    })
}
