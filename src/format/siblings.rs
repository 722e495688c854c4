//! The siblings of one key: the value of its record in the store.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::dto::List;
use super::{FormatError, dto};
use crate::causality::{Dot, Hlc};
use crate::replica::{Sibling, Siblings};

const WHAT: &str = "key record";
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
#[cbor(map)]
struct SiblingsDto<'a> {
    #[b(0)]
    siblings: List<'a, Sibling>,
}

#[derive(Encode, Decode)]
struct SiblingDto<'a> {
    #[n(0)]
    dot: Dot,
    #[n(1)]
    hlc: u64,
    #[n(2)]
    arrival: u64,
    #[b(3)]
    value: &'a str,
}

impl<C> Encode<C> for Sibling {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Result<(), encode::Error<W::Error>> {
        let Self { dot, hlc, arrival, value } = self;
        SiblingDto { dot: *dot, hlc: hlc.0, arrival: *arrival, value }.encode(to, context)
    }
}

impl<'b, C> Decode<'b, C> for Sibling {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        let SiblingDto { dot, hlc, arrival, value } = from.decode_with(context)?;
        Ok(Self { dot, hlc: Hlc(hlc), arrival, value: value.into() })
    }
}

/// The bytes of a key's siblings. Without any there is no record to write.
pub fn encode(siblings: &Siblings) -> Vec<u8> {
    dto::seal(VERSION, &SiblingsDto { siblings: List::Borrowed(siblings.iter().as_slice()) })
}

/// The siblings of these bytes; at least one.
pub fn decode(bytes: &[u8]) -> Result<Siblings, FormatError> {
    let SiblingsDto { siblings } = dto::open(WHAT, VERSION, bytes)?;
    let siblings = siblings.into_vec();
    for sibling in &siblings {
        dto::check_dot(WHAT, sibling.dot)?;
    }
    if siblings.is_empty() {
        Err(FormatError::malformed(WHAT, "it has no siblings"))
    } else if dto::has_one_twice(siblings.iter().map(|sibling| sibling.dot)) {
        Err(FormatError::malformed(WHAT, "it has a sibling twice"))
    } else {
        Ok(Siblings::new(siblings))
    }
}
