//! Nodes in this process that replicate over real connections, on real stores: what peers and telemetry do
//! together when addresses go dark, swap, belong to strangers, or fall silent.

mod endpoint;
mod flips;
mod node;
mod state;
mod traces;
mod ways;
