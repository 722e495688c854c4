//! Causality: who wrote what, and who had seen it. Pure values, no behaviour of their own.
//!
//! A **dot** names one op: an **origin** (a node and one *incarnation* of its counter) and a counter
//! without gaps. A **version vector** says which ops a state holds; **ancestry** lets the entries of a
//! node's earlier incarnations leave the vector, so that it stays one entry a node however often that
//! node restarts. A **causal context** is what a client has seen. The **hybrid clock** is for people and
//! for `resolve=newest`; nothing is ordered by it.
//!
//! Promises: ordered collections only, no clock, no randomness, no I/O. Must not import anything else of
//! this crate.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod ancestry;
mod clock;
mod context;
mod dot;
mod lineage;
mod sorted;
#[cfg(test)]
mod tests;
mod vector;

pub use ancestry::{Ancestry, Coverage, MAX_INCARNATIONS, Parents};
pub use clock::{Hlc, HybridClock, MAX_REMOTE_AHEAD_MS, WallMs};
pub use context::{CausalContext, MAX_SEEN_DOTS, Seen};
pub use dot::{Dot, Incarnation, NodeId, Origin, ParseDotError};
pub use vector::VersionVector;
