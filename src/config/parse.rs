//! What values of settings look like. Each parser says what it expected when it fails.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::{LogFormat, PeerListen};

/// The longest cluster name.
const MAX_CLUSTER_BYTES: usize = 64;

/// A whole number, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    least: u64,
    most: u64,
}

impl Count {
    pub(super) const fn new(least: u64, most: u64) -> Self {
        Self { least, most }
    }

    /// Only digits, without leading zeros: whoever writes `007` may mean something else than 7.
    pub(super) fn parse(self, text: &str) -> Option<u64> {
        let canonical = |number: &u64| number.to_string() == text;
        text.parse().ok().filter(canonical).filter(|number| (self.least..=self.most).contains(number))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}, without leading zeros", self.least, self.most)
    }
}

type Parsed<T> = Result<T, String>;

pub(super) fn cluster(text: &str) -> Parsed<String> {
    let fits = (1..=MAX_CLUSTER_BYTES).contains(&text.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let expected = || format!("1 to {MAX_CLUSTER_BYTES} letters, digits, '.', '_' or '-'");
    if fits && plain { Ok(text.to_owned()) } else { Err(expected()) }
}

pub(super) fn traces_url(text: &str) -> Parsed<String> {
    let web = text.starts_with("http://") || text.starts_with("https://");
    let expected = || "an http:// or https:// address with {trace_id} in it".to_owned();
    if web && text.contains("{trace_id}") { Ok(text.to_owned()) } else { Err(expected()) }
}

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "an IP address and a port, such as 127.0.0.1:8000 or [::]:8000".to_owned())
}

/// A port alone stands for one of this machine, reached from nowhere else.
pub(super) fn port_argument(text: &str) -> Parsed<SocketAddr> {
    let expected = || "a port from 1 to 65535".to_owned();
    port_number(text).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok_or_else(expected)
}

pub(super) fn peer_listen(text: &str) -> Parsed<PeerListen> {
    if let Ok(address) = text.parse() {
        return Ok(PeerListen::Address { address, subnet: None });
    }
    let name = || {
        let (host, port) = text.rsplit_once(':')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        // What consists of digits and dots only is an address with a slip in it.
        let named = host.bytes().all(plain) && host.bytes().any(|byte| byte.is_ascii_alphabetic());
        Some(PeerListen::Name { host: host.to_owned(), port: port_number(port)? }).filter(|_| named)
    };
    name().ok_or_else(|| "ADDRESS:PORT or NAME:PORT, such as 0.0.0.0:7000 or node0.replication:7000".to_owned())
}

/// A port that can be connected to.
pub(super) fn port_number(text: &str) -> Option<u16> {
    Count::new(1, u16::MAX.into()).parse(text).map(|port| port as u16)
}

pub(super) fn subnet(text: &str) -> Parsed<IpNet> {
    text.parse().map_err(|_| "a range of addresses, such as 172.31.0.0/16 or fd00::/8".to_owned())
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    Ok(PathBuf::from(text))
}

pub(super) fn log_filter(text: &str) -> Parsed<String> {
    let expected = |error| format!("a log filter, such as info or causeway=debug,warn ({error})");
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(expected)
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err("pretty or json".to_owned()),
    }
}
