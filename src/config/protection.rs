//! Who may reach a node: everybody only when something protects it, or when that is what its user wants.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::layers::Values;
use super::parse::{self, Count};
use super::{PeerListen, SecretFile, TokensFile};
use crate::secrets;

const WAYS_OUT: &str = "an address of this machine alone, such as 127.0.0.1:8000, or that CAUSEWAY_SECRET_FILE is set (for clients on a port of their own, \
     CAUSEWAY_TOKENS_FILE will do), or CAUSEWAY_INSECURE=1: without a secret, whoever can connect there can do everything";

/// What protects a node.
#[derive(Debug)]
pub(super) struct Protection {
    pub(super) secrets: Option<SecretFile>,
    pub(super) tokens: Option<TokensFile>,
    insecure: bool,
}

/// Reads the secrets. `None`: a problem was noted.
pub(super) fn take(values: &mut Values) -> Option<Protection> {
    let path = values.optional_text("secret_file", parse::path);
    let tokens_path = values.optional_text("tokens_file", parse::path);
    let insecure = values.number("insecure", Count::new(0, 1));
    // Both are read before either ends it: everything that is wrong is told.
    let tokens = tokens_path.map(|path| path.map(|path| read_tokens(values, path)));
    let secrets = match path? {
        None => None,
        Some(path) => Some(read(values, path)?),
    };
    let tokens = match tokens? {
        None => None,
        Some(tokens) => Some(tokens?),
    };
    Some(Protection { secrets, tokens, insecure: insecure? == 1 })
}

fn read_tokens(values: &mut Values, path: PathBuf) -> Option<TokensFile> {
    match secrets::read_tokens(&path) {
        Ok(tokens) => Some(TokensFile { path, tokens }),
        Err(error) => {
            let expected = "a file with tokens, NAME SCOPES PREFIXES HASH a line, such as 'causeway token' makes";
            values.invalid("tokens_file", &format!("{expected}; it {error}"))
        }
    }
}

fn read(values: &mut Values, path: PathBuf) -> Option<SecretFile> {
    match secrets::read(&path) {
        Ok(secrets) => Some(SecretFile { path, secrets }),
        Err(error) => {
            let expected = "a file with a secret of at least 32 characters, or several, one a line";
            values.invalid("secret_file", &format!("{expected}; it {error}"))
        }
    }
}

impl Protection {
    /// Notes each listener that everybody could reach, unless that is protected or wanted.
    pub(super) fn check(
        &self,
        values: &mut Values,
        listen: Option<SocketAddr>,
        peers: Option<&PeerListen>,
        warnings: &mut Vec<String>,
    ) {
        let is_protected = self.secrets.is_some();
        // A token says nothing of a peer.
        let only_clients = !matches!(peers, Some(PeerListen::WithClients));
        let asks_clients = is_protected || (self.tokens.is_some() && only_clients);
        let clients = listen.filter(|listen| !is_local(*listen)).map(|listen| listen.to_string());
        let peers = peers.filter(|listen| !are_local(listen)).map(PeerListen::to_string);
        let open = [("listen", clients, asks_clients), ("peer_listen", peers, is_protected)];
        let unprotected = open.into_iter().filter(|(_, _, is_protected)| !is_protected);
        for (key, address, _) in unprotected {
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
