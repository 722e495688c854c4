//! Causeway: a replicated key-value store that never refuses a write. ARCHITECTURE.md is the map.
//!
//! The feature `server` (on by default) is everything but the pure modules.

#[cfg(feature = "auth")]
pub mod auth;
#[cfg(feature = "server")]
pub mod backup;
pub mod causality;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod console;
pub mod format;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod listen;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
pub mod peers;
pub mod replica;
#[cfg(feature = "server")]
pub mod secrets;
#[cfg(feature = "server")]
pub mod storage;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod tls;
