//! Who may talk: how peers prove to each other that they know their cluster's secret, without telling it.
//!
//! And which clients may do what: [`Tokens`].
//!
//! The rules, and against whom they help and against whom not, are in docs/security.md. [`Caller`] signs what a node asks
//! of a peer and checks the answer; [`Gate`] checks what peers ask and signs the answer. Both take their keys from
//! [`Keys`], which can be exchanged while they run.
//!
//! - A request names its sender, the receiver's *challenge*, a *run* of its sender (random bits) and its number there, and
//!   the digest of its body; a MAC covers all that, the method and the path. So it can be judged before its body is read.
//! - A challenge is random bits of the receiver's process, so what was meant for one process is good for no other, nor for
//!   the next on the same machine, and no clock has part in it. A caller that does not know it asks with a request that
//!   does nothing else (*hello*).
//! - The receiver takes each number of a run once ([`Replays`]).
//! - The MAC of an answer covers the MAC of its request: it is the answer to that request and to no other.
//!
//! Promises: nothing here panics or grows without bound, whatever comes in; MACs are compared in constant time; secrets and
//! keys are never shown. Must not do I/O: random bits come in from outside.

mod caller;
mod claim;
mod gate;
mod keys;
mod replays;
mod secrets;
#[cfg(test)]
mod tests;
mod tokens;

pub use caller::{Call, Caller, NotProven};
pub use claim::{Challenge, Digest, digest};
pub use gate::{BodyCheck, Gate, Pass, Proven, Refusal, Refused};
pub use keys::{KeyId, Keyring, Keys};
pub use replays::{MAX_RUNS, Replays, WINDOW};
pub use secrets::{Secrets, Unusable};
pub use tokens::{Clients, Grant, Scope, Tokens, UnusableTokens, issue};

/// The header with which requests, and their answers, are signed.
pub const HEADER: &str = "causeway-peer-auth";
