//! The client against nodes of the real binary: killed, cut off from each other, and with their answers lost.
#![allow(clippy::unwrap_used)]

mod examples;
mod failover;
mod faults;
mod nodes;
mod relay;
mod sessions;
#[cfg(feature = "rustls")]
mod tls;
mod watches;
