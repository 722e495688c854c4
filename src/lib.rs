//! Causeway: a replicated key-value store that never refuses a write. ARCHITECTURE.md is the map.

pub mod causality;
pub mod cli;
pub mod config;
pub mod format;
pub mod http;
pub mod listen;
pub mod node;
pub mod peers;
pub mod replica;
pub mod storage;
pub mod telemetry;
