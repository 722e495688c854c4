//! Who may reach a node: everybody only when something protects it, or when that is what its user wants.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::layers::Values;
use super::parse::{self, Count};
use super::tls::Tls;
use super::{PeerListen, tls};
use crate::auth::{Secrets, Tokens};
use crate::secrets::{self, SecretsError};

const WAYS_OUT: &str = "an address of this machine alone, such as 127.0.0.1:8000, or that CAUSEWAY_SECRET_FILE is set (for clients on a port of their own, \
     CAUSEWAY_TOKENS_FILE will do), or that peers have a port of their own and show certificates there (CAUSEWAY_TLS_CERT_FILE and \
     CAUSEWAY_TLS_CA_FILE), or CAUSEWAY_INSECURE=1: without a secret, whoever can connect there can do everything";

/// What protects a node.
#[derive(Debug)]
pub(super) struct Protection {
    pub(super) secrets: Option<(PathBuf, Secrets)>,
    pub(super) tokens: Option<(PathBuf, Tokens)>,
    insecure: bool,
}

const SECRETS: &str = "a file with a secret of at least 32 characters, or several, one a line";
const TOKENS: &str = "a file with tokens, NAME SCOPES PREFIXES HASH a line, such as 'causeway token' makes";

/// Reads both files. `None`: a problem was noted.
pub(super) fn take(values: &mut Values) -> Option<Protection> {
    // All are looked at before one ends it: everything that is wrong is told.
    let insecure = values.number("insecure", Count::new(0, 1));
    let secrets = read(values, "secret_file", SECRETS, secrets::read);
    let tokens = read(values, "tokens_file", TOKENS, secrets::read_tokens);
    Some(Protection { secrets: secrets?, tokens: tokens?, insecure: insecure? == 1 })
}

/// A file, if one is configured, and what is in it. `None`: a problem was noted.
fn read<T>(
    values: &mut Values,
    key: &'static str,
    expected: &str,
    read: fn(&Path) -> Result<T, SecretsError>,
) -> Option<Option<(PathBuf, T)>> {
    let Some(path) = values.optional_text(key, parse::path)? else { return Some(None) };
    match read(&path) {
        Ok(found) => Some(Some((path, found))),
        Err(error) => values.invalid(key, &format!("{expected}; it {error}")),
    }
}

impl Protection {
    /// Notes each listener that everybody could reach, unless that is protected or wanted.
    pub(super) fn check(
        &self,
        values: &mut Values,
        listen: Option<SocketAddr>,
        peers: Option<&PeerListen>,
        tls: &Tls,
        warnings: &mut Vec<String>,
    ) {
        // A token says nothing of a peer.
        let only_clients = !matches!(peers, Some(PeerListen::WithClients));
        let is_protected = self.secrets.is_some() || (tls::asks(tls) && only_clients);
        let asks_clients = is_protected || (self.tokens.is_some() && only_clients);
        let clients = listen.filter(|listen| !asks_clients && !is_local(*listen)).map(|listen| listen.to_string());
        let peers = peers.filter(|listen| !is_protected && !are_local(listen)).map(PeerListen::to_string);
        for (key, address) in [("listen", clients), ("peer_listen", peers)] {
            let Some(address) = address else { continue };
            if self.insecure {
                let warning = "whoever can connect there can read and write everything, and can be taken for a peer";
                warnings.push(format!("CAUSEWAY_INSECURE=1, and this node listens on {address}: {warning}"));
            } else {
                values.invalid::<()>(key, WAYS_OUT);
            }
        }
    }
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn are_local(peers: &PeerListen) -> bool {
    match peers {
        // What is said of the clients' address is enough.
        PeerListen::WithClients => true,
        PeerListen::Address { address, .. } => is_local(*address),
        // Any other name is listened for on all addresses, and may stand for others tomorrow.
        PeerListen::Name { host, .. } => host.eq_ignore_ascii_case("localhost"),
    }
}
