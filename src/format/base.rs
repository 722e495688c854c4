//! What a file of the op log begins with: what comes before it, and which keys belong to the log from there on.

use minicbor::{Decode, Encode};

use super::{FormatError, dto};
use crate::causality::{Dot, Hlc, VersionVector};

const WHAT: &str = "base record";
const VERSION: u8 = 1;

/// As of the position before a file of the op log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The generation of the keys that the log goes with.
    pub generation: u64,
    /// All ops before it.
    pub vector: VersionVector,
    /// What the log did not have any more when the file was begun.
    pub floor: VersionVector,
    /// The highest clock reading before it.
    pub hlc: Hlc,
    /// Whether the positions before it are those of another node's state, and not of ops.
    pub leaped: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct BaseDto {
    #[n(0)]
    generation: u64,
    #[n(1)]
    vector: Vec<Dot>,
    #[n(2)]
    floor: Vec<Dot>,
    #[n(3)]
    hlc: u64,
    #[n(4)]
    leaped: bool,
}

/// The bytes of a base.
pub fn encode(base: &Base) -> Vec<u8> {
    let Base { generation, vector, floor, hlc, leaped } = base;
    let (vector, floor) = (dto::write_vector(vector), dto::write_vector(floor));
    dto::seal(VERSION, &BaseDto { generation: *generation, vector, floor, hlc: hlc.0, leaped: *leaped })
}

/// The base of these bytes.
pub fn decode(bytes: &[u8]) -> Result<Base, FormatError> {
    let BaseDto { generation, vector, floor, hlc, leaped } = dto::open(WHAT, VERSION, bytes)?;
    let (vector, floor) = (dto::read_vector(WHAT, vector)?, dto::read_vector(WHAT, floor)?);
    Ok(Base { generation, vector, floor, hlc: Hlc(hlc), leaped })
}
