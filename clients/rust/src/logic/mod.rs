//! All that the client decides, without I/O and clocks: requests, what answers mean, retries and waits.
//!
//! Each part asks for one *step* after the other and is given its outcome; time comes in with it. `client.rs`,
//! `session.rs` and `watch.rs` perform the steps.

pub(crate) mod calls;
pub(crate) mod errands;
pub(crate) mod events;
pub(crate) mod nodes;
pub(crate) mod steps;
#[cfg(test)]
mod tests;
pub(crate) mod watching;
