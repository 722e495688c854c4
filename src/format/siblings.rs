//! The siblings of one key: the value of its record in the store.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::{FormatError, dto};
use crate::causality::Hlc;
use crate::replica::{Sibling, Siblings};

const WHAT: &str = "key record";
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
#[cbor(map)]
struct SiblingsDto<'a> {
    #[b(0)]
    siblings: Vec<SiblingDto<'a>>,
}

#[derive(Encode, Decode)]
struct SiblingDto<'a> {
    #[n(0)]
    dot: dto::DotDto,
    #[n(1)]
    hlc: u64,
    #[n(2)]
    arrival: u64,
    #[b(3)]
    value: &'a str,
}

/// The bytes of a key's siblings. Without any there is no record to write.
pub fn encode(siblings: &Siblings) -> Vec<u8> {
    let siblings = siblings.iter().map(|sibling| SiblingDto {
        dot: sibling.dot.into(),
        hlc: sibling.hlc.0,
        arrival: sibling.arrival,
        value: &sibling.value,
    });
    dto::seal(VERSION, &SiblingsDto { siblings: siblings.collect() })
}

/// The siblings of these bytes; at least one.
pub fn decode(bytes: &[u8]) -> Result<Siblings, FormatError> {
    let dto: SiblingsDto<'_> = dto::open(WHAT, VERSION, bytes)?;
    let mut siblings = Vec::with_capacity(dto.siblings.len());
    for SiblingDto { dot, hlc, arrival, value } in dto.siblings {
        siblings.push(Sibling { dot: dot.read(WHAT)?, hlc: Hlc(hlc), arrival, value: value.into() });
    }
    let distinct: BTreeSet<_> = siblings.iter().map(|sibling| sibling.dot).collect();
    if siblings.is_empty() {
        Err(FormatError::malformed(WHAT, "it has no siblings"))
    } else if distinct.len() < siblings.len() {
        Err(FormatError::malformed(WHAT, "it has a sibling twice"))
    } else {
        Ok(Siblings::new(siblings))
    }
}
