//! Fuzzing: see docs/testing.md. What each target does with its input is in [`targets`], which the main crate's tests
//! include too, to replay the committed corpus without a fuzzer.

pub mod targets;
