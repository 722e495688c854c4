//! What the calls take the bytes of a body for, without a server around it: the way in for fuzzing and its corpus.
//!
//! Promises: nothing beyond the limits is taken, and no body makes it panic. Must not take a body otherwise than the
//! calls do.

use super::Limits;
use super::body::utf8;
use super::json;
use super::problem::Problem;
use crate::replica::{Key, Value};

/// Why a body is refused, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem.detail().to_owned())
    }
}

/// The entries of a body of `PATCH /set`.
pub fn values(body: &[u8], limits: &Limits) -> Result<Vec<(Key, Option<Value>)>, Refused> {
    Ok(json::values(utf8(body)?, limits)?)
}

/// The keys of a body of `POST /read`.
pub fn keys(body: &[u8], limits: &Limits) -> Result<Vec<Key>, Refused> {
    Ok(json::keys(utf8(body)?, limits)?)
}
