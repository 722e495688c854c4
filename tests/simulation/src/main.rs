//! Simulates whole clusters.

fn main() {}
