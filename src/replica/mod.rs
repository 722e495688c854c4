//! The replica: a pure state machine. (The protocol essay comes with the implementation.)

mod effect;
mod message;
mod op;
mod siblings;

pub use effect::{
    Append, Checkpoint, Effect, Input, LinkId, LinkView, MonoMs, Now, OpRange, PeerChange, Recovered, Replaces,
    RequestId, Send, Totals, View, Visible, Write, WriteError, Written,
};
pub use message::{Answer, Push, Rejection, Statement};
pub use op::{Entry, Key, Op, TraceContext, Value};
pub use siblings::{Sibling, Siblings};

/// How often a replica wants [`Input::Tick`], in milliseconds.
pub const TICK_MS: u64 = 25;

/// The stored siblings of keys, as of some commit that the replica has been told is persisted.
pub trait KeyStates {
    /// The siblings of `key`; empty if there is no such key. An error is never taken for "no such key".
    fn siblings(&self, key: &str) -> Result<Siblings, Unreadable>;
}

/// A stored record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);
