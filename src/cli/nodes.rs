//! Which nodes are asked, and by what they are known.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Url;
use rustls::ClientConfig;

use super::failure::Failure;
use crate::tls::{self, Authorities, Believes, Unusable};

/// The node of this environment.
#[derive(Clone, Debug)]
pub struct Own {
    /// Where it serves clients.
    pub listen: SocketAddr,
    /// The file with the certificate that it shows there, where it speaks TLS.
    pub certificate: Option<PathBuf>,
}

/// The node of this environment, or why it can't be said which that is.
pub type OwnNode<'a> = &'a dyn Fn() -> Result<Own, String>;

/// Which nodes are asked.
#[derive(Clone, Debug, Args)]
pub(super) struct Nodes {
    /// A node: http://HOST:PORT (or https), HOST:PORT, or PORT on this machine; several with commas, or given again
    ///
    /// Of several, verify compares all; the other commands ask the first that can be reached. Without any it is the
    /// node that this environment configures (CAUSEWAY_LISTEN, else 127.0.0.1:8000).
    #[arg(long = "node", env = "CAUSEWAY_NODE", hide_env_values = true, value_name = "URL", value_delimiter = ',')]
    nodes: Vec<String>,
    /// A file in PEM with the authorities by whom nodes at https:// are known; the system's don't count
    #[arg(long, env = "CAUSEWAY_TLS_CA_FILE", hide_env_values = true, value_name = "FILE")]
    // A text, since a variable that is set but empty counts as not set.
    ca_file: Option<String>,
}

impl Nodes {
    /// All of them, and how they are called.
    pub(super) fn resolve(&self, own: OwnNode) -> Result<(Vec<Url>, ClientConfig), Failure> {
        let named: Vec<&str> = self.nodes.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        if named.is_empty() {
            let own = own().map_err(Failure::Usage)?;
            return Ok((vec![url_of(&own.origin())?], own.calls()?));
        }
        let urls = named.into_iter().map(url_of).collect::<Result<Vec<_>, _>>()?;
        let is_secure = urls.iter().any(|url| url.scheme() == "https");
        let authorities = match self.ca_file.as_ref().filter(|path| is_secure && !path.is_empty()).map(Path::new) {
            Some(path) => Some(Authorities::parse(&read_file(path)?).map_err(|why| unusable(path, &why))?),
            None if is_secure => {
                let why = "nodes at https:// are known by authorities: say which, by --ca-file or CAUSEWAY_TLS_CA_FILE";
                return Err(Failure::Usage(why.to_owned()));
            }
            None => None,
        };
        Ok((urls, calls(Believes::Authorities(authorities.as_ref()))?))
    }
}

impl Own {
    /// Where it is called, such as `http://127.0.0.1:8000`.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reachable(self.listen))
    }

    /// It is known by the certificate that it was given, which need not be for the address that it is called by here.
    fn calls(&self) -> Result<ClientConfig, Failure> {
        let Some(path) = &self.certificate else { return calls(Believes::Authorities(None)) };
        let certificates = tls::certificates(&read_file(path)?).map_err(|why| unusable(path, &why))?;
        calls(certificates.into_iter().next().map_or(Believes::Authorities(None), Believes::Certificate))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::File { path: path.to_owned(), source })
}

fn unusable(path: &Path, why: &Unusable) -> Failure {
    Failure::Usage(format!("{} {why}", path.display()))
}

/// How nodes are called of whom that is believed.
fn calls(believes: Believes<'_>) -> Result<ClientConfig, Failure> {
    tls::calls(believes, None).map_err(|error| Failure::NotDone(format!("can't speak TLS: {error}")))
}

fn url_of(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| {
        Failure::Usage(format!(
            "'{text}' is not a node: {why} (expected http://HOST:PORT, https://HOST:PORT, HOST:PORT or PORT)"
        ))
    };
    let is_port = text.bytes().all(|byte| byte.is_ascii_digit());
    let full = match text {
        port if is_port => format!("http://{}:{port}", Ipv4Addr::LOCALHOST),
        url if url.contains("://") => url.to_owned(),
        host => format!("http://{host}"),
    };
    let url = Url::parse(&full).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => Err(wrong("it has more than a path")),
        "http" | "https" => Ok(url),
        other => Err(wrong(&format!("nodes speak http or https, not {other}"))),
    }
}

/// A node as people write it.
pub(super) fn shown(node: &Url) -> &str {
    node.as_str().trim_end_matches('/')
}

/// "All addresses" is nothing to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => listen,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn urls(nodes: &[&str]) -> Result<Vec<String>, String> {
        let nodes = Nodes { nodes: nodes.iter().map(|node| (*node).to_owned()).collect(), ca_file: None };
        let own = || Ok(Own { listen: (Ipv4Addr::UNSPECIFIED, 8002).into(), certificate: None });
        let (urls, _) = nodes.resolve(&own).map_err(|failure| failure.to_string())?;
        Ok(urls.iter().map(|url| shown(url).to_owned()).collect())
    }

    #[test]
    fn nodes_are_named_in_three_ways() {
        let named = ["8001", "node1:8001", "http://[::1]:8001/", " https.example/behind/a/proxy "];
        let expected =
            ["http://127.0.0.1:8001", "http://node1:8001", "http://[::1]:8001", "http://https.example/behind/a/proxy"];
        assert_eq!(urls(&named).unwrap(), expected);
        assert_eq!(urls(&["", " "]).unwrap(), ["http://127.0.0.1:8002"], "none is named: this environment's");
    }

    #[test]
    fn what_is_no_node_is_told() {
        for wrong in ["ftp://node1", "http://", "node1:port", "99999", "http://node1/?a=b", "a b"] {
            let message = urls(&[wrong]).unwrap_err();
            assert!(message.starts_with(&format!("'{wrong}' is not a node: ")), "{message}");
        }
    }
}
