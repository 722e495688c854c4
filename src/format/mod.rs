//! Bytes: how ops, key states, messages and tokens are written down.
//!
//! Everything that is stored or sent is a [`frame`]: a version, a payload, a checksum. Payloads are CBOR with
//! numbered fields, except where size counts ([`token`]). Every version that was ever released is held by
//! golden bytes in the tests.
//!
//! Promises: the same value always gives the same bytes; what is decoded is well formed, or it is an error
//! that says what is wrong with what. No input makes it panic. Must not
//! read or write anything, nor decide anything about causality.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod ancestry;
pub mod backup;
pub mod base;
pub mod checkpoint;
mod dto;
mod error;
pub mod facts;
pub mod frame;
pub mod identity;
pub mod message;
pub mod op;
pub mod siblings;
pub mod state;
#[cfg(test)]
mod tests;
pub mod token;

pub use error::{FormatError, MAX_COUNTER};
