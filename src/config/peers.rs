//! The list of the cluster's nodes.

use std::collections::BTreeSet;

use axum::http::Uri;

use super::layers::Values;
use super::parse::{Count, port_number};
use super::tls::Tls;
use crate::causality::NodeId;

/// The most nodes that a list may have.
const MAX_MEMBERS: usize = 100;

/// The most nodes that may be named as removed.
const MAX_REMOVED: usize = 1_000;

const EXPECTED_LIST: &str = "all nodes, this one too, such as 0=http://node0:8000,1=http://node1:8000";

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id; `None` where only its port is given.
    pub id: Option<NodeId>,
    /// `http://HOST:PORT`, or `https://HOST:PORT`.
    pub url: String,
}

/// The list without the node itself. `None`: a problem was noted.
pub(super) fn take(
    values: &mut Values,
    own: Option<NodeId>,
    own_port: Option<u16>,
    tls: Option<&Tls>,
    warnings: &mut Vec<String>,
) -> Option<Vec<Peer>> {
    // Nodes of one machine are taken to be alike.
    let scheme = if tls.is_some_and(|(files, _)| files.identity.is_some()) { "https" } else { "http" };
    let taken =
        if values.has_arguments { take_ports(values, own_port, scheme, warnings) } else { take_urls(values, own) };
    let peers = taken?;
    if tls.is_some_and(|(files, _)| files.authorities.is_none())
        && peers.iter().any(|peer| peer.url.starts_with("https:"))
    {
        return values
            .invalid("peers", "that CAUSEWAY_TLS_CA_FILE is set, too: who is at https:// is known by it alone");
    }
    if peers.len() >= MAX_MEMBERS {
        return values.invalid("peers", &format!("at most {MAX_MEMBERS} nodes"));
    }
    Some(peers)
}

fn take_urls(values: &mut Values, own: Option<NodeId>) -> Option<Vec<Peer>> {
    let mut members: Vec<Peer> = Vec::new();
    let mut sound = true;
    for part in values.list("peers", EXPECTED_LIST)? {
        let expected = match parse_member(&part) {
            None => "ID=http://HOST:PORT, or https://",
            Some(member) if members.iter().any(|other| other.id == member.id) => "each id once",
            Some(member) if members.iter().any(|other| address(&other.url) == address(&member.url)) => {
                "each address once"
            }
            Some(member) => {
                members.push(member);
                continue;
            }
        };
        sound = false;
        values.invalid_part::<()>("peers", &part, expected);
    }
    // What one entry got wrong would be said of the whole list too.
    if !sound {
        return None;
    }
    let others = members.iter().filter(|member| member.id != own).cloned().collect::<Vec<_>>();
    match own {
        Some(own) if others.len() == members.len() => {
            values.invalid("peers", &format!("this node's id, {own}, in it too: the list is the same for all nodes"))
        }
        _ => Some(others),
    }
}

/// The name in the address that the list has of a node, where it has one.
pub(super) fn host_of(values: &mut Values, id: NodeId) -> Option<String> {
    if values.has_arguments {
        return None;
    }
    let members = values.list("peers", EXPECTED_LIST)?;
    let own = members.iter().filter_map(|part| parse_member(part)).find(|member| member.id == Some(id))?;
    let uri: Uri = own.url.parse().ok()?;
    Some(uri.host()?.to_owned())
}

/// The ids that are named as removed. `None`: a problem was noted.
pub(super) fn take_removed(
    values: &mut Values,
    own: Option<NodeId>,
    peers: Option<&[Peer]>,
) -> Option<BTreeSet<NodeId>> {
    let mut removed = BTreeSet::new();
    let mut sound = true;
    for part in values.optional_list("removed", "ids of nodes, such as 3,4")? {
        let id = parse_id(&part);
        let is_listed = |id| peers.is_some_and(|peers| peers.iter().any(|peer| peer.id == Some(id)));
        let expected = match id {
            None => "ids of nodes, such as 3,4",
            Some(id) if own == Some(id) => "ids of other nodes: this is this node's own",
            Some(id) if is_listed(id) => "ids that CAUSEWAY_PEERS does not have",
            Some(id) if removed.insert(id) => continue,
            Some(_) => "each id once",
        };
        sound = false;
        values.invalid_part::<()>("removed", &part, expected);
    }
    if removed.len() > MAX_REMOVED {
        return values.invalid("removed", &format!("at most {MAX_REMOVED} ids"));
    }
    sound.then_some(removed)
}

fn parse_id(text: &str) -> Option<NodeId> {
    Some(NodeId(Count::new(0, u32::MAX.into()).parse(text)? as u32))
}

fn parse_member(text: &str) -> Option<Peer> {
    let (id, url) = text.split_once('=')?;
    let id = parse_id(id)?;
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let plain = uri.path() == "/" && uri.query().is_none();
    let authority = uri.authority().filter(|authority| plain && !authority.as_str().contains('@'))?;
    let port = port_number(authority.port()?.as_str())?;
    let host = authority.host();
    (!host.is_empty()).then(|| Peer { id: Some(id), url: format!("{scheme}://{host}:{port}") })
}

fn address(url: &str) -> Option<&str> {
    url.split_once("://").map(|(_, address)| address)
}

/// Ports of this machine. The own one is the node itself.
fn take_ports(
    values: &mut Values,
    own_port: Option<u16>,
    scheme: &str,
    warnings: &mut Vec<String>,
) -> Option<Vec<Peer>> {
    let mut ports = BTreeSet::new();
    let mut sound = true;
    for part in values.list("peers", "ports, such as 8000,8001")? {
        let expected = match port_number(&part) {
            None => "ports from 1 to 65535, such as 8000,8001",
            Some(port) if ports.insert(port) => continue,
            Some(_) => "each port once",
        };
        sound = false;
        values.invalid_part::<()>("peers", &part, expected);
    }
    let own_port = own_port.filter(|_| sound)?;
    if !ports.remove(&own_port) {
        warnings.push(format!("PEER_PORTS lacks this node's own port {own_port}; it is taken as if it were there"));
    }
    Some(ports.into_iter().map(|port| Peer { id: None, url: format!("{scheme}://127.0.0.1:{port}") }).collect())
}
