//! Whose a data directory is, and in which format its files are: the first thing written there, and the
//! first read.

use minicbor::{Decode, Encode};

use super::{FormatError, dto};
use crate::causality::NodeId;

const WHAT: &str = "identity";
const VERSION: u8 = 1;

/// What the identity file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIdentity {
    /// The format of everything else in the directory.
    pub format: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The node's id.
    pub node: NodeId,
    /// What tells its log from all others.
    pub log: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct IdentityDto<'a> {
    #[n(0)]
    format: u32,
    #[b(1)]
    cluster: &'a str,
    #[n(2)]
    node: u32,
    #[n(3)]
    log: u64,
}

/// The bytes of an identity.
pub fn encode(identity: &StoredIdentity) -> Vec<u8> {
    let StoredIdentity { format, cluster, node, log } = identity;
    dto::seal(VERSION, &IdentityDto { format: *format, cluster, node: node.0, log: *log })
}

/// The identity of these bytes.
pub fn decode(bytes: &[u8]) -> Result<StoredIdentity, FormatError> {
    let IdentityDto { format, cluster, node, log } = dto::open(WHAT, VERSION, bytes)?;
    Ok(StoredIdentity { format, cluster: cluster.to_owned(), node: NodeId(node), log })
}
