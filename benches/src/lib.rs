//! Measures Causeway side by side with what HTTP and the disk allow: `docs/performance.md` says how it is run and
//! what came of it.
//!
//! One binary, `bench`, is the driver, the load generator and the reference servers. The driver starts every
//! system as a process of its own, lets one after the other answer the same load for a few seconds, again and
//! again, and reports medians and the ratios within each round: on a machine that others use too, a ratio of two
//! neighbouring seconds says more than a number. A wrong answer ends the run; nothing here judges times.

pub mod bench;
pub mod client;
pub mod comparison;
pub mod core;
pub mod instructions;
pub mod load;
pub mod plot;
pub mod process;
pub mod references;
pub mod report;
pub mod requests;
pub mod scenarios;
pub mod systems;
