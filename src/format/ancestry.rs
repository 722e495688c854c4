//! The parents of one incarnation, as they are stored.

use minicbor::{Decode, Encode};

use super::dto::List;
use super::{FormatError, dto};
use crate::causality::{Dot, Origin, Parents};

const WHAT: &str = "ancestry record";
const VERSION: u8 = 1;

#[derive(Encode, Decode)]
#[cbor(map)]
struct AncestryDto<'a> {
    #[b(0)]
    parents: List<'a, Dot>,
}

/// The bytes of `parents`.
pub fn encode(parents: &[Dot]) -> Vec<u8> {
    dto::seal(VERSION, &AncestryDto { parents: List::Borrowed(parents) })
}

/// The parents of `origin`.
pub fn decode(origin: Origin, bytes: &[u8]) -> Result<Parents, FormatError> {
    let AncestryDto { parents } = dto::open(WHAT, VERSION, bytes)?;
    let parents = dto::check_dots(WHAT, parents.into_vec())?;
    match problem(origin, &parents) {
        None if parents.is_empty() => Err(FormatError::malformed(WHAT, "it has no parents")),
        None => Ok(parents),
        Some(problem) => Err(FormatError::malformed(WHAT, problem)),
    }
}

/// What is wrong with `parents` as those of `origin`.
pub(super) fn problem(origin: Origin, parents: &[Dot]) -> Option<&'static str> {
    if !dto::has_one_dot_an_origin(parents) {
        Some("its parents are not in order")
    } else if parents.iter().any(|parent| parent.origin.node != origin.node) {
        Some("a parent is of another node")
    } else if parents.iter().any(|parent| parent.origin == origin) {
        Some("it is its own parent")
    } else {
        None
    }
}
