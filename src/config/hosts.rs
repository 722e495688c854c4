//! The names that a node is called by.

use super::layers::Values;
use super::{PeerListen, peers};
use crate::causality::NodeId;

const EXPECTED: &str =
    "names without a port, such as kv.example.com, or .example.com for all that end so, or * for any";

/// Those that are configured, and those that the configuration has for the node anyhow. `None`: a problem was noted.
pub(super) fn take(values: &mut Values, own: Option<NodeId>, peer_listen: Option<&PeerListen>) -> Option<Vec<String>> {
    let mut hosts = values.optional_list("hosts", EXPECTED)?;
    let wrong: Vec<String> = hosts.iter().filter(|host| !is_name(host)).cloned().collect();
    for host in &wrong {
        values.invalid_part::<()>("hosts", host, EXPECTED);
    }
    if let Some(PeerListen::Name { host, .. }) = peer_listen {
        hosts.push(host.clone());
    }
    hosts.extend(own.and_then(|own| peers::host_of(values, own)));
    wrong.is_empty().then_some(hosts)
}

fn is_name(text: &str) -> bool {
    let name = text.strip_prefix('.').unwrap_or(text);
    let plain = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text == "*" || name.split('.').all(plain)
}
